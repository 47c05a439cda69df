"""What differs between users: drawn once for each of them, the same in every run and everywhere."""

from engine.chance import chance


def trait(user: int, name: str, between: tuple[float, float]) -> float:
    """Return the user's own number called *name*, any *between* two as likely as any other."""
    first, last = between
    if first == last:
        return first
    return first + (last - first) * chance(0, user, 0, 0, f"trait {name}").fraction()
