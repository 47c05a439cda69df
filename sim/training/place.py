"""The directory of a training: what was asked for, how it went, and what it came to."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import tomli_w

from engine.errors import ConfigError, RunDirectoryError
from sim.config.run import RunConfig, Settings
from sim.training.plan import Training, deciding, training, world_of
from storage.files import make_directory
from storage.objects.addresses import check_out
from storage.reading import SETTINGS_SIZE, parse_toml, read_small
from storage.runs import write_whole

TRAININGS = Path("traces") / "policies"
"""Where trainings go that are told no other place."""


@dataclass(frozen=True)
class Place:
    """The files of a training at *path*."""

    path: Path

    @property
    def settings(self) -> Path:
        """What was asked for: enough to train it again."""
        return self.path / "train.toml"

    @property
    def curve(self) -> Path:
        """How it went: a line for each checkpoint."""
        return self.path / "curve.jsonl"

    @property
    def checkpoint(self) -> Path:
        """Where it stands; there is none once it is done."""
        return self.path / "checkpoint.pt"

    @property
    def policy(self) -> Path:
        """What is played."""
        return self.path / "policy.billp"

    @property
    def result(self) -> Path:
        """What it came to."""
        return self.path / "result.json"

    def write_settings(self, plan: Training, config: RunConfig) -> None:
        """Write what was asked for; raises RunDirectoryError."""
        whole: Settings = {"training": msgspec.to_builtins(plan), "world": deciding(config)}
        write_whole(self.settings, tomli_w.dumps(whole).encode())

    def read_settings(self) -> tuple[Training, RunConfig]:
        """Return what was asked for; raises RunDirectoryError or ConfigError."""
        try:
            whole = parse_toml(read_small(self.settings, SETTINGS_SIZE))
        except FileNotFoundError as error:
            raise RunDirectoryError(f"{self.path}: holds no training") from error
        except OSError as error:
            what = f"{self.settings}: cannot be read: {error.strerror}"
            raise RunDirectoryError(what) from error
        except ValueError as error:
            raise RunDirectoryError(f"{self.settings}: {error}") from error
        own, world = (_table(whole, name, self.settings) for name in ("training", "world"))
        return training(str(own.get("algorithm")), own), world_of(world)


def _table(whole: Mapping[str, Any], name: str, path: Path) -> Settings:
    table = whole.get(name)
    if not isinstance(table, dict):
        raise RunDirectoryError(f"{path}: has no table [{name}]")
    return table


def new_place(out: Path) -> Place:
    """Return the place of a new training, an empty directory; raises RunDirectoryError."""
    check_out(out)
    try:
        make_directory(out)
        taken = any(out.iterdir())
    except OSError as error:
        raise RunDirectoryError(f"{out}: cannot be made: {error.strerror}") from error
    if taken:
        hint = "choose another --out, or go on with what is there: billp train --resume DIR"
        raise RunDirectoryError(f"{out}: the output directory is not empty", hint=hint)
    return Place(out)


def check_unfinished(place: Place) -> None:
    """Raise RunDirectoryError if the training at a place has come to its end."""
    if place.result.exists():
        what = f"{place.path}: this training is done"
        raise RunDirectoryError(what, hint=f"its policy is {place.policy}; train anew for more")


def check_same(
    plan: Training, config: RunConfig, asked: Mapping[str, Any], world: Mapping[str, Any]
) -> None:
    """Raise ConfigError if something is *asked* of a training, or its *world*, that it has not."""
    known = {**msgspec.to_builtins(plan), **deciding(config)}
    again = training(str(asked.get("algorithm", plan.algorithm)), msgspec.to_builtins(plan), asked)
    wanted = {**msgspec.to_builtins(again), **deciding(world_of(deciding(config), world))}
    for name, value in known.items():
        if wanted[name] != value:
            what = f"{name} is {value!r} in the training that is gone on with"
            raise ConfigError(what, hint="train anew to change it")
