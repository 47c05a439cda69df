"""What a critic is worth, as people read it: two tables, what they say, and a plot."""

from collections.abc import Iterator, Sequence
from math import isinf
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table

from engine.errors import ConfigError, FileError
from sim.experiments.critic_statistics import Fit
from sim.experiments.critique import Critique, table_of
from sim.views.figures import caption, check_plotting, drawn, new_figure

_FORMATS = ("png", "svg")
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
    yield f"{found.calls:,} calls, {found.tokens:,} tokens{cost}."
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


def check_plot(path: Path) -> str:
    """Return the format of a plot at *path*; raises ConfigError if it cannot be drawn there."""
    form = path.suffix.removeprefix(".").casefold()
    if form not in _FORMATS:
        raise ConfigError(f"--plot: expected a file named .png or .svg, got {str(path)!r}")
    if not path.parent.is_dir():
        raise ConfigError(f"--plot: there is no directory {str(path.parent)!r}")
    check_plotting("--plot")
    return form


def plot(found: Critique, path: Path) -> None:
    """Draw values against returns, and the noise of each estimator, into a file."""
    form = check_plot(path)
    figure = new_figure(10, 4.5)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    _draw_states(left, found)
    _draw_noise(right, found)
    title = f"{found.agent}, critic by {found.model}: {len(found.states)} states"
    figure.suptitle(caption(title))
    try:
        path.write_bytes(drawn(figure, form))
    except OSError as error:
        raise FileError(f"{path}: cannot be written: {error.strerror}") from error


def _draw_states(axes: Any, found: Critique) -> None:
    values, returns = table_of(found.states, "value"), table_of(found.states, "return")
    x, y = np.nanmean(values, axis=1), np.nanmean(returns, axis=1)
    spread = {"xerr": np.nanstd(values, axis=1, ddof=1), "yerr": np.nanstd(returns, axis=1, ddof=1)}
    axes.errorbar(x, y, **spread, fmt="o", alpha=0.7, capsize=2)
    one = found.fits["return"]
    ends = np.array([x.min(), x.max()])
    axes.plot(ends, one.intercept + one.slope * ends, "--", color="gray")
    axes.set_xlabel("V(s), asked again: mean ± deviation")
    axes.set_ylabel(f"return, γ = {found.discount:g}: mean ± deviation")


def _draw_noise(axes: Any, found: Critique) -> None:
    # What does not differ across states has no bar.
    known = {
        _NAMES[name]: one.noise
        for name, one in found.spreads.items()
        if one.noise is not None and not isinf(one.noise)
    }
    axes.barh(list(known), list(known.values()))
    axes.invert_yaxis()
    axes.set_xlabel("noise: deviation within ÷ across states")
