"""The text whose likeness says that two states are alike: the recent items (arXiv 2403.00843).

The user's history is no part of it: what bores after what does not depend on who is bored, and no
two users have the same history, so that nothing would ever be recalled.
"""

from agents.trajectory import Step, Trajectory

WINDOW = 10
"""How many recent items make a state (arXiv 2403.00843)."""

_NOTHING_YET = ("nothing yet",)


def state_lines(trajectory: Trajectory) -> tuple[str, ...]:
    """Return the lines of the state that *trajectory* has reached."""
    return _lines(trajectory.recent(WINDOW))


def states(trajectory: Trajectory) -> list[tuple[str, ...]]:
    """Return the lines of every state of a finished trajectory, state 0 first."""
    steps = trajectory.recent(trajectory.length)
    return [_lines(steps[max(0, state - WINDOW) : state]) for state in range(len(steps) + 1)]


def _lines(recent: list[Step]) -> tuple[str, ...]:
    return tuple(f"{step.title} {' '.join(step.categories)}" for step in recent) or _NOTHING_YET
