"""`billp env calibrate`: an environment in which visits are as long as is wanted."""

from dataclasses import dataclass, replace
from shlex import quote
from typing import Annotated

import msgspec
import typer

from engine.errors import ConfigError
from sim.commands.located import environment_argument
from sim.commands.options import gathered
from sim.commands.targets import AsJson, TargetOptions
from sim.config.layers import configured, merged, parse_set
from sim.experiments.calibration import Tuning, Wanted
from sim.experiments.objections import objections
from sim.experiments.worlds import MOST_ITEMS
from sim.views.console import plain, write_json
from sim.views.world import calibration_view, words_of
from storage.datasets import open_environment
from storage.environments import Environment, forced


@dataclass(frozen=True)
class WantedOptions:
    """What is wanted, one or two of these."""

    random_len: Annotated[
        float | None, typer.Option(help="Mean length of visits of the random policy.")
    ] = None
    random_share: Annotated[
        float | None, typer.Option(help="Share of the bound's R_traj that it gets.")
    ] = None
    bound_len: Annotated[
        float | None, typer.Option(help="Mean length of visits of the bound, diverse-greedy.")
    ] = None


@gathered
def calibrate(
    env: Annotated[str, environment_argument("A directory, its address, or a built-in world.")],
    wanted: WantedOptions,
    target: TargetOptions,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting to calibrate under.", metavar="KEY=VALUE"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write an environment in which visits are as long as is wanted.

    What is too much alike is found, the quantile of β, and where both the bound and random are
    told, the threshold of the users, too: quit.quantile or quit.lowest, a setting of runs. The rest
    of the environment stays. If there is no such world nothing is written.
    """
    given = merged(*map(parse_set, sets or ()))
    target.check()
    asked = Wanted(**vars(wanted))
    asked.figures()
    environment = open_environment(env)
    _check_size(environment)
    with plain(stderr=True).status("calibrating …") as status:
        tuning = Tuning(environment, configured(given), status.update)
        made, found = tuning.calibrated(asked)
        made = _named(made, target.called)
        target.save(made)
    if as_json:
        facts = msgspec.to_builtins(found)
        digest = made.head.digest
        write_json({"environment": str(target.out), "digest": digest, "calibration": facts})
        return
    settings = merged(given, found.settings)
    command = ["billp", "run", str(target.out), *words_of(settings)]
    plain().print(calibration_view(found, environment.head, made.head))
    plain().print(f"\nNext:  {' '.join(map(quote, command))}", soft_wrap=True)


def _named(made: Environment, name: str) -> Environment:
    """Return what was *made* under its *name*, and judged again where it had been forced."""
    made = replace(made, head=msgspec.structs.replace(made.head, name=name))
    if not made.head.provenance.forced:
        return made
    return forced(made, tuple(one.what for one in objections(made, configured())))


def _check_size(environment: Environment) -> None:
    items = len(environment.catalog)
    if items > MOST_ITEMS:
        raise ConfigError(
            f"worlds of up to {MOST_ITEMS:,} items can be calibrated, this one has {items:,}",
            hint="build it with --min-item, or with another --beta-quantile",
        )
