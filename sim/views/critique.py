"""What a critic is worth, as people read it: two tables, what they say, and a plot."""

from collections.abc import Iterator, Sequence
from math import isinf
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table

from engine.text import counted
from sim.experiments.critic_statistics import Fit
from sim.experiments.critique import Critique
from sim.views.figures import charts

_NAMES = {
    "value": "V(s), asked again",
    "target": "r + γ·V(s′)",
    "return": "return, discounted",
    "total": "return, undiscounted",
}
_MEASURES = {
    "spearman": "Spearman",
    "ceiling": "correlation at best",
    "slope": "slope of the best map",
    "bias": "bias after it",
    "error": "error of one value",
    "worth": "worth, in rollouts",
    "guess": "a guess, in rollouts",
}


def critique_page(found: Critique) -> Group:
    """Return what a terminal shows."""
    return Group(
        f"{len(found.states)} states of {found.run}, {found.rollouts} rollouts of each, "
        f"γ = {found.discount:g}, seed {found.seed}",
        "",
        _spreads(found),
        _fits(found),
        *_said(found),
    )


def _table(title: str, names: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _spreads(found: Critique) -> Table:
    columns = ("mean", "within a state", "across states", "noise", "signal")
    table = _table("Spread (noise = within ÷ across, signal = its inverse, squared)", columns)
    for name, one in found.spreads.items():
        numbers = (one.mean, one.within, one.across, one.noise, one.signal)
        table.add_row(_NAMES[name], *map(_number, numbers))
    return table


def _fits(found: Critique) -> Table:
    fits = list(found.fits.values())
    table = _table("What V(s) tells of the return", [_NAMES[name] for name in found.fits])
    table.add_row("Pearson [95 %]", *map(_pearson, fits))
    for name, what in _MEASURES.items():
        table.add_row(what, *(_number(getattr(one, name)) for one in fits))
    return table


def _pearson(one: Fit) -> str:
    if one.pearson is None:
        return "–"
    return f"{one.pearson:.2f} [{one.pearson_low:.2f}, {one.pearson_high:.2f}]"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return "∞" if isinf(value) else f"{value:.3g}"


def _said(found: Critique) -> Iterator[str]:
    """Yield what the tables say, and what they do not."""
    yield _on_variance(found)
    yield from _on_bias(found)
    yield from _left_out(found)
    if found.leaving:
        share = found.leaving_encouraged / found.leaving
        yield f"Of {found.leaving:,} steps at which users left, {share:.1%} came out with A ≥ 0."
    cost = f", cost {found.cost:,.4f}" if found.cost else ""
    yield f"{counted(found.calls, 'call')}, {counted(found.tokens, 'token')}{cost}."
    if found.model == "embedded":
        yield "The embedded model is a stand-in: its numbers say nothing of language models."


def _on_variance(found: Critique) -> str:
    noises = (_number(found.spreads[name].noise) for name in ("target", "return"))
    against = "one step's target has noise {} against {} of the return".format(*noises)
    gain = found.gain
    if gain.factor is None or gain.low is None or gain.high is None:
        return f"Whether the critic lowers variance cannot be told from these states: {against}."
    verdict = "is not shown to lower variance"
    if gain.low > 1:
        verdict = "lowers variance"
    elif gain.high < 1:
        verdict = "raises variance"
    factor = f"{_number(gain.factor)} [{_number(gain.low)}, {_number(gain.high)}]"
    return f"The critic {verdict}, factor {factor}: {against}."


def _on_bias(found: Critique) -> Iterator[str]:
    if found.spreads["value"].within == 0:
        yield "Asked again, the critic always says the same."
    one = found.fits["return"]
    if one.pearson is None:
        yield "Its values or the returns are the same in all states: they tell nothing."
        return
    yield (
        f"Mapped to the return, one value errs as much as the mean of {_number(one.worth)} "
        f"rollouts; a guess, the mean of all states, as that of {_number(one.guess)}."
    )
    if (one.pearson_low or 0.0) <= 0 <= (one.pearson_high or 0.0):
        yield "That values go with returns at all is not shown: 0 lies in the interval."


def _left_out(found: Critique) -> Iterator[str]:
    failed = sum(state.failed for state in found.states)
    cut = sum(state.cut for state in found.states)
    unreadable = sum(state.draws["value"].count(None) for state in found.states)
    if found.left_out:
        yield f"{found.left_out} states are left out: fewer than two of their draws are known."
    if failed:
        yield f"{failed:,} rollouts failed and are left out."
    if unreadable:
        yield f"{unreadable:,} values could not be read and are left out."
    if cut:
        yield f"{cut:,} rollouts were cut short by the limit: their returns are too low."


# -- plot


def plot(found: Critique, path: Path) -> None:
    """Draw values against returns, and the noise of each estimator, into a file."""
    drawing = charts("--plot")
    drawing.write_chart(drawing.critique_chart(found, _NAMES), path)
