"""Options of commands that ask a model without a run: which one, and the way to it."""

from dataclasses import dataclass
from typing import Annotated

import typer

from agents.models.chain import ModelSettings, RoleModel
from agents.models.guards.limiter import Limits
from sim.config.layers import configured, parse_set
from sim.config.run import RunConfig, Settings
from sim.runs.models import way_of
from sim.views.progress import ProgressView

ROLE = "stranger"
"""Whoever asks plays no part of an agent."""


@dataclass(frozen=True)
class WayOptions:
    """The way to a model."""

    base_url: Annotated[
        str | None, typer.Option(help="Where the service is.", show_default="OpenAI's")
    ] = None
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="A setting as in run.toml, such as local.slots=4.", metavar="KEY=VALUE"
        ),
    ] = None

    def config(self, model: str) -> RunConfig:
        """Return the configuration of a run that would ask *model*; raises ConfigError."""
        named: Settings = {"model": model}
        if self.base_url is not None:
            named["base_url"] = self.base_url
        return configured(*map(parse_set, self.settings or ()), named)


def asking(config: RunConfig, in_flight: int) -> ModelSettings:
    """Return how the model of *config* is asked, *in_flight* at once; its loading is shown."""
    return ModelSettings(
        roles={ROLE: RoleModel(model=config.model, way=way_of(config))},
        limits=Limits(in_flight=in_flight),
        attempts=config.attempts,
        loading=ProgressView().loading,
    )
