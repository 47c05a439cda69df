"""A run in Weights & Biases: offline unless WANDB_MODE says otherwise, in the folder wandb.

`wandb sync` sends it later. Where and for whom the standard variables say: WANDB_DIR,
WANDB_PROJECT (else billp), WANDB_ENTITY. The step is the episode. Neither the machine nor the
program, the output or the repository is told of.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias, get_args

# It is read when W&B is imported: its errors are told to nobody but the user.
os.environ.setdefault("WANDB_ERROR_REPORTING", "false")

import wandb

from engine.errors import ConfigError
from sim.metrics.summary import Summary
from sim.views.tracking import About, Point, TrackingView, final_values

Mode: TypeAlias = Literal["online", "offline", "disabled", "shared"]

_TAG = 64  # characters that W&B takes


@dataclass(eq=False)
class Wandb:
    """Writes a run of W&B's."""

    _run: wandb.Run = field(init=False)

    def begin(self, about: About) -> None:
        """Begin a run with the settings as its configuration."""
        quiet = wandb.Settings(
            silent=True,
            console="off",
            disable_code=True,
            disable_git=True,
            disable_job_creation=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_disable_machine_info=True,
        )
        wandb.setup(settings=quiet)  # else it speaks before it knows that it should not
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or "billp",
            name=about.name,
            config={**about.parameters, **about.tags},
            tags=[f"{name}:{value}"[:_TAG] for name, value in about.tags.items() if value],
            dir=os.environ.get("WANDB_DIR") or Path.cwd(),  # else that of the process's first run
            mode=_mode(),
            settings=quiet,
        )
        self._run.define_metric("episode")
        self._run.define_metric("*", step_metric="episode")

    def point(self, point: Point) -> None:
        """Write the values of an episode."""
        self._run.log({**point.values, "episode": point.episode})

    def end(self, summary: Summary | None) -> None:
        """Write the summary and the digest; a run that was stopped has failed."""
        if summary is not None:
            self._run.summary.update({**final_values(summary), "digest": summary.digest})
            self._run.tags = (*(self._run.tags or ()), f"digest:{summary.digest}"[:_TAG])
        self._run.finish(exit_code=0 if summary is not None else 1)


def wandb_view() -> TrackingView:
    """Return a view that tells W&B."""
    return TrackingView(Wandb())


def _mode() -> Mode:
    """Return what WANDB_MODE says, offline if nothing; raises ConfigError for what W&B has not."""
    said = os.environ.get("WANDB_MODE") or "offline"
    known: dict[str, Mode] = {mode: mode for mode in get_args(Mode)}
    if said not in known:
        raise ConfigError(f"WANDB_MODE is {said!r}", hint=f"it may be {', '.join(known)}")
    return known[said]
