"""Where environments come from: importers, the built-in world, and their directories."""

from pathlib import Path

from platformdirs import user_cache_path

from storage.datasets import synthetic as built_in
from storage.datasets.directories import load, save
from storage.environments import Environment

__all__ = ["SYNTHETIC", "load", "open_environment", "save"]

SYNTHETIC = built_in.NAME
"""The name of the built-in environment."""


def open_environment(name: str) -> Environment:
    """Return the built-in environment if *name* is "synthetic", else that in directory *name*."""
    if name == SYNTHETIC:
        return built_in.synthetic(user_cache_path("billp"))
    return load(Path(name))
