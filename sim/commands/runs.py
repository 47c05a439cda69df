"""`billp runs`: what runs there are, and what came of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from engine.errors import ConfigError
from sim.analysis.listing import RunCard, Status, list_runs
from sim.commands.options import gathered
from sim.views.console import plain, write, write_json
from sim.views.runs import runs_page
from storage.runs import RUNS


@dataclass(frozen=True)
class WhichOptions:
    """Which runs are listed."""

    agent: Annotated[str | None, typer.Option(help="List the runs of this agent.")] = None
    status: Annotated[
        Status | None, typer.Option(help="List the runs that stand so; live: under way.")
    ] = None

    def of(self, cards: list[RunCard]) -> list[RunCard]:
        """Return those of *cards* that are asked for; raises ConfigError for an unknown agent."""
        agents = sorted({card.agent for card in cards if card.agent})
        if self.agent is not None and agents and self.agent not in agents:
            hint = f"there are runs of {', '.join(agents)}"
            raise ConfigError(f"no run here is of the agent {self.agent!r}", hint=hint)
        return [
            card
            for card in cards
            if self.agent in {None, card.agent} and self.status in {None, card.status}
        ]


@gathered
def runs(
    which: WhichOptions,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A folder of runs, or of experiments.")
    ] = RUNS,
    json: Annotated[bool, typer.Option("--json", help="One JSON object and nothing else.")] = False,
) -> None:
    """List the runs of a folder, and what came of them.

    Forks stand under the runs that they were made from.
    """
    if (folder / "run.toml").exists():
        raise ConfigError(f"{folder} is a run itself", hint=f"see it with billp show {folder}")
    shown = which.of(list_runs(folder))
    if json:
        write_json({"folder": str(folder), "runs": shown})
        return
    lines = runs_page(str(folder), shown, plain().width)
    write("".join(f"{line}\n" for line in lines))
