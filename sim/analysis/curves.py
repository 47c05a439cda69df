"""Learning curves: what each test user got after how much training."""

from collections.abc import Mapping, Sequence

import msgspec

from sim.analysis.compare import mean_of
from sim.analysis.groups import grouped
from sim.analysis.means import Mean
from sim.analysis.outcomes import RunOutcomes, Tests


class MeanPoint(msgspec.Struct, frozen=True, kw_only=True):
    """The mean of a test after *trained* episodes, with its seeds and intervals."""

    trained: int
    visits: int
    value: Mean


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """The learning curve of a group of runs."""

    label: str
    measure: str
    points: tuple[MeanPoint, ...]


def curves(read: Sequence[RunOutcomes], measure: str, seed: int = 0) -> tuple[Curve, ...]:
    """Return the curve of each group of runs that were tested more than once."""
    found = []
    for label, members in grouped(read).items():
        tests = {number: members[number].tests for number in sorted(members)}
        told = ({after for after, visits in test.items() if visits} for test in tests.values())
        common = set.intersection(*told)
        if len(common) > 1:
            points = tuple(_point(tests, after, measure, seed) for after in sorted(common))
            found.append(Curve(label=label, measure=measure, points=points))
    return tuple(found)


def _point(tests: Mapping[int, Tests], after: int, measure: str, seed: int) -> MeanPoint:
    judged = [test[after] for test in tests.values()]
    return MeanPoint(
        trained=after,
        visits=sum(map(len, judged)),
        value=mean_of([*tests], judged, measure, seed),
    )
