"""The pulse of a run underway: what it is like, in one value."""

from dataclasses import dataclass, field
from pathlib import Path

import anyio
import msgspec
import pytest

from agents.models.guards.budget import Price
from engine.errors import BudgetError
from engine.listeners import Live
from engine.messages import EpisodeSettled, RunEnded, UserResponded
from sim.config.layers import configured
from sim.runs.pulse import Lately, Pulse, Pulses
from sim.runs.resume import resume
from sim.runs.run import run
from sim.runs.watching import Underway
from tests.support.small import SMALL, Refusing

CONFIG = configured(SMALL, {"concurrency": 1})


@dataclass(eq=False)
class Taking:
    """Takes the pulse of a run after every message that it hears.

    A step takes a second by its clock, a recorded one hardly anything.
    """

    underway: Underway = field(init=False)
    pulses: Pulses = field(init=False)
    taken: list[Pulse] = field(default_factory=list)
    seconds: float = 0.0

    def attach(self, underway: Underway) -> None:
        self.underway = underway
        underway.assembly.bus.listen(UserResponded, self._pass)
        self.pulses = Pulses(underway, clock=lambda: self.seconds)
        underway.assembly.bus.listen(UserResponded | EpisodeSettled | RunEnded, self._take)

    def _pass(self, _: Live[UserResponded]) -> None:
        self.seconds += 1.0 if self.underway.access.usage.live else 0.01

    def _take(self, _: Live[object]) -> None:
        self.taken.append(self.pulses.take())

    async def show(self) -> None:
        await anyio.sleep_forever()


@pytest.fixture
def taking() -> Taking:
    return Taking()


def test_in_the_end_it_says_what_the_summary_says(tmp_path: Path, taking: Taking) -> None:
    """Nothing that it counts is a guess."""
    summary = run(CONFIG, out=tmp_path / "run", views=[taking])
    pulse, metrics = taking.taken[-1], summary.metrics
    assert (pulse.episodes, pulse.total, pulse.running, pulse.failed) == (6, 6, 0, 0)
    assert (pulse.steps, pulse.tokens) == (metrics.steps, summary.tokens)
    assert pulse.len == metrics.len
    assert pulse.r_traj == pytest.approx(metrics.r_traj, abs=1e-9)
    assert (pulse.seconds, pulse.seconds_left) == (metrics.steps, 0.0)


def test_what_nobody_knows_yet_is_none(tmp_path: Path, taking: Taking) -> None:
    """Before an episode has ended there is no mean, and without prices no cost."""
    run(CONFIG, out=tmp_path / "run", views=[taking])
    first = taking.taken[0]
    assert (first.episodes, first.steps, first.running) == (0, 1, 2)
    assert (first.len, first.r_traj, first.seconds_left) == (None, None, None)
    assert (first.cost, first.budget, first.token_limit) == (None, None, None)


def test_the_time_left_is_that_of_the_steps_to_come(tmp_path: Path, taking: Taking) -> None:
    """Of visits as long as those so far: those underway are done in part."""
    summary = run(CONFIG, out=tmp_path / "run", views=[taking])
    halfway = next(pulse for pulse in taking.taken if pulse.episodes == 4 and pulse.len)
    assert halfway.len is not None
    assert halfway.seconds_left == pytest.approx(2 * halfway.len, abs=1.0)
    assert halfway.steps_per_second == pytest.approx(1.0)
    assert summary.metrics.steps > halfway.steps


def test_attempts_that_fail_and_those_that_follow_are_counted(
    tmp_path: Path, taking: Taking
) -> None:
    """Refusals by themselves: they say that less is to be asked at once."""
    model = Refusing()
    summary = run(CONFIG, out=tmp_path / "run", model=model, views=[taking])
    pulse, refused = taking.taken[-1], len(model.refused)
    assert refused
    assert (pulse.refused, pulse.retries, pulse.failed_attempts) == (refused, refused, refused)
    assert pulse.attempts == summary.calls + refused


def test_failed_episodes_are_among_those_that_ended(tmp_path: Path, taking: Taking) -> None:
    """So that the count reaches the total."""
    run(CONFIG, out=tmp_path / "run", model=Refusing(never=1), views=[taking])
    pulse = taking.taken[-1]
    assert (pulse.episodes, pulse.failed, pulse.seconds_left) == (6, 1, 0.0)


def test_what_was_recorded_takes_no_time(tmp_path: Path, taking: Taking) -> None:
    """A resumed run is as fast as it is since it went live."""
    with pytest.raises(BudgetError):
        run(msgspec.structs.replace(CONFIG, max_calls=60), out=tmp_path / "run")
    resume(tmp_path / "run", settings=[{"max_calls": 0}], views=[taking])
    recorded = taking.taken[-1].steps - int(taking.seconds)
    assert recorded > 5
    assert taking.taken[-1].steps_per_second == pytest.approx(1.0, abs=0.1)


def test_a_pulse_costs_money_where_prices_are_known(tmp_path: Path, taking: Taking) -> None:
    """By the prices that are set, of a budget if there is one."""
    prices = {"embedded": Price(prompt=1.0, completion=2.0)}
    config = msgspec.structs.replace(CONFIG, prices=prices, max_cost=100.0)
    summary = run(config, out=tmp_path / "run", views=[taking])
    assert taking.taken[-1].cost == pytest.approx(summary.cost, abs=1e-6)
    assert (taking.taken[-1].budget, summary.cost > 0) == (100.0, True)


def test_a_rate_is_of_the_last_time_only() -> None:
    """What was before the span is forgotten; what has not begun has no rate."""
    lately = Lately(60.0)
    lately.begin(0.0, 0)
    assert lately.rate(0.0, 0) is None
    rates = [lately.rate(float(now), min(now, 100)) for now in range(1, 200)]
    assert rates[99] == pytest.approx(1.0)
    assert rates[159] == pytest.approx(0.0, abs=0.02)
