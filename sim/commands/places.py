"""Places in a run as they are typed: EPISODE, EPISODE:STEP, EPISODE:STEP:ROLE."""

from engine.errors import ConfigError
from sim.config import stages
from sim.config.stages import Point


def parse_place(text: str) -> tuple[int, int | None]:
    """Return the episode and the step that *text* names; raises ConfigError."""
    episode, colon, step = text.partition(":")
    if episode.isdecimal() and (step.isdecimal() or not colon):
        return int(episode), int(step) if colon else None
    raise ConfigError(f"expected EPISODE or EPISODE:STEP, got {text!r}", hint="such as 3 or 3:0")


def parse_point(text: str) -> Point:
    """Return the point that *text* names; raises ConfigError."""
    try:
        return stages.parse_point(text)
    except ValueError as error:
        raise ConfigError(str(error), hint="such as 3:0") from error


def parse_role_point(text: str) -> tuple[Point, str]:
    """Return the point and the role that *text* names; raises ConfigError."""
    point, colon, role = text.rpartition(":")
    if not colon or not role or role.isdecimal():
        raise ConfigError(f"expected EPISODE:STEP:ROLE, got {text!r}", hint="such as 3:0:planner")
    return parse_point(point), role
