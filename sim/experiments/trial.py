"""What is tried of a run before it is paid for: its beginning and a part of its tests."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import sqrt
from pathlib import Path
from statistics import fmean, variance
from tempfile import TemporaryDirectory
from typing import TypeAlias

import msgspec

from agents.embeddings import hashed
from agents.models.embedded import EmbeddedModel
from agents.models.guards.prefixes import Prefixes
from agents.models.model import ChatReply, ChatRequest
from agents.models.remote.vectors import ROLE as EMBEDDING
from agents.models.remote.vectors import encoded
from engine.errors import InterruptedRunError
from sim.config.run import RunConfig
from sim.experiments.rounds import layout, lots, needed_in, together_in
from sim.runs.run import run
from storage.environments import Environment
from storage.runs import RunDirectory

_FEW = 10  # visits that are tried first, to see how long they are
_STEPS = 4_000  # that these may come to
_STAGES = ((60, 4.0), (300, 1.0))  # visits tried next; how much longer they are than the last ones
_CALLS = 16_000  # that can be tried in some seconds
_TESTS = 10  # that are tried in between

Spent: TypeAlias = tuple[int, int, int]
"""Calls, prompt tokens, completion tokens."""

NOTHING: Spent = (0, 0, 0)


@dataclass(eq=False)
class _Counted:
    """The embedded model, with a count of what it is asked and replies, by episode and role.

    Vectors belong to no episode: who wants one that is known gets it for nothing. No user waits for
    the calls of the roles *aside*.
    """

    model: EmbeddedModel = field(default_factory=EmbeddedModel)
    aside: dict[str, None] = field(default_factory=dict)
    episodes: dict[int, dict[str, Spent]] = field(default_factory=dict)
    prefixes: Prefixes = field(default_factory=Prefixes)
    known: Counter[str] = field(default_factory=Counter)
    vectors: Spent = NOTHING

    async def reply(self, request: ChatRequest) -> ChatReply:
        call = request.call
        if call.role == EMBEDDING:
            reply = _vector(request.messages[0].content)
            self.vectors = added((self.vectors, (1, reply.prompt_tokens, 0)))
            return reply
        if request.aside:
            self.aside[call.role] = None
        reply = await self.model.reply(request)
        roles = self.episodes.setdefault(call.episode, {})
        self.known[call.role] += round(self.prefixes.shared(request) * reply.prompt_tokens)
        spent = (1, reply.prompt_tokens, reply.completion_tokens)
        roles[call.role] = added((roles.get(call.role, NOTHING), spent))
        return reply

    def calls(self, episode: int) -> int:
        """Return the calls of an episode."""
        return sum(calls for calls, *_ in self.episodes.get(episode, {}).values())


def added(parts: Iterable[Spent]) -> Spent:
    """Return the sums."""
    calls, prompt, completion = map(sum, zip(*parts, strict=True))
    return calls, prompt, completion


def _vector(text: str) -> ChatReply:
    tokens = len(text) // 4
    return ChatReply(text=encoded(hashed((text,))), prompt_tokens=tokens, completion_tokens=0)


@dataclass(frozen=True)
class _Group:
    """Episodes that were tried, by number, and how many they stand for, with themselves."""

    tried: Sequence[int]
    size: int


@dataclass(frozen=True)
class Trial:
    """What was tried: a run of *small*, what it came to, and what its episodes stand for.

    Calls of the roles *batched* could go in batches; of these so many are *needed*, one after the
    other, by each lot of episodes that arrived together.
    """

    small: RunConfig
    counted: _Counted
    groups: Sequence[_Group]
    batched: Sequence[str] = ()
    needed: Sequence[int] = ()

    @property
    def roles(self) -> list[str]:
        """Who asked, in the order of their first calls."""
        asked = dict.fromkeys(role for roles in self.counted.episodes.values() for role in roles)
        return [*asked, *([EMBEDDING] if self.counted.vectors[0] else [])]

    @property
    def calls(self) -> int:
        """All calls that were made."""
        return sum(map(self.counted.calls, self.counted.episodes))

    @property
    def lately(self) -> float:
        """The calls of an episode in the later half of the training."""
        return max(1.0, fmean(map(self.counted.calls, self.groups[1].tried)))

    def spent(self, role: str) -> Spent:
        """Return what a role is expected to come to in the whole run."""
        if role == EMBEDDING:
            size = sum(group.size for group in self.groups)
            calls, prompt, _ = self.counted.vectors
            return calls * size // self.small.visits, prompt * size // self.small.visits, 0
        whole = [0.0, 0.0, 0.0]
        for group in self.groups:
            for number in group.tried:
                amounts = self.counted.episodes.get(number, {}).get(role, NOTHING)
                for place, amount in enumerate(amounts):
                    whole[place] += amount * group.size / len(group.tried)
        calls, prompt, completion = map(round, whole)
        return calls, prompt, completion

    def known(self, role: str) -> float:
        """Return the share of a role's prompts that is how one that was asked before began."""
        episodes = self.counted.episodes.values()
        asked = sum(roles[role][1] for roles in episodes if role in roles)
        return self.counted.known[role] / max(1, asked)

    def error(self) -> float:
        """Return the standard error of all calls; each group is a sample of its own."""
        calls = self.counted.calls
        return sqrt(sum(_squared_error([*map(calls, g.tried)], g.size) for g in self.groups))

    def rounds(self, config: RunConfig) -> int:
        """Return how many batches of *config* there are that need the one before.

        Where episodes arrive one by one, or come back, there are no more than these.
        """
        if not together_in(config):
            return round(sum(self.needed) * config.visits / self.small.visits)
        return round(sum(self.needed) * lots(config) / len(self.needed))

    def longest(self, size: int) -> float:
        """Return the calls of the longest episode of a batch of *size*, on average."""
        training, _ = layout(self.small)
        lengths = [self.counted.calls(number) for number in training]
        starts = range(0, len(lengths), size)
        return fmean(max(lengths[start : start + size]) for start in starts)


def _squared_error(counts: Sequence[int], size: int) -> float:
    """Return the squared standard error of the sum of *size* numbers, of which *counts* are."""
    tried = len(counts)
    return variance(counts) * size * (size - tried) / tried if tried > 1 else 0.0


def _groups(config: RunConfig, small: RunConfig) -> list[_Group]:
    """Return what the episodes of *small* stand for in *config*."""
    training, tests = layout(small)
    half = len(training) // 2
    last = Counter(bisect_right(small.tested_after, after) - 1 for after in config.tested_after)
    return [
        _Group(training[:half], half),
        _Group(training[half:], config.episodes * config.sessions - half),
        *(_Group(tests[test], count * config.test_episodes) for test, count in last.items()),
    ]


def largest_trial(config: RunConfig, environment: Environment) -> Trial:
    """Return what was tried last, each time of more, as far as all that is a matter of seconds.

    Raises what `sim.runs.run.run` raises.
    """
    trial = _tried(config, environment, max(1, min(_FEW, _STEPS // config.limit)))
    left = _CALLS - trial.calls
    for visits, growth in _STAGES:
        if trial.small.visits == config.visits or not trial.calls:
            break
        most = min(visits, int(left / (growth * trial.lately)))
        if most >= min(config.visits, 2 * trial.small.visits):
            trial = _tried(config, environment, most)
            left -= trial.calls
    return trial


def _tried(config: RunConfig, environment: Environment, most: int) -> Trial:
    counted = _Counted()
    patient = [role for role, tier in config.tiers.items() if tier == "batch"]
    small = _small(config, most)
    with TemporaryDirectory() as scratch:
        try:
            run(_unbound(small), environment=environment, model=counted, out=f"{scratch}/run")
        except InterruptedRunError as error:  # there is nothing to go on with
            raise InterruptedRunError("interrupted") from error
        batched = patient or [*counted.aside]
        needed = needed_in(RunDirectory(Path(scratch) / "run").trace, batched)
    return Trial(small, counted, _groups(config, small), batched, needed)


def _small(config: RunConfig, most: int) -> RunConfig:
    """Return *config* with about *most* visits if it has more: its beginning, and parts of tests.

    Users come back as often as in the run, unless that alone is too much.
    """
    if config.visits <= most:
        return config
    training = max(1, most * 2 // 3) if config.test_episodes else most
    sessions = min(config.sessions, training)
    episodes = min(config.episodes, training // sessions)
    every = max(config.test_every, -(-episodes // _TESTS)) if config.test_every else 0
    small = msgspec.structs.replace(config, episodes=episodes, sessions=sessions, test_every=every)
    tests = max(1, len(small.tested_after))
    share = max(1, most // 3 // tests)
    return msgspec.structs.replace(small, test_episodes=min(config.test_episodes, share))


def _unbound(config: RunConfig) -> RunConfig:
    """Return *config* with nothing that holds it back."""
    roles = {
        role: msgspec.structs.replace(
            settings, concurrency=0, requests_per_minute=0.0, tokens_per_minute=0.0
        )
        for role, settings in config.roles.items()
    }
    return msgspec.structs.replace(
        config,
        prompts=False,
        fsync="none",
        requests_per_minute=0.0,
        tokens_per_minute=0.0,
        share_limits="",
        workers=1,
        cluster="",
        cache="",
        prices={},
        max_calls=0,
        max_tokens_total=0,
        max_cost=0.0,
        agent_settings=msgspec.structs.replace(config.agent_settings, **roles),
    )
