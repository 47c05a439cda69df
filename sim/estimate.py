"""What a run is expected to come to, before anything is paid: from a few embedded episodes."""

from dataclasses import dataclass, field
from math import sqrt
from tempfile import TemporaryDirectory

import msgspec

from agents.embeddings import hashed
from agents.models.chain import check_settings, plain_name
from agents.models.embedded import NAME, EmbeddedModel
from agents.models.embedding_model import ROLE as EMBEDDING
from agents.models.embedding_model import encoded
from agents.models.model import ChatReply, ChatRequest
from engine.errors import InterruptedRunError
from sim.assembly import model_settings
from sim.config import RunConfig
from sim.run import run
from storage.datasets import open_environment

_EPISODES = 30
_REPLY = 2.0  # seconds that a reply of a real model is assumed to take


class RoleEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """The calls of a role: its model, how many, their tokens; the cost if there is a price."""

    model: str
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is expected to come to, from *sample* episodes with the embedded model.

    Episodes with another model may be shorter or longer, by far: the standard error of *calls*,
    *error*, is that of the sample alone. *seconds* assume *reply_seconds* for a reply, and keep the
    limits that are set; *held_by* is what holds the run back.
    """

    episodes: int
    sample: int
    calls: int
    error: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    seconds: float
    reply_seconds: float
    held_by: str
    roles: dict[str, RoleEstimate]


@dataclass(eq=False)
class _Counted:
    """The embedded model, with a count of what it is asked and replies."""

    model: EmbeddedModel = field(default_factory=EmbeddedModel)
    roles: dict[str, list[int]] = field(default_factory=dict)
    episodes: dict[int, int] = field(default_factory=dict)

    async def reply(self, request: ChatRequest) -> ChatReply:
        if request.call.role == EMBEDDING:
            reply = _vector(request.messages[0].content)
        else:
            reply = await self.model.reply(request)
            episode = request.call.episode
            self.episodes[episode] = self.episodes.get(episode, 0) + 1
        counts = self.roles.setdefault(request.call.role, [0, 0, 0])
        for place, value in enumerate((1, reply.prompt_tokens, reply.completion_tokens)):
            counts[place] += value
        return reply


def _vector(text: str) -> ChatReply:
    tokens = len(text) // 4
    return ChatReply(text=encoded(hashed((text,))), prompt_tokens=tokens, completion_tokens=0)


def estimate(config: RunConfig) -> Estimate:
    """Return what a run of *config* is expected to come to; writes nothing that stays.

    Raises ConfigError for what cannot be run.
    """
    sample = min(config.visits, _EPISODES)
    counted = _Counted()
    environment = open_environment(config.environment)
    check_settings(model_settings(config))
    with TemporaryDirectory() as scratch:
        try:
            run(
                _small(config, sample), environment=environment, model=counted, out=f"{scratch}/run"
            )
        except InterruptedRunError as error:  # there is nothing to go on with
            raise InterruptedRunError("interrupted") from error
    return _scaled(config, counted, sample)


def _small(config: RunConfig, sample: int) -> RunConfig:
    """Return *config* for a sample that nothing holds back."""
    roles = {
        role: msgspec.structs.replace(
            settings, concurrency=0, requests_per_minute=0.0, tokens_per_minute=0.0
        )
        for role, settings in config.roles.items()
    }
    return msgspec.structs.replace(
        config,
        episodes=sample,
        sessions=1,
        test_episodes=0,
        test_every=0,
        prompts=False,
        requests_per_minute=0.0,
        tokens_per_minute=0.0,
        cache="",
        prices={},
        max_calls=0,
        max_tokens_total=0,
        max_cost=0.0,
        **roles,
    )


def _scaled(config: RunConfig, counted: _Counted, sample: int) -> Estimate:
    factor = config.visits / sample
    roles = {role: _role(config, role, counts, factor) for role, counts in counted.roles.items()}
    calls = sum(role.calls for role in roles.values())
    tokens = [sum(counts[place] for counts in counted.roles.values()) * factor for place in (1, 2)]
    costs = [role.cost for role in roles.values()]
    longest = max(counted.episodes.values(), default=0)
    seconds, held_by = _time(config, calls, sum(tokens), longest)
    return Estimate(
        episodes=config.visits,
        sample=sample,
        calls=calls,
        error=round(_error(list(counted.episodes.values())) * config.visits),
        prompt_tokens=round(tokens[0]),
        completion_tokens=round(tokens[1]),
        cost=None if None in costs else sum(cost for cost in costs if cost is not None),
        seconds=seconds,
        reply_seconds=_REPLY,
        held_by=held_by,
        roles=roles,
    )


def _role(config: RunConfig, role: str, counts: list[int], factor: float) -> RoleEstimate:
    if role == EMBEDDING:
        model = config.embedding_model
    else:
        model = plain_name(config.roles[role].model or config.model)
    calls, prompt, completion = (round(count * factor) for count in counts)
    price = config.prices.get(model)
    cost = 0.0 if model == NAME else None
    return RoleEstimate(
        model=model,
        calls=calls,
        prompt_tokens=prompt,
        completion_tokens=completion,
        cost=cost if price is None else price.cost(prompt, completion),
    )


def _error(counts: list[int]) -> float:
    """Return the standard error of the mean of *counts*."""
    if len(counts) < 2:
        return 0.0
    mean = sum(counts) / len(counts)
    return sqrt(sum((count - mean) ** 2 for count in counts) / (len(counts) - 1) / len(counts))


def _time(config: RunConfig, calls: int, tokens: float, longest: int) -> tuple[float, str]:
    """Return the seconds that a run takes at least, and what holds it back."""
    bounds = {f"{config.concurrency} calls in flight": calls * _REPLY / config.concurrency}
    if config.requests_per_minute:
        bounds[f"{config.requests_per_minute:g} calls a minute"] = (
            60 * calls / config.requests_per_minute
        )
    if config.tokens_per_minute:
        bounds[f"{config.tokens_per_minute:g} tokens a minute"] = (
            60 * tokens / config.tokens_per_minute
        )
    if config.arrivals.startswith("batches:"):
        size = int(config.arrivals.partition(":")[2])
        # The next batch waits for the longest episode of the last one, call after call.
        batches = -(-config.episodes // size)
        bounds[f"batches of {size}, one after the other"] = batches * longest * _REPLY * 2 / 3
    held_by = max(bounds, key=lambda name: bounds[name])
    return bounds[held_by], held_by
