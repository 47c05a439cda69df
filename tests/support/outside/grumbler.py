"""A quit rule that lets everybody go at once, and logs what went wrong with it."""

from pathlib import Path

import numpy as np
import structlog

from sim.world.quitting import Encounter, QuitRule
from tests.support.outside.acme import Tired

ODD = {
    "aloud": True,
    "at": Path("\udc80"),  # a name of a file that is no text
    "huge": 2**80,
    "mean": np.float64(0.5),
    "said": "half\ud800",
    "steps": 3,
}
"""Facts of which most cannot be told to another process as they are."""


def _grumbling(_: Tired, at: Encounter) -> str | None:
    try:
        int("nobody")
    except ValueError:
        structlog.get_logger().error("grumbled", exc_info=True, **ODD)
    return "tired"


GRUMBLER = QuitRule(_grumbling, Tired, {"tired": "had enough"})
