"""`billp train`: a rival that learns by gradient, from a command to a policy that is played."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.errors import ConfigError
from sim.commands.located import environment_argument
from sim.commands.options import gathered
from sim.config.layers import merged, parse_set
from sim.config.run import RunConfig, Settings
from sim.training.place import TRAININGS, Place, check_same, check_unfinished, new_place
from sim.training.plan import ALGORITHMS, Training, training, world_of
from sim.training.results import Told, Trained
from sim.views.console import plain, write_json
from sim.views.training import progress, training_page
from storage.datasets import open_environment
from storage.parts import of_extra

_EACH = "; ".join(f"{name}: {meaning}" for name, meaning in ALGORITHMS.items())


@dataclass(frozen=True)
class HowOptions:
    """How it learns; what is not given is the algorithm's own."""

    seed: Annotated[
        int | None, typer.Option(help="Seed of everything drawn.", show_default="0")
    ] = None
    updates: Annotated[
        int | None, typer.Option(help="How often weights are changed.", show_default="its own")
    ] = None
    episodes: Annotated[
        int | None,
        typer.Option(
            help="Random episodes that are logged to learn from: for sqn, bcq, cql, crr, dorl.",
            show_default="its own",
        ),
    ] = None
    privileged: Annotated[
        str | None,
        typer.Option(
            help="What it is told that no agent could know: pair, the true nearness of items to "
            "the last ones. Then so is its policy, which says so.",
            show_default="nothing",
        ),
    ] = None
    threads: Annotated[
        int | None,
        typer.Option(help="Threads; the same number gives the same weights.", show_default="1"),
    ] = None

    def asked(self) -> Settings:
        """Return what is given."""
        given = {name: value for name, value in vars(self).items() if value is not None}
        if self.privileged is not None:
            given["privileged"] = [name for name in self.privileged.split(",") if name]
        return given


@dataclass(frozen=True)
class WhereOptions:
    """In which world it learns, and where what it learned goes."""

    set: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="A setting of the users, as in run.toml: quit_rule=billp; or of the training: "
            "training.rate=0.001.",
            metavar="KEY=VALUE",
        ),
    ] = None
    out: Annotated[
        Path | None,
        typer.Option(
            help="The directory of the policy.", show_default="traces/policies/NAME-ENV-SEED"
        ),
    ] = None
    resume: Annotated[
        Path | None, typer.Option(help="Go on with the training in this directory.")
    ] = None


@dataclass(frozen=True)
class ShownOptions:
    """What is said."""

    json: Annotated[bool, typer.Option("--json", help="One JSON object and nothing else.")] = False
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress and no table.")] = False


@gathered
def train(
    how: HowOptions,
    where: WhereOptions,
    shown: ShownOptions,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help=_EACH)] = None,
    env: Annotated[
        str | None,
        environment_argument(
            "A directory built by billp env build, or its address.", RunConfig().environment
        ),
    ] = None,
) -> None:
    """Train a rival that learns by gradient; run its policy by --agent rl:PATH.

    It learns from training users alone; in the end it is tried on test users. It needs the extra
    rl; its policy needs nothing.

    Exit status 0 if all went well; 2 for what cannot be trained, 130 if it was interrupted: then it
    goes on by --resume.
    """
    place, plan, config = _asked(how, where, name, env)
    console = plain(stderr=True)
    if shown.quiet or shown.json:
        trained = _trained(plan, config, place, lambda _, __: None)
    else:
        with progress(console, plan.updates) as told:
            trained = _trained(plan, config, place, told)
    if shown.json:
        write_json(trained)
    elif not shown.quiet:
        plain().print(training_page(trained), crop=False)


def _asked(
    how: HowOptions, where: WhereOptions, name: str | None, env: str | None
) -> tuple[Place, Training, RunConfig]:
    """Return what is to be trained, and where; raises ConfigError or RunDirectoryError."""
    named: dict[str, Any] = {} if env is None else {"environment": env}
    asked = merged(named, *map(parse_set, where.set or []))
    own = merged(asked.pop("training", {}), how.asked())
    if where.resume is not None:
        place = Place(where.resume)
        plan, config = place.read_settings()
        check_unfinished(place)
        check_same(plan, config, own | ({} if name is None else {"algorithm": name}), asked)
        return place, plan, config
    if name is None:
        raise ConfigError("what is to be trained?", hint=f"there are {', '.join(ALGORITHMS)}")
    plan, config = training(name, own), world_of(asked)
    _trainer()  # before anything is written
    world = Path(config.environment).name.replace(":", "-")
    out = where.out or TRAININGS / f"{name}-{world}-{plan.seed}"
    place = new_place(out)
    place.write_settings(plan, config)
    return place, plan, config


def _trained(plan: Training, config: RunConfig, place: Place, told: Told) -> Trained:
    environment = open_environment(config.environment)
    found: Trained = _trainer().Trainer(plan, config, environment, place, told).run()
    return found


def _trainer() -> Any:
    return of_extra("sim.training.trainer", "rl", "training")
