"""Parts of episodes in their encoded form."""


def episode_of(lines: bytes) -> int | None:
    """Return the number of the episode whose lines these are; None for the run's own."""
    number = lines[len(b'{"episode":') : lines.index(b",")]
    return None if number == b"null" else int(number)


def before_step(lines: bytes, step: int) -> bytes:
    """Return the lines that stand before the request for step *step*; all if there is none."""
    marker = lines.find(b'"message":{"type":"PlanRequested","step":%d}' % step)
    return lines if marker < 0 else lines[: lines.rfind(b"\n", 0, marker) + 1]
