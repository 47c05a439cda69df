"""A critique: whether a run's critic lowers variance, as the paper claims (arXiv 2403.00843).

For states sampled from a recorded run the critic is asked again, and the episode is rolled out from
there; see `sim.experiments.rollouts` for what a rollout is, and `sim.experiments.critic_statistics`
for what is made of them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import product
from os import PathLike
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import msgspec
import numpy as np

from agents.models.chain import Chain, linked
from agents.models.model import ChatModel
from engine.chance import chance
from engine.errors import BudgetError, ConfigError, InterruptedRunError, RunDirectoryError
from engine.messages import AdvantageEstimated, UserResponded
from sim.config.layers import configured
from sim.config.run import RunConfig
from sim.experiments.critic_statistics import Fit, Floats, Gain, Spread, fit, gain, rounded, spread
from sim.experiments.rollouts import (
    Origin,
    Player,
    Rollout,
    State,
    origins,
    rollout_seed,
    valued_states,
)
from sim.runs.loop import in_event_loop
from sim.runs.models import doors_of, embedder_for, model_settings
from sim.runs.recorded import RecordedRun, open_recorded
from sim.runs.trust import check_reach
from storage.environments import Environment
from storage.runs import RunDirectory
from storage.traces import read_episodes
from storage.vectors import VectorFile

ESTIMATORS = ("value", "target", "return", "total")
DRAWN = frozenset(
    {"model", "instructions", "temperature", "max_tokens", "effort", "reasoning_tokens"}
)
"""Settings of how replies are drawn: these may differ from the run's, beside those of the way."""

_FEWEST_STATES, _FEWEST_ROLLOUTS = 3, 2
_KEEPING = "--set cache=DIR keeps replies for the next time"


class Drawn(msgspec.Struct, frozen=True, kw_only=True):
    """A state, the value that is recorded of it, and its draws by estimator; None where one lacks.

    *cut* is how many of its rollouts the limit cut short, *failed* how many came to nothing.
    """

    episode: int
    step: int
    recorded: float
    draws: dict[str, tuple[float | None, ...]]
    cut: int
    failed: int


class Critique(msgspec.Struct, frozen=True, kw_only=True):
    """What a critic is worth, by *states*; *left_out* have too few draws to be counted.

    In the run itself so many steps that were judged were *leaving*, and of them so many came out
    with an advantage of at least 0: *leaving_encouraged*.

    *fits* are to the return and to the total. *calls*, *tokens* and *cost* are those of the
    critique alone.
    """

    run: str
    agent: str
    model: str
    seed: int
    discount: float
    rollouts: int
    states: tuple[Drawn, ...]
    left_out: int
    leaving: int
    leaving_encouraged: int
    spreads: dict[str, Spread]
    gain: Gain
    fits: dict[str, Fit]
    calls: int
    tokens: int
    cost: float


def critique(
    run: PathLike[str] | str,
    states: int = 20,
    rollouts: int = 16,
    *,
    discount: float | None = None,
    settings: Sequence[Mapping[str, Any]] = (),
    seed: int | None = None,
    environment: Environment | None = None,
    model: ChatModel | None = None,
    progress: Callable[[], None] = lambda: None,
) -> Critique:
    """Return what the critic of the run in directory *run* is worth; writes nothing there.

    So many *states* are drawn from *seed* (the run's own if it is None), and so many *rollouts*
    made of each; *progress* is told when one is done. *discount* γ is the critic's unless it is
    given. *settings* are of calls that are made now: DRAWN, and what leaves no mark on a trace.
    A run from elsewhere reaches out only by what is in them (`sim.runs.trust`). Raises ConfigError,
    FileError or ServiceError for what cannot be rolled out.
    """
    _check_sizes(states, rollouts, discount)
    recorded = open_recorded(run, environment)
    if not recorded.finished:
        what = f"{run}: the run has not come to its end"
        raise RunDirectoryError(what, hint=f"billp resume {run}")
    config = settled(recorded, settings)
    place = recorded.directory.config
    check_reach(place, config, proven=recorded.proven, named=settings)
    seed = config.seed if seed is None else seed
    chosen = sampled(_eligible(recorded, states), states, seed)
    plan = _Plan(
        recorded=recorded,
        config=config,
        seed=seed,
        discount=_discount(config) if discount is None else discount,
        origins=origins(recorded, chosen),
        rollouts=rollouts,
        progress=progress,
    )
    try:
        return in_event_loop(partial(plan.carry_out, model))
    except BudgetError as error:
        error.hint = f"allow more: --set {error.setting}=…; {_KEEPING}"
        raise
    except KeyboardInterrupt as error:
        raise InterruptedRunError("interrupted", hint=_KEEPING) from error


def _check_sizes(states: int, rollouts: int, discount: float | None) -> None:
    if states < _FEWEST_STATES:
        raise ConfigError(f"expected at least {_FEWEST_STATES} states, got {states}")
    if rollouts < _FEWEST_ROLLOUTS:
        raise ConfigError(f"expected at least {_FEWEST_ROLLOUTS} rollouts, got {rollouts}")
    if discount is not None and not 0 <= discount <= 1:
        raise ConfigError(f"expected a discount from 0 to 1, got {discount!r}")


def _critic(config: RunConfig) -> str:
    critic = config.cast.critic
    if critic is None:
        raise ConfigError(f"the agent {config.agent} has no critic")
    return critic.name


def _discount(config: RunConfig) -> float:
    """Return γ as the agent's critic has it."""
    found: float | None = getattr(config.roles[_critic(config)], "discount", None)
    if found is None:
        hint = "--discount 0.9"
        raise ConfigError(f"the critic of {config.agent} has no discount of its own", hint=hint)
    return found


def settled(recorded: RecordedRun, settings: Sequence[Mapping[str, Any]]) -> RunConfig:
    """Return the configuration of calls that are made now."""
    before = recorded.course.config
    after = configured(before.settings(), *settings)
    for name in before.differences(after):
        if name.rpartition(".")[2] not in DRAWN:
            raise ConfigError(
                f"{name} cannot be changed here: it decided the run",
                hint=f"what can are {', '.join(sorted(DRAWN))}, limits and prices",
            )
    return after


def _eligible(recorded: RecordedRun, count: int) -> list[State]:
    """Return the states to draw from; raises ConfigError if there are fewer than *count*."""
    agent, path = recorded.course.config.agent, recorded.directory.path
    found = valued_states(recorded)
    if not found:
        raise ConfigError(
            f"{path}: no critic valued a state that a step follows (agent {agent})",
            hint="billp and billp:no-macro have a critic",
        )
    if len(found) < count:
        raise ConfigError(
            f"{path}: {count} states are asked for, but the critic valued {len(found)}",
            hint=f"--states {len(found)}" if len(found) >= _FEWEST_STATES else "run more episodes",
        )
    return found


def sampled(states: Sequence[State], count: int, seed: int) -> list[State]:
    """Return *count* of *states*, spread over steps as all of them are, in canonical order.

    A systematic sample: from a random start every (M ÷ count)-th of the M states, in order of their
    steps and at random within a step.
    """
    stream = chance(seed, 0, 0, 0, "critique")
    order = sorted(stream.shuffled(sorted(states)), key=lambda state: state.step)
    start = stream.integer(len(order))
    return sorted(order[(place * len(order) + start) // count] for place in range(count))


# -- rolling out


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What is rolled out, and how."""

    recorded: RecordedRun
    config: RunConfig
    seed: int
    discount: float
    origins: Sequence[Origin]
    rollouts: int
    progress: Callable[[], None]

    async def carry_out(self, model: ChatModel | None) -> Critique:
        """Roll out and judge."""
        settings = model_settings(self.config)
        async with doors_of(self.config, model) as doors:
            with (
                linked(doors, settings, observe=lambda _: None) as chain,
                vectors_aside(self.recorded.directory, self.config) as vectors,
            ):
                embedder = embedder_for(self.config, chain, vectors)
                player = Player(self.recorded, self.config, chain, embedder, keep=chain.keep)
                done = await self._roll(player)
                return self._judged(done, player, chain)

    async def _roll(self, player: Player) -> list[list[Rollout | None]]:
        """Return the rollouts of each state."""
        done: list[list[Rollout | None]] = [[None] * self.rollouts for _ in self.origins]
        room = anyio.CapacityLimiter(self.config.running or 2 * self.config.concurrency)

        async def roll(place: int, number: int) -> None:
            async with room:
                origin = self.origins[place]
                seed = rollout_seed(self.seed, origin.state, number)
                done[place][number] = await player.roll(origin, seed)
                self.progress()

        async with anyio.create_task_group() as rolling:
            for place, number in product(range(len(self.origins)), range(self.rollouts)):
                rolling.start_soon(roll, place, number)
        return done

    def _judged(
        self, done: Sequence[Sequence[Rollout | None]], player: Player, chain: Chain
    ) -> Critique:
        drawn = [
            draws_of(origin.state, rollouts, self.discount)
            for origin, rollouts in zip(self.origins, done, strict=True)
        ]
        counted = [state for state in drawn if _enough(state)]
        if len(counted) < _FEWEST_STATES:
            what = f"{len(counted)} of {len(drawn)} states have two draws or more"
            raise ConfigError(f"too few rollouts came to an end: {what}", hint="more --rollouts")
        tables = {name: table_of(counted, name) for name in ESTIMATORS}
        leaving = list(leaving_advantages(self.recorded.directory.trace))
        return Critique(
            run=str(self.recorded.directory.path),
            agent=self.config.agent,
            model=self.config.model_of(_critic(self.config)),
            seed=self.seed,
            discount=self.discount,
            rollouts=self.rollouts,
            states=tuple(counted),
            left_out=len(drawn) - len(counted),
            leaving=len(leaving),
            leaving_encouraged=sum(advantage >= 0 for advantage in leaving),
            spreads={name: spread(table) for name, table in tables.items()},
            gain=gain(tables["target"], tables["return"], seed=self.seed),
            fits={name: fit(tables["value"], tables[name]) for name in ("return", "total")},
            calls=player.usage.live,
            tokens=player.usage.tokens,
            cost=round(chain.budget.spent.cost, 6),
        )


@contextmanager
def vectors_aside(directory: RunDirectory, config: RunConfig) -> Iterator[VectorFile | None]:
    """Yield a file for vectors that a service says now, with those that it said before."""
    if not config.embedding_model:
        yield None
        return
    with TemporaryDirectory() as scratch:
        aside = Path(scratch) / directory.vectors.name
        if directory.vectors.exists():
            copyfile(directory.vectors, aside)
        with closing(VectorFile(aside, "none")) as file:
            yield file


# -- judging


def leaving_advantages(trace: Path) -> Iterator[float]:
    """Yield the advantage of each judged step after which a user left."""
    for _, envelopes in read_episodes(trace, (UserResponded, AdvantageEstimated)):
        messages = [envelope.message for envelope in envelopes]
        gone = {m.step for m in messages if isinstance(m, UserResponded) and m.left}
        judged = (m for m in messages if isinstance(m, AdvantageEstimated))
        yield from (m.advantage for m in judged if m.step in gone)


def draws_of(state: State, rollouts: Sequence[Rollout | None], discount: float) -> Drawn:
    """Return what the rollouts from *state* came to."""
    whole = [rollout for rollout in rollouts if rollout is not None]
    return Drawn(
        episode=state.episode,
        step=state.step,
        recorded=state.value,
        draws={
            "value": tuple(rollout.value for rollout in whole),
            "target": tuple(rounded(rollout.target(discount)) for rollout in whole),
            "return": tuple(rounded(rollout.discounted(discount)) for rollout in whole),
            "total": tuple(rounded(rollout.discounted(1.0)) for rollout in whole),
        },
        cut=sum(rollout.limit for rollout in whole),
        failed=len(rollouts) - len(whole),
    )


def _enough(state: Drawn) -> bool:
    known = (sum(draw is not None for draw in draws) for draws in state.draws.values())
    return min(known) >= _FEWEST_ROLLOUTS


def table_of(states: Sequence[Drawn], estimator: str) -> Floats:
    """Return the draws of an *estimator*, a state a row; NaN where one lacks."""
    draws = [state.draws[estimator] for state in states]
    table = np.full((len(draws), max(map(len, draws))), np.nan)
    for row, known in zip(table, draws, strict=True):
        row[: len(known)] = [np.nan if draw is None else draw for draw in known]
    return table
