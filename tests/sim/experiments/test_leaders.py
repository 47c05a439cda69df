"""`sim.experiments.blame.leaders`: where the first is near a tie, there are more draws."""

import asyncio
from collections.abc import Iterable, Sequence

import msgspec
import pytest

from agents.embeddings import HashingEmbedder
from agents.models.embedded import EmbeddedModel
from sim.experiments.blame.blaming import blame, planned
from sim.experiments.blame.causes import Cause
from sim.experiments.blame.findings import Asked, Blame
from sim.experiments.blame.leaders import judge
from sim.experiments.blame.plays import Plays
from sim.experiments.blame.ranking import Contrast, Effect, leads
from sim.experiments.blame.replays import Arm, Outcome, Split
from sim.views.blame import verdict
from tests.support.small import recorded, synthetic

KEPT = Arm(Split(0))
WHOLE = 64
"""Draws of which all is known: nothing has to be played."""


def wave(size: float, *, phase: int = 0) -> list[float]:
    """Return noise of mean 0, whichever two draws that follow one another are looked at."""
    return [size if (draw + phase) % 2 else -size for draw in range(WHOLE)]


def gains(mean: float, noise: Iterable[float]) -> list[float]:
    return [mean + one for one in noise]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plays, Blame]:
    """The plays of an episode, none of them made, and what it owes its course to."""
    run = recorded(tmp_path_factory.mktemp("recorded") / "run")
    plan = planned(run.path, 5, Asked(), environment=synthetic())
    player = plan.replayed(model=EmbeddedModel(), embedder=HashingEmbedder())
    told = blame(run.path, 5, asked=Asked(draws=2, leading=2), environment=synthetic())
    return plan.plays(player), told


def judged(plays: Plays, table: Sequence[Sequence[float]], asked: Asked) -> list[Effect]:
    """Return the effects of causes of which it is known what comes of each draw, by their steps."""
    contrasts = [
        Contrast(Cause(kind="thought", step=n, says=""), Arm(Split(n + 1)), KEPT)
        for n in range(len(table))
    ]
    outcomes = {(KEPT, draw): Outcome(0.0, 1, 1) for draw in range(WHOLE)}
    for one, gained in zip(contrasts, table, strict=True):
        outcomes |= {(one.changed, n): Outcome(gain, 1, 1) for n, gain in enumerate(gained)}
    own = Plays(plays.player, 5, 1, 0.0, plays.progress, 1, outcomes)
    return asyncio.run(judge(own, contrasts, asked))


def test_a_near_tie_gets_more_draws_till_it_is_told(found: tuple[Plays, Blame]) -> None:
    """Two that 16 draws cannot tell apart, 32 can; the third is told by the first 16."""
    table = [gains(10, wave(4)), gains(13, wave(2, phase=1)), gains(1, wave(1))]
    told = judged(found[0], table, Asked())
    assert [one.cause.step for one in told] == [1, 0, 2]
    assert not any(one.tied for one in told)
    assert [(one.effect, one.draws) for one in told[:2]] == [(13, 32), (10, 32)]


def test_what_is_told_at_once_gets_no_more(found: tuple[Plays, Blame]) -> None:
    plays = found[0]
    far = [gains(10, wave(1)), gains(2, wave(1))]
    assert {one.draws for one in judged(plays, far, Asked())} == {16}


def test_a_tie_is_told_as_a_tie(found: tuple[Plays, Blame]) -> None:
    """By four times the draws, and no more; of one that is far off that is not said."""
    table = [gains(5, wave(3)), gains(5, wave(3, phase=1)), gains(0, wave(1))]
    told = judged(found[0], table, Asked())
    assert [one.tied for one in told] == [False, True, False]
    assert told[0].draws == WHOLE


def test_ties_may_be_left_as_they_are(found: tuple[Plays, Blame]) -> None:
    table = [gains(5, wave(3)), gains(5, wave(3, phase=1))]
    told = judged(found[0], table, Asked(ties=1))
    assert [(one.tied, one.draws) for one in told] == [(False, 16), (True, 16)]


def test_rounds_ask_half_as_many_for_twice_the_draws() -> None:
    """Of two at least: one alone has nobody to be told apart from."""
    assert Asked().rounds() == [(5, 16), (3, 16), (2, 32)]
    assert Asked(ties=1).rounds() == [(5, 16)]
    assert Asked(leading=1).rounds() == [(1, 16)]


def test_what_leads_is_compared_by_common_draws() -> None:
    """A play that failed in one of them is no pair."""
    first, second = (
        Contrast(Cause(kind="thought", step=n, says=""), Arm(Split(n)), KEPT) for n in (1, 2)
    )
    table = {
        **{(KEPT, n): Outcome(1.0, 1, 1) for n in range(3)},
        **{(first.changed, n): Outcome(gain, 1, 1) for n, gain in enumerate([4.0, 6.0, None])},
        **{(second.changed, n): Outcome(gain, 1, 1) for n, gain in enumerate([3.0, 3.0, 3.0])},
    }
    assert leads(first, second, table, range(4)) == [1.0, 3.0]


def test_the_verdict_names_what_is_tied(found: tuple[Plays, Blame]) -> None:
    """Those that do harm, too, and no others."""
    first = Effect(
        cause=Cause(kind="thought", step=0, says=""),
        effect=9.0,
        low=5.0,
        high=13.0,
        draws=64,
        leading=True,
        p=0.01,
    )
    second, third = (Cause(kind="recommendation", step=step, says="") for step in (1, 2))
    tied = msgspec.structs.replace(first, cause=second, tied=True)
    harmless = msgspec.structs.replace(tied, cause=third, low=-1.0)
    told = [*verdict(msgspec.structs.replace(found[1], causes=(first, tied, harmless)))]
    assert told[0].startswith("To blame is the thought of step 0")
    assert "cannot be told apart from the recommendation of step 1:" in told[1]
    told = [*verdict(msgspec.structs.replace(found[1], causes=(first,)))]
    assert not any("told apart" in line for line in told)
