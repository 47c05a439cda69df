"""`critique` and `critic_statistics`: what a critic is worth, by hand and on a small run."""

from collections import Counter
from dataclasses import dataclass, field
from math import inf, sqrt
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike
from scipy import stats

from agents.embeddings import hashed
from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatReply, ChatRequest
from agents.models.serving.server import Server
from engine.chance import Stream, chance
from engine.errors import CallFailedError, ConfigError
from sim.experiments.critic_statistics import (
    Floats,
    correlation,
    fisher_interval,
    fit,
    gain,
    ranks,
    spread,
)
from sim.experiments.critique import Critique, critique, draws_of, sampled
from sim.experiments.rollouts import Rollout, State
from sim.runs.fork import fork
from storage.runs import RunDirectory
from tests.support.shell import tree
from tests.support.small import recorded, synthetic

NAN = float("nan")


def table(rows: ArrayLike) -> Floats:
    return np.array(rows, dtype=np.float64)


def normal(stream: Stream) -> float:
    """Return a number of variance 1 (nearly normal)."""
    return sum(stream.fraction() for _ in range(12)) - 6


# -- spread


def test_the_spread_is_as_counted_by_hand() -> None:
    """Means 2 and 6, of variance 8, of which 2 ÷ 2 is noise; draws of variance 2."""
    found = spread(table([[1, 3], [5, 7]]))
    assert (found.mean, found.within, found.across) == (4, 1.41421, 2.64575)
    assert (found.signal, found.noise) == (3.5, 0.534522)


def test_draws_that_lack_are_left_out() -> None:
    """Variances 2 and 4, of the means 1 and 4/3; means 2 and 7, of variance 12.5."""
    found = spread(table([[1.0, 3.0, NAN], [5.0, 7.0, 9.0]]))
    assert found.within**2 == pytest.approx(3, rel=1e-5)
    assert found.across**2 == pytest.approx(12.5 - 7 / 6, rel=1e-5)


def test_draws_that_never_differ_have_a_signal_without_end() -> None:
    """Whatever the numbers are: no rounding makes noise of them."""
    found = spread(table([[0.1] * 7, [0.7] * 7, [1 / 3] * 7]))
    assert (found.within, found.noise, found.signal) == (0, 0, inf)


def test_states_that_never_differ_have_no_signal() -> None:
    found = spread(table([[1, 3], [3, 1]]))
    assert (found.across, found.signal, found.noise) == (0, 0, inf)


def test_of_numbers_that_are_all_the_same_nothing_is_known() -> None:
    found = spread(table([[2, 2], [2, 2]]))
    assert (found.signal, found.noise) == (None, None)


@settings(max_examples=40)
@given(
    st.lists(st.lists(st.integers(-5, 5), min_size=3, max_size=3), min_size=3, max_size=6),
    st.floats(0.01, 100),
    st.floats(-100, 100),
)
def test_a_signal_knows_no_scale(rows: list[list[int]], scale: float, shift: float) -> None:
    """What any linear map leaves as it is, so that values can be compared with returns."""
    one, other = spread(table(rows)), spread(table(rows) * scale + shift)
    if one.signal is not None and one.signal > 1e-6:
        assert other.signal == pytest.approx(one.signal, rel=1e-3)


# -- gain


def test_a_target_with_half_the_noise_has_four_times_the_signal() -> None:
    means = table([[10.0 * state] for state in range(8)])
    noise = table([[1, -1, 1, -1]])
    found = gain(means + noise / 2, means + noise, seed=0)
    assert found.factor == pytest.approx(4, rel=0.01)
    assert found.low == pytest.approx(4, rel=0.1)
    assert found.high == pytest.approx(4, rel=0.1)


def test_what_is_the_same_gains_nothing() -> None:
    draws = table([[1, 3], [5, 8], [2, 2]])
    found = gain(draws, draws, seed=0)
    assert (found.factor, found.low, found.high) == (1, 1, 1)


def test_a_gain_over_nothing_is_not_known() -> None:
    same = table([[1, 1], [1, 1], [1, 1]])
    assert gain(same, same, seed=0).factor is None


# -- fit

VALUES = table([[0, 0], [1, 1], [2, 2]])
RETURNS = table([[0, 2], [2, 4], [8, 10]])


def test_the_map_is_that_of_least_squares() -> None:
    """Means 1, 3, 9 over 0, 1, 2."""
    found = fit(VALUES, RETURNS)
    assert (found.slope, found.intercept) == (4, 0.333333)


def test_the_bias_is_what_the_map_leaves_less_the_noise() -> None:
    """Residuals 2/3, −4/3, 2/3: 8/3 ÷ 1, less 2 ÷ 2."""
    found = fit(VALUES, RETURNS)
    assert found.bias == pytest.approx(sqrt(5 / 3), rel=1e-5)
    assert found.error == found.bias


def test_the_worth_is_in_rollouts_of_the_same_error() -> None:
    """Of variance 2, against 5/3; and a guess errs by 52/3 − 1."""
    found = fit(VALUES, RETURNS)
    assert found.worth == pytest.approx(1.2, rel=1e-5)
    assert found.guess == pytest.approx(2 / (52 / 3 - 1), rel=1e-5)


def test_the_correlation_can_be_no_better_than_the_returns_are_known() -> None:
    found = fit(VALUES, RETURNS)
    assert found.pearson == pytest.approx(8 / sqrt(2 * 104 / 3), rel=1e-5)
    assert found.spearman == 1
    assert found.ceiling == pytest.approx(sqrt((52 / 3 - 1) / (52 / 3)), rel=1e-5)
    assert (found.pearson_low, found.pearson_high) == (-1, 1)


def test_a_noisy_critic_errs_more_than_it_is_biased() -> None:
    """One answer has the noise 2 of the value, times the slope squared."""
    found = fit(table([[-1, 1], [3, 5], [7, 9]]), RETURNS)
    assert found.slope == 1
    assert found.error**2 == pytest.approx(found.bias**2 + 2, rel=1e-5)


def test_a_critic_that_says_one_thing_is_a_guess() -> None:
    found = fit(table([[4, 4]] * 3), RETURNS)
    assert (found.slope, found.intercept) == (0, 4.33333)
    assert found.worth == found.guess
    assert (found.pearson, found.pearson_low, found.spearman) == (None, None, None)


def test_a_critic_without_fault_is_found_to_have_none() -> None:
    """Of 400 states whose values are the expected returns but for the scale."""
    stream = chance(1, 0, 0, 0, "test")
    expected = [3 * normal(stream) for _ in range(400)]
    values = table([[(value - 1) / 2] * 2 for value in expected])
    returns = table([[value + 5 * normal(stream) for _ in range(8)] for value in expected])
    found = fit(values, returns)
    assert found.bias < 0.7
    assert found.slope == pytest.approx(2, abs=0.2)
    assert found.pearson == pytest.approx(found.ceiling, abs=0.03)


def test_ranks_of_equals_are_shared() -> None:
    assert ranks(table([3, 1, 3, 9])).tolist() == [2.5, 1, 2.5, 4]


def test_the_interval_is_fishers() -> None:
    """Z = 0.549306 ± 0.392."""
    assert fisher_interval(0.5, 28) == pytest.approx((0.156021, 0.735822), abs=1e-5)
    assert fisher_interval(1.0, 28) == (1, 1)


@given(st.integers(4, 60), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_the_interval_is_that_of_scipy(count: int, seed: int) -> None:
    one, other = np.random.default_rng(seed).normal(size=(2, count))
    theirs = stats.pearsonr(one, other)
    ours = fisher_interval(theirs.statistic, count)
    assert ours == pytest.approx(tuple(theirs.confidence_interval()), abs=1e-4)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(-9, 9)), min_size=4, max_size=12))
def test_correlations_are_those_of_scipy(pairs: list[tuple[int, int]]) -> None:
    one, other = table(pairs).T
    found = correlation(one, other)
    if found is None:
        assert 1 in {len(set(one)), len(set(other))}
        return
    assert found == pytest.approx(stats.pearsonr(one, other).statistic, abs=1e-9)
    assert ranks(one).tolist() == stats.rankdata(one).tolist()
    again = correlation(ranks(one), ranks(other))
    assert again == pytest.approx(stats.spearmanr(one, other).statistic, abs=1e-9)


# -- states


def visited(lengths: list[int]) -> list[State]:
    """Return the states of episodes of some lengths."""
    return [
        State(episode=episode, step=step, value=0.0)
        for episode, length in enumerate(lengths)
        for step in range(length)
    ]


@settings(max_examples=40)
@given(st.lists(st.integers(1, 9), min_size=3, max_size=9), st.data())
def test_states_are_drawn_once_each(lengths: list[int], data: st.DataObject) -> None:
    """In order, and the same for the same seed."""
    states = visited(lengths)
    count = data.draw(st.integers(1, len(states)))
    seed = data.draw(st.integers(0, 99))
    found = sampled(states, count, seed)
    assert found == sorted(set(found))
    assert len(found) == count
    assert found == sampled(states[::-1], count, seed)


def test_states_are_spread_over_steps() -> None:
    """Of ten episodes of ten steps, two states of each step."""
    found = sampled(visited([10] * 10), 20, 0)
    assert Counter(state.step for state in found) == dict.fromkeys(range(10), 2)


def test_other_seeds_draw_other_states() -> None:
    states = visited([10] * 10)
    assert sampled(states, 20, 0) != sampled(states, 20, 1)


def test_draws_are_those_of_the_rollouts() -> None:
    """Returns 2 + 4γ and 3, targets 2 + 1γ and 3; what failed and what was cut is counted."""
    whole = Rollout(value=1.0, next_value=1.0, rewards=(2.0, 4.0), limit=True)
    left = Rollout(value=None, next_value=0.0, rewards=(3.0,), limit=False)
    found = draws_of(State(episode=1, step=2, value=5.0), [whole, None, left], 0.5)
    assert found.draws == {
        "value": (1.0, None),
        "target": (2.5, 3.0),
        "return": (4.0, 3.0),
        "total": (6.0, 3.0),
    }
    assert (found.recorded, found.cut, found.failed) == (5, 1, 1)


# -- a critique of a small run


@dataclass
class Critical:
    """The embedded model, whose critic says what its seed says; or nothing, now and then."""

    silent: int = 1 << 60
    model: EmbeddedModel = field(default_factory=EmbeddedModel)

    async def reply(self, request: ChatRequest) -> ChatReply:
        reply = await self.model.reply(request)
        if request.call.role != "critic":
            return reply
        text = "I cannot say" if request.seed % self.silent == 0 else str(request.seed % 7 - 3)
        return msgspec.structs.replace(reply, text=text)


@dataclass
class Breaking:
    """The embedded model, which never gets to one call in thirty-one."""

    model: EmbeddedModel = field(default_factory=EmbeddedModel)

    async def reply(self, request: ChatRequest) -> ChatReply:
        if request.seed % 31 == 0:
            raise CallFailedError("the server had an error", kind="server")
        return await self.model.reply(request)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return recorded(tmp_path_factory.mktemp("recorded") / "run")


@pytest.fixture(scope="module")
def plain(run: RunDirectory) -> Critique:
    """What comes of the run with nothing changed."""
    return judged(run)


def judged(run: RunDirectory, states: int = 6, rollouts: int = 3, **how: Any) -> Critique:
    return critique(run.path, states, rollouts, environment=synthetic(), **how)


def test_a_critique_is_the_same_every_time(run: RunDirectory, plain: Critique) -> None:
    """However many rollouts are at work at once."""
    assert judged(run, settings=[{"concurrency": 1, "running": 1}]) == plain


def test_another_seed_makes_another_critique(run: RunDirectory, plain: Critique) -> None:
    """The run's own is the one unless it is given."""
    assert plain.seed == 0
    assert judged(run, seed=1).states != plain.states


def test_a_critique_writes_nothing(run: RunDirectory) -> None:
    before = tree(run.path)
    judged(run, model=Critical())
    assert tree(run.path) == before


def test_vectors_of_a_service_are_not_written_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What rollouts come to say needs vectors that the run has not."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-a-test")
    server = Server(EmbeddedModel(), embed=lambda text: hashed(text.splitlines()).tolist())
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(server) as url:
        how: dict[str, Any] = {"embeddings": "openai/embedded", "base_url": url, "episodes": 3}
        directory = recorded(tmp_path / "run", None, **how)
        before = tree(directory.path)
        assert judged(directory, 3, 2).calls > 0
    assert tree(directory.path) == before


def test_a_critique_tells_what_is_recorded_and_every_draw(plain: Critique) -> None:
    """The embedded critic says the same of the same prompt, so its values are the recorded."""
    assert len(plain.states) == 6
    for state in plain.states:
        assert state.draws["value"] == (state.recorded,) * 3
        assert len(state.draws["total"]) == 3
    assert plain.spreads["value"].within == 0
    assert plain.calls > 0


def test_a_critic_that_wavers_has_a_spread(run: RunDirectory) -> None:
    """It is asked again on the same prompt, with another seed."""
    assert judged(run, model=Critical()).spreads["value"].within > 1


def test_values_that_cannot_be_read_are_left_out(run: RunDirectory) -> None:
    """Not taken for 0; the returns of their rollouts are known all the same."""
    found = judged(run, 6, 6, model=Critical(silent=2))
    values = [value for state in found.states for value in state.draws["value"]]
    totals = [total for state in found.states for total in state.draws["total"]]
    assert None in values
    assert None not in totals


def test_rollouts_that_fail_are_left_out(run: RunDirectory) -> None:
    found = judged(run, 6, 8, model=Breaking())
    assert found.left_out + len(found.states) == 6
    for state in found.states:
        assert state.failed + len(state.draws["total"]) == 8
    assert sum(state.failed for state in found.states) > 0


def test_if_nearly_all_fail_nothing_can_be_said(run: RunDirectory) -> None:
    with pytest.raises(ConfigError, match="too few rollouts came to an end: 0 of 6 states"):
        judged(run, model=Critical(silent=1))


def test_the_discount_is_the_critics_unless_it_is_given(run: RunDirectory, plain: Critique) -> None:
    assert plain.discount == 0.5
    found = judged(run, discount=1.0)
    assert found.spreads["return"] == found.spreads["total"]
    assert found.fits["return"] == found.fits["total"]


def test_every_rollout_that_is_done_is_told(run: RunDirectory) -> None:
    told: list[None] = []
    judged(run, progress=lambda: told.append(None))
    assert len(told) == 6 * 3


def test_a_critique_of_a_fork_is_about_its_own_part(run: RunDirectory, tmp_path: Path) -> None:
    """What comes before the fork was its parent's."""
    fork(run.path, (3, 1), settings=[{"limit": 12}], out=tmp_path / "f", environment=synthetic())
    found = judged(RunDirectory(tmp_path / "f"))
    assert all((state.episode, state.step) > (3, 1) for state in found.states)
