"""Blame: an episode's causes, each drawn anew or left out, and what that does to R_traj.

First all causes are looked at by few draws, then those that lead by fresh ones: the best of many is
partly luck, and fresh draws know nothing of it (`leaders`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import fsum
from os import PathLike
from typing import Any

import msgspec

from agents.models.chain import linked
from agents.models.model import ChatModel
from agents.models.providers import EMBEDDED
from engine.errors import ConfigError, InterruptedRunError, RunDirectoryError
from engine.messages import EpisodeEnded, EpisodeFailed, EpisodeStarted, Message, number
from sim.config.run import RunConfig
from sim.experiments.blame.causes import Cause, causes_of, most_recalled
from sim.experiments.blame.findings import DEFAULT, FEWEST, Asked, Blame
from sim.experiments.blame.leaders import arms_of, judge
from sim.experiments.blame.plays import Plays, Progress
from sim.experiments.blame.ranking import (
    Contrast,
    Effect,
    adjusted,
    decisions,
    effect_of,
    left_out,
    ranked,
    standing,
)
from sim.experiments.blame.replays import FIRST, Arm, Replayer, steps_of
from sim.experiments.critique import settled, vectors_aside
from sim.runs.loop import in_event_loop, in_their_loop
from sim.runs.models import doors_of, embedder_for, model_settings
from sim.runs.recorded import RecordedRun, open_recorded
from sim.runs.replay import excerpt_of
from sim.runs.trust import check_reach
from storage.environments import Environment
from storage.runs import RUNS
from storage.traces import read_episode

REPLIES = RUNS.parent / "replies"
"""The cache of what is paid for, unless the run has one or another is named."""

_KEPT = "what was paid for is kept, and is not paid for again"


def blame(
    run: PathLike[str] | str,
    episode: int,
    *,
    asked: Asked = DEFAULT,
    settings: Sequence[Mapping[str, Any]] = (),
    environment: Environment | None = None,
    model: ChatModel | None = None,
    progress: Progress = lambda _, __: None,
) -> Blame:
    """Return what *episode* of the run in directory *run* owes its course to; writes nothing there.

    *settings* are of calls that are made now, as for `critique`; *progress* is told how many plays
    are done and how many there are to be. A budget that is spent ends it early. Raises ConfigError,
    FileError or ServiceError for what cannot be played. Where an event loop runs, await
    `blame_async`.
    """
    plan = planned(run, episode, asked, settings, environment, progress)
    try:
        return in_event_loop(partial(plan.carry_out, model), twin="blame_async")
    except KeyboardInterrupt as error:
        hint = _KEPT if plan.config.cache else ""
        raise InterruptedRunError("interrupted", hint=hint) from error


async def blame_async(
    run: PathLike[str] | str,
    episode: int,
    *,
    asked: Asked = DEFAULT,
    settings: Sequence[Mapping[str, Any]] = (),
    environment: Environment | None = None,
    model: ChatModel | None = None,
    progress: Progress = lambda _, __: None,
) -> Blame:
    """Do what `blame` does, inside an event loop that runs already."""
    plan = planned(run, episode, asked, settings, environment, progress)
    with in_their_loop():
        return await plan.carry_out(model)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is played, and how."""

    recorded: RecordedRun
    config: RunConfig
    asked: Asked
    episode: int
    messages: Sequence[Message]
    replayed: Callable[..., Replayer]
    causes: Sequence[Cause]
    progress: Progress

    @property
    def seed(self) -> int:
        """The seed of all draws."""
        return self.config.seed if self.asked.seed is None else self.asked.seed

    async def carry_out(self, model: ChatModel | None) -> Blame:
        """Play, and judge."""
        settings = model_settings(self.config)
        async with doors_of(self.config, model) as doors:
            with (
                linked(doors, settings, observe=lambda _: None) as chain,
                vectors_aside(self.recorded.directory, self.config) as vectors,
            ):
                embedder = embedder_for(self.config, chain, vectors)
                player = self.replayed(model=chain, embedder=embedder, keep=chain.keep)
                plays = self.plays(player)
                found = await self.judged(plays)
                return msgspec.structs.replace(found, cost=round(chain.budget.spent.cost, 6))

    @property
    def _ended(self) -> EpisodeEnded:
        return next(m for m in self.messages if isinstance(m, EpisodeEnded))

    def plays(self, player: Replayer) -> Plays:
        """Return what makes the plays of *player*."""
        room = self.config.running or 2 * self.config.concurrency
        reward = self._ended.reward
        return Plays(player, self.episode, self.seed, reward, self.progress, room)

    async def judged(self, plays: Plays) -> Blame:
        """Return what *plays* say, once they are made."""
        contrasts = await self.contrasts(plays.player)
        looked = await self._looked(plays, contrasts)
        # Who seems to have helped, or to have changed nothing, is no suspect.
        suspects = [contrast for one, contrast in looked if standing(one) > 0]
        leading = suspects[: self.asked.leading]
        sure = await judge(plays, leading, self.asked)
        if plays.spent and any(one.draws < FEWEST for one in sure):
            sure, leading = [], []  # what was looked at is better than nothing
        rest = [one for one, contrast in looked if contrast not in leading]
        return self._told(plays, [*adjusted(sure), *ranked(rest)])

    async def _looked(
        self, plays: Plays, contrasts: Sequence[Contrast]
    ) -> list[tuple[Effect, Contrast]]:
        """Return all contrasts by what few draws say of them, what is most to blame first.

        The lesser half goes after each round (successive halving), till no more than lead are left.
        """
        found: dict[Contrast, Effect] = {}
        left, arms = [*contrasts], [Arm(FIRST)]
        while True:
            await plays.make([*arms, *arms_of(left)], plays.fresh(self.asked.screened))
            every = range(plays.drawn)
            found |= {one: effect_of(one, plays.outcomes, every, leading=False) for one in left}
            left.sort(key=lambda one: -standing(found[one]))
            if len(left) <= self.asked.leading or plays.spent:
                break
            left, arms = left[: max(self.asked.leading, len(left) // 2)], []
        gone = sorted(found.keys() - {*left}, key=lambda one: -standing(found[one]))
        return [(found[one], one) for one in (*left, *gone)]

    async def contrasts(self, player: Replayer) -> list[Contrast]:
        """Return what is compared for each cause; raises DivergenceError for another past."""
        steps = steps_of(self.messages)
        await player.check(steps)
        made = [cause for cause in self.causes if cause.kind != "record"]
        found = decisions(made)
        for cause in self.causes[len(made) :]:
            parting = await player.parting((cause.memory, cause.position or 0), steps)
            found.append(left_out(cause, parting))
        return found

    def _told(self, plays: Plays, causes: Sequence[Effect]) -> Blame:
        ended = self._ended
        started = next(m for m in self.messages if isinstance(m, EpisodeStarted))
        outcomes = plays.outcomes
        firsts = [one.reward for (arm, _), one in outcomes.items() if arm == Arm(FIRST)]
        known = [reward for reward in firsts if reward is not None]
        return Blame(
            run=str(self.recorded.directory.path),
            episode=self.episode,
            user=started.user,
            agent=self.config.agent,
            model=self.config.model if self.config.roles else "",
            reward=ended.reward,
            length=ended.length,
            reason=ended.reason,
            seed=self.seed,
            expected=number(fsum(known) / len(known)) if known else None,
            causes=tuple(causes),
            screened=self.asked.screened,
            draws=self.asked.draws,
            plays=plays.done,
            failed=sum(one.reward is None for one in outcomes.values()),
            spent=plays.spent,
            calls=plays.calls,
            tokens=plays.tokens,
            cost=0.0,
            cache=self.config.cache,
        )


def planned(
    run: PathLike[str] | str,
    episode: int,
    asked: Asked,
    settings: Sequence[Mapping[str, Any]] = (),
    environment: Environment | None = None,
    progress: Progress = lambda _, __: None,
) -> Plan:
    """Return what is to be played; raises ConfigError or FileError if it cannot be."""
    asked.check()
    recorded = open_recorded(run, environment)
    if not recorded.finished:
        what = f"{run}: the run has not come to its end"
        raise RunDirectoryError(what, hint=f"billp resume {run}")
    named = [*_kept(settled(recorded, settings)), *settings]
    config = settled(recorded, named)
    check_reach(recorded.directory.config, config, proven=recorded.proven, named=named)
    envelopes = read_episode(recorded.directory.trace, episode)
    messages = [envelope.message for envelope in envelopes]
    started = messages[0]
    if not isinstance(started, EpisodeStarted) or any(
        isinstance(m, EpisodeFailed) for m in messages
    ):
        what = f"episode {episode} failed: it has no R_traj of its own"
        raise ConfigError(what, hint=f"see what happened: billp show {run} {episode}")
    excerpt = excerpt_of(recorded, episode, started)
    return Plan(
        recorded=recorded,
        config=config,
        asked=asked,
        episode=episode,
        messages=messages,
        replayed=partial(Replayer, recorded, excerpt, config),
        causes=most_recalled(causes_of(envelopes, config.cast, excerpt.logs), asked.records),
        progress=progress,
    )


def _kept(config: RunConfig) -> list[Mapping[str, Any]]:
    """Return the settings by which nothing is paid for twice."""
    # As it is asked for: a service may have a model that is called embedded, too.
    paid = any((own.model or config.model) != EMBEDDED for own in config.roles.values())
    return [{"cache": str(REPLIES)}] if paid and not config.cache else []
