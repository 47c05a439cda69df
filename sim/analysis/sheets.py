"""Tables as people read them: titles, names of columns, and cells, one number format a column."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import floor, log10
from typing import TypeAlias

from sim.analysis.aggregates import Aggregates, Estimate, Improvement
from sim.analysis.means import Group, Mean, Pair
from sim.analysis.outcomes import column_of

NONE = "–"
"""What stands where there is no number."""

_PLACES = {"len": 1, "r_each": 2, "r_traj": 1}
_DIGITS = 4  # of the largest number of a column


@dataclass(frozen=True)
class Sheet:
    """A table for people; its first column holds labels, the others numbers."""

    title: str
    names: Sequence[str]
    rows: Sequence[Sequence[str]]


Form: TypeAlias = Callable[[float | None], str]


def form_of(measure: str, means: Iterable[Mean]) -> Form:
    """Return how numbers of a *measure* are written wherever they stand in a column."""
    largest = max((abs(mean.mean) for mean in means), default=0.0)
    digits = _DIGITS - 1 - floor(log10(largest)) if largest else 2
    return fixed(_PLACES.get(measure, max(0, digits)))


def fixed(places: int) -> Form:
    """Return what writes numbers with so many *places*."""
    return lambda value: NONE if value is None else f"{value:.{places}f}"


def between(low: float | None, high: float | None, form: Form) -> str:
    """Return an interval in brackets, if there is one."""
    return NONE if low is None else f"[{form(low)}, {form(high)}]"


def means_sheet(groups: Sequence[Group], measures: Sequence[str]) -> Sheet:
    """Return the means of groups with their intervals over seeds."""
    forms = {name: form_of(name, [group.means[name] for group in groups]) for name in measures}
    names = ("agent", *map(column_of, measures), "seeds")
    return Sheet("Means with 95 % intervals over seeds", names, [_means(g, forms) for g in groups])


def _means(group: Group, forms: dict[str, Form]) -> tuple[str, ...]:
    cells = [with_interval(group.means[name], form) for name, form in forms.items()]
    return group.label, *cells, f"{len(group.seeds):,}"


def with_interval(mean: Mean, form: Form) -> str:
    """Return a mean and its interval over seeds."""
    return f"{form(mean.mean)} {between(mean.low, mean.high, form)}"


def pair_sheets(groups: Sequence[Group], pairs: Sequence[Pair], measure: str) -> Iterator[Sheet]:
    """Yield differences over seeds, values by seed, and what holds for these memories only."""
    column = column_of(measure)
    form = form_of(measure, [group.means[measure] for group in groups])
    if pairs:
        heads = ("difference", "mean", "95 % interval", "p (Holm)", "p (signs)", "seeds")
        yield Sheet(f"Differences of {column} over seeds", heads, [_pair(p, form) for p in pairs])
    labelled = [(group.label, group.means[measure]) for group in groups]
    labelled += [(label_of(pair), pair.difference) for pair in pairs]
    seeds = sorted({own.seed for _, mean in labelled for own in mean.by_seed})
    if len(seeds) > 1:
        own = (column, *(f"seed {seed}" for seed in seeds))
        yield Sheet(f"{column} by seed", own, [_seeds(*row, seeds, form) for row in labelled])
    names = (column, "mean", "95 % interval", "p (Holm)", "d", "better")
    tests = [*[("", "", "")] * len(groups), *map(_tests, pairs)]
    rows = [_users(*row, form, test) for row, test in zip(labelled, tests, strict=True)]
    yield Sheet("These trained memories only: other users", names, rows)


def score_sheets(found: Aggregates, measure: str) -> Iterator[Sheet]:
    """Yield the aggregates of groups, and how likely improvements are, if there are seeds."""
    if all(group.iqm.low is None for group in found.groups):
        return
    form = fixed(3) if found.oracle else fixed(_PLACES.get(measure, 2))
    heads = ("agent", "IQM", "95 % interval", "optimality gap", "95 % interval")
    shown = len(heads) if found.oracle else 3
    scores = (
        f"{column_of(measure)} ÷ that of {found.oracle}" if found.oracle else column_of(measure)
    )
    rows = [
        (group.label, *_estimate(group.iqm, form), *_estimate(group.optimality_gap, form))[:shown]
        for group in found.groups
    ]
    yield Sheet(f"Scores of seeds: {scores}", heads[:shown], rows)
    if found.improvements:
        own = ("first above second", "probability", "95 % interval")
        likely = [(label_of(i), *_estimate(i.probability, fixed(2))) for i in found.improvements]
        yield Sheet("Probability of improvement", own, likely)


def _estimate(found: Estimate | None, form: Form) -> tuple[str, str]:
    if found is None:
        return NONE, NONE
    return form(found.value), between(found.low, found.high, form)


def label_of(pair: Pair | Improvement) -> str:
    """Return what a pair is called."""
    return f"{pair.one} − {pair.other}"


def _pair(pair: Pair, form: Form) -> tuple[str, ...]:
    gap = pair.difference
    seeds = f"{len(gap.by_seed):,}"
    interval = between(gap.low, gap.high, form)
    return label_of(pair), form(gap.mean), interval, _p(pair.p_holm), _p(pair.p_signs), seeds


def _seeds(label: str, mean: Mean, seeds: Sequence[int], form: Form) -> tuple[str, ...]:
    own = {one.seed: one.value for one in mean.by_seed}
    return label, *(form(own.get(seed)) for seed in seeds)


def _users(label: str, mean: Mean, form: Form, tests: tuple[str, ...]) -> tuple[str, ...]:
    users = between(mean.users.low, mean.users.high, form)
    return label, form(mean.mean), users, *tests


def _tests(pair: Pair) -> tuple[str, ...]:
    return _p(pair.p_users), f"{pair.effect:.2f}", f"{pair.better:.0%}"


def _p(value: float | None) -> str:
    if value is None:
        return NONE
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
