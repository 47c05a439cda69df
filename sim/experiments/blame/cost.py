"""What a blame would cost, before anything is paid.

It is made with the embedded model in place of the run's own: its answers are of no worth, but it
takes as many steps as such episodes do. Beside that stands what it can come to at most.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf

import msgspec

from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatModel, ChatReply, ChatRequest
from sim.config.run import RunConfig
from sim.experiments.blame.blaming import Plan
from sim.experiments.blame.ranking import Contrast
from sim.experiments.blame.replays import NEVER, Arm
from sim.runs.replay import embedder_of

_ASKS = 2  # what cannot be read is asked for once more


class RoleCost(msgspec.Struct, frozen=True, kw_only=True):
    """The calls of a role: its model, how many, their tokens; *most* calls; costs if priced."""

    model: str
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    most: int
    most_cost: float | None


class BlameCost(msgspec.Struct, frozen=True, kw_only=True):
    """What a blame of an *episode* with so many *causes* is expected to come to, and at most.

    *plays* are those with the embedded model. A cost is None where a model has no price.
    """

    run: str
    episode: int
    causes: int
    plays: int
    calls: int
    most: int
    cost: float | None
    most_cost: float | None
    roles: dict[str, RoleCost]


async def cost_of(plan: Plan) -> BlameCost:
    """Return what *plan* would come to; nobody is called, and nothing is kept."""
    counted = _Counted()
    player = plan.replayed(model=counted, embedder=embedder_of(plan.recorded))
    contrasts = await plan.contrasts(player)
    found = await plan.judged(plan.plays(player))
    most = most_steps(contrasts, plan) * _ASKS
    roles = {
        role.name: _role(plan, role.name, counted.spent[role.name], most)
        for role in plan.config.cast.roles
        if role.speaks_of == "step"
    }
    return BlameCost(
        run=found.run,
        episode=found.episode,
        causes=len(plan.causes),
        plays=found.plays,
        calls=found.calls,
        most=sum(role.most for role in roles.values()),
        cost=_sum(role.cost for role in roles.values()),
        most_cost=_sum(role.most_cost for role in roles.values()),
        roles=roles,
    )


def most_steps(contrasts: list[Contrast], plan: Plan) -> int:
    """Return how many steps may have to be played if every play goes on to the limit."""
    limit, asked = plan.config.limit, plan.asked
    arms = {arm for one in contrasts for arm in (one.changed, one.kept) if arm.split != NEVER}
    steps = sorted((_steps(arm, limit) for arm in arms), reverse=True)
    left, whole = len(contrasts), asked.screened * (limit + sum(steps))
    while left > asked.leading:
        left = max(asked.leading, left // 2)
        # The longest of them may be those that stay.
        whole += asked.screened * sum(steps[: 2 * left])
    return whole + sum(draws * sum(steps[: 2 * count]) for count, draws in asked.rounds())


def _steps(arm: Arm, limit: int) -> int:
    return 0 if arm.split.step == inf else limit - int(arm.split.step)


def _role(plan: Plan, name: str, spent: "_Spent", most: int) -> RoleCost:
    config = plan.config
    model = config.model_of(name)
    longest = max(
        (one.prompt_tokens for one in plan.recorded.recording.values() if one.role == name),
        default=0,
    )
    own = config.roles[name]
    reply = own.max_tokens + (own.reasoning_tokens if own.effort else 0)
    return RoleCost(
        model=model,
        calls=spent.calls,
        prompt_tokens=spent.prompt,
        completion_tokens=spent.completion,
        cost=_cost(config, name, spent.prompt, spent.completion),
        most=most,
        most_cost=_cost(config, name, most * longest, most * reply),
    )


def _cost(config: RunConfig, role: str, prompt: int, completion: int) -> float | None:
    model = config.model_of(role)
    price = config.prices.get(model)
    if price is None:
        return 0.0 if model == "embedded" else None
    return price.at(config.tiers.get(role, "")).cost(prompt, completion)


def _sum(costs: Iterable[float | None]) -> float | None:
    known = [*costs]
    return None if None in known else sum(cost for cost in known if cost is not None)


@dataclass
class _Spent:
    calls: int = 0
    prompt: int = 0
    completion: int = 0


@dataclass(frozen=True)
class _Counted:
    """The embedded model, which counts what each role asks."""

    spent: Mapping[str, _Spent] = field(default_factory=lambda: defaultdict(_Spent))
    model: ChatModel = field(default_factory=EmbeddedModel)

    async def reply(self, request: ChatRequest) -> ChatReply:
        reply = await self.model.reply(request)
        own = self.spent[request.call.role]
        own.calls += 1
        own.prompt += reply.prompt_tokens
        own.completion += reply.completion_tokens
        return reply
