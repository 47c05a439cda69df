"""`billp env`: build environments from data, look at them, calibrate and list them."""

from dataclasses import asdict, replace
from pathlib import Path
from shlex import quote
from typing import Annotated

import msgspec
import typer
from rich.console import Console, Group, RenderableType
from rich.table import Table

from engine.errors import ConfigError, DataError
from sim.commands.calibrate import calibrate
from sim.commands.located import environment_argument
from sim.commands.options import gathered
from sim.commands.sources import ColumnOptions, FormOptions, RecipeOptions
from sim.commands.targets import AsJson, TargetOptions
from sim.config.layers import configured, parse_set
from sim.experiments.objections import check_sound, objections, of_model
from sim.experiments.worlds import MOST_ITEMS, Judgement, judge
from sim.views.at_random import at_random
from sim.views.columns import Column, Fitted
from sim.views.console import plain, write_json
from sim.views.world import judgement_view
from storage.datasets import (
    BUILT_IN,
    FORMATS,
    Columns,
    Form,
    Recipe,
    build_environment,
    check_world,
    generate_environment,
    open_environment,
    read_head,
)
from storage.datasets.synthetic import TEST_SHARE
from storage.environments import Environment, Fit, Head, Provenance, forced

_SIZES = ("users", "items", "interactions")

app = typer.Typer(
    help="Build environments from data, look at them, calibrate and list them.",
    no_args_is_help=True,
)
app.command("calibrate")(calibrate)

_FORMAT_HELP = "; ".join(f"{name} ({FORMATS.named(name).summary})" for name in FORMATS.own)
_FORMAT_HELP += f"; {', '.join(BUILT_IN)} (generated from --seed, without a source)"


@app.command()
@gathered
def build(
    kind: Annotated[str, typer.Argument(metavar="FORMAT", help=_FORMAT_HELP)],
    target: TargetOptions,
    recipe: RecipeOptions,
    columns: ColumnOptions,
    form: FormOptions,
    source: Annotated[
        Path | None, typer.Argument(metavar="SOURCE", help="The data: a directory or a file.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write a world that speaks against itself, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Build an environment from data, and judge it.

    Nothing is written where the reward model predicts held-out ratings no better than biases or
    their mean do, or chance gets nearly as much in the world as who knows everything.
    """
    target.check()
    check_world(kind)
    with _console(stderr=True).status("reading the source and fitting the reward model …"):
        if kind in BUILT_IN:
            plain = (source, columns, form) == (None, ColumnOptions(), FormOptions())
            environment = _generated(kind, target, recipe, plain=plain)
        else:
            named = Columns(**asdict(columns), form=Form(**asdict(form)))
            environment = _built(kind, source, target, recipe.recipe(kind), named)
    if kind not in BUILT_IN:
        environment = _judged(environment, force=force)
    with _console(stderr=True).status("writing …"):
        target.save(environment)
    _show(environment, str(target.out), as_json=as_json)


def _generated(
    kind: str, target: TargetOptions, recipe: RecipeOptions, *, plain: bool
) -> Environment:
    if not plain or replace(recipe, seed=None, test_share=None) != RecipeOptions():
        raise ConfigError(
            "the synthetic world takes no source and no options but its seed and --test-share",
            hint=f"billp env build {kind} --seed 1 --out DIR",
        )
    share = TEST_SHARE if recipe.test_share is None else recipe.test_share
    seed = recipe.seed or 0
    return generate_environment(seed, name=target.called, test_share=share, world=kind)


def _built(
    kind: str, source: Path | None, target: TargetOptions, recipe: Recipe, columns: Columns
) -> Environment:
    if source is None:
        raise ConfigError(f"format {kind!r} needs a source", hint="name a directory or a file")
    return build_environment(kind, source, recipe, name=target.called, columns=columns)


def _judged(environment: Environment, *, force: bool) -> Environment:
    """Return *environment*, told what speaks against it; without *force* that is an error."""
    with _console(stderr=True).status("judging the world …"):
        found = objections(environment, configured())
    if not force:
        check_sound(found)
    return forced(environment, tuple(one.what for one in found))


@app.command()
def info(
    env: Annotated[
        str, environment_argument(f"A directory, its address, or {' or '.join(BUILT_IN)}.")
    ],
    as_json: AsJson = False,
    judged: Annotated[
        bool, typer.Option("--judge/--no-judge", help="Find out what policies get in it.")
    ] = True,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting to judge it by.", metavar="KEY=VALUE"),
    ] = None,
) -> None:
    """Show what an environment is, check that it is whole, and judge it.

    A world is judged by what policies get of the bound in it, with the default settings.
    """
    environment = open_environment(env)
    config = configured(*map(parse_set, sets or ()))
    judgement = None
    if judged and len(environment.catalog) <= MOST_ITEMS:
        with _console(stderr=True).status("judging the world …"):
            judgement = judge(environment, config)
    _show(environment, env, as_json=as_json, judgement=judgement)


@app.command("list")
def list_environments(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where to look.")] = Path(),
    as_json: AsJson = False,
) -> None:
    """List the built-in environments and those under a directory."""
    if not directory.is_dir():
        raise DataError(f"{directory}: no such directory")
    found: dict[str, Head | str] = {name: open_environment(name).head for name in BUILT_IN}
    for depth in ("", "*/", "*/*/"):
        for path in sorted(directory.glob(f"{depth}environment.toml")):
            found[str(path.parent)] = _head_or_reason(path.parent)
    if as_json:
        write_json({"environments": [_facts(place, head) for place, head in found.items()]})
        return
    _console().print(Group(_listing(found), "", "Next:  billp run ENV"))


def _head_or_reason(directory: Path) -> Head | str:
    try:
        return read_head(directory)
    except DataError as error:
        return str(error)


def _facts(place: str, head: Head | str) -> dict[str, object]:
    if isinstance(head, str):
        return {"environment": place, "error": head}
    facts: dict[str, object] = msgspec.to_builtins(head)
    return {"environment": place} | facts


def _console(*, stderr: bool = False) -> Console:
    """Return a console that shows titles as they are, brackets and all."""
    return plain(stderr=stderr)


def _show(
    environment: Environment, place: str, *, as_json: bool, judgement: Judgement | None = None
) -> None:
    if as_json:
        judged = {} if judgement is None else {"judgement": msgspec.to_builtins(judgement)}
        write_json(_facts(place, environment.head) | judged)
        return
    console = _console()
    console.print(_portrait(environment))
    if judgement is not None:
        console.print("", judgement_view(judgement), sep="\n")
    console.print(f"\nNext:  billp run {quote(place)}", soft_wrap=True)


def _portrait(environment: Environment) -> Group:
    """Return what there is to see of *environment*."""
    head, catalog = environment.head, environment.catalog
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold")
    for name, text in _lines(head):
        facts.add_row(name, text)
    facts.add_row("categories", _shortened(catalog.category_names, head.categories))
    popular = [catalog.titles[item] for item in catalog.by_popularity[:3].tolist()]
    facts.add_row("popular", _shortened(popular, head.items))
    parts: list[RenderableType] = [facts]
    if head.fit is not None:
        fitted, held = head.fit.fitted, head.fit.held_out
        title = f"Fitted to {fitted:,} ratings; errors on the {held:,} that make the histories:"
        parts += ["", title, _errors(head.fit)]
        parts += at_random(environment)
        parts += _warnings(environment.head, head.fit)
    return Group(*parts)


def _warnings(head: Head, fit: Fit) -> list[RenderableType]:
    """Return what speaks against the reward model, where the head does not say it already."""
    known = head.provenance.forced
    return [f"\nWarning: {one.what}; {one.hint}." for one in of_model(fit) if one.what not in known]


def _lines(head: Head) -> list[tuple[str, str]]:
    train = head.users - head.test_users
    return [
        ("environment", f"{head.name} ({head.format})"),
        ("users", f"{head.users:,}: {train:,} to learn from, {head.test_users:,} to test with"),
        ("items", f"{head.items:,} in {head.categories:,} categories"),
        ("interactions", f"{head.interactions:,}"),
        ("ratings", f"{head.rating_low:g} to {head.rating_high:g}"),
        ("near", f"distance below β = {head.beta:g}: {head.beta_quantile:.0%} of all pairs"),
        *_sources(head.provenance),
        ("digest", head.digest),
    ]


def _sources(provenance: Provenance) -> list[tuple[str, str]]:
    """Return where the data came from, what was found there, and what of it was left out."""
    kinds = [f"{file.name} is {file.kind}" for file in provenance.files if file.kind]
    lines = [("source", "; ".join([provenance.source, *kinds]))]
    out = provenance.left_out
    counts = {
        "without a rating": out.unrated,
        "of a pair that is there again": out.merged,
        "of users and items with too few": out.rare,
    }
    rows = [f"{count:,} {why}" for why, count in counts.items() if count]
    left_out = [("left out", f"rows: {', '.join(rows)}")] if rows else []
    return [*lines, *left_out, *(("forced", what) for what in provenance.forced)]


def _shortened(names: list[str] | tuple[str, ...], count: int) -> str:
    shown = ", ".join(names[:6])
    return f"{shown} …" if count > len(names[:6]) else shown


def _errors(fit: Fit) -> Table:
    """Return the held-out errors of the reward model beside those of simpler ones."""
    table = Table()
    table.add_column("")
    table.add_column("RMSE", justify="right")
    table.add_column("MAE", justify="right")
    rows = {
        "global mean": fit.global_mean,
        "tuned biases": fit.tuned_biases,
        "reward model": fit.model,
    }
    if fit.drawn is not None:
        rows["this world, drawn around it"] = fit.drawn
    for name, errors in rows.items():
        table.add_row(name, f"{errors.rmse:.3f}", f"{errors.mae:.3f}")
    return table


def _listing(found: dict[str, Head | str]) -> Group:
    broken = [f"cannot be read: {reason}" for reason in found.values() if isinstance(reason, str)]
    heads = {place: head for place, head in found.items() if not isinstance(head, str)}
    sizes = {name: [f"{getattr(head, name):,}" for head in heads.values()] for name in _SIZES}
    table = Fitted(
        [
            Column("environment", [*heads], words=True),
            Column("format", [head.format for head in heads.values()], words=True, worth=1),
            *(Column(name, counts, worth=3) for name, counts in sizes.items()),
            Column("digest", [head.digest[:8] for head in heads.values()], worth=2),
        ]
    )
    return Group(table, *broken)
