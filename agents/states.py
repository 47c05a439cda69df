"""The text whose likeness says that two states are alike."""

from agents.trajectory import Step, Trajectory

WINDOW = 10
"""How many recent items make a state (arXiv 2403.00843)."""


def state_lines(trajectory: Trajectory) -> tuple[str, ...]:
    """Return the lines of the state that *trajectory* has reached."""
    return _lines(trajectory, trajectory.recent(WINDOW))


def states(trajectory: Trajectory) -> list[tuple[str, ...]]:
    """Return the lines of every state of a finished trajectory, state 0 first."""
    steps = trajectory.recent(trajectory.length)
    return [
        _lines(trajectory, steps[max(0, state - WINDOW) : state]) for state in range(len(steps) + 1)
    ]


def _lines(trajectory: Trajectory, recent: list[Step]) -> tuple[str, ...]:
    history = tuple(rated.title for rated in trajectory.history)
    return (*history, *(f"{step.title} {' '.join(step.categories)}" for step in recent))
