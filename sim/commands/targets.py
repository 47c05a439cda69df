"""Where an environment goes that a command makes, and how it is told of."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from storage.datasets import check_free, save
from storage.environments import Environment
from storage.names import check_name

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object and nothing else.")]


@dataclass(frozen=True)
class TargetOptions:
    """Where an environment goes."""

    out: Annotated[Path, typer.Option(help="The directory to write.", show_default=False)]
    name: Annotated[
        str, typer.Option(help="What to call it; the directory's name if not given.")
    ] = ""
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace an environment that is there.")
    ] = False

    @property
    def called(self) -> str:
        """What the environment is called."""
        return self.name or self.out.resolve().name

    def check(self) -> None:
        """Raise ConfigError or DataError, before any work, unless `save` may be called."""
        check_free(self.out, replace=self.replace)
        check_name(self.called)

    def save(self, environment: Environment) -> None:
        """Write *environment* there."""
        save(environment, self.out, replace=self.replace)
