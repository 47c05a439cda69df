"""What a run is expected to come to, before anything is paid: from some hundred embedded episodes.

The embedded model costs nothing, so the configuration itself is run: whole if it is small,
otherwise its beginning and a part of its tests. Episodes lengthen while agents learn: the rest of
the training is taken to be like the later half of what was tried, and each test like that before.
"""

from collections.abc import Iterable, Mapping

import msgspec

from agents.models.chain import check_settings
from agents.models.providers import EMBEDDED, takes_tiers
from agents.models.remote.vectors import ROLE as EMBEDDING
from agents.settings import RoleSettings
from sim.config.flight import usable
from sim.config.run import RunConfig
from sim.experiments.rounds import together_in
from sim.experiments.trial import NOTHING, Trial, added, largest_trial
from sim.runs.models import model_settings
from storage.datasets import open_environment

_REPLY = 2.0  # seconds that a reply of a real model is assumed to take


class RoleEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """The calls of a role: its model, how many, their tokens; the cost if there is a price.

    *known_tokens* of the prompts are how a prompt that was asked before began: a service that keeps
    what it has read may know them, and charge less.
    """

    model: str
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    known_tokens: int = 0

    @property
    def tokens(self) -> tuple[int, int]:
        """Tokens in and out."""
        return self.prompt_tokens, self.completion_tokens


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A way to have the same calls answered: all of them *live*, in *flex*, or some in a *batch*.

    *roles* are those whose calls do not go live. *rounds* are the batches that wait for each other,
    each up to a day; *exact* says that they are no mere upper bound.
    """

    name: str
    roles: tuple[str, ...]
    cost: float | None
    rounds: int
    exact: bool = True


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is expected to come to, from *sample* episodes with the embedded model.

    Episodes with another model may be shorter or longer, by far: the standard error of *calls*,
    *error*, is that of the sample alone, and 0 if it is the whole run. *seconds* assume
    *reply_seconds* for a reply, and keep the limits that are set; *held_by* is what holds the run
    back. *cost_if_known* is the cost where the service knows all of the *known_tokens*.
    *in_flight* calls are about what the arrivals can use in training, None if they bound nothing.
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
    plans: tuple[Plan, ...] = ()
    known_tokens: int = 0
    cost_if_known: float | None = None
    in_flight: int | None = None


def estimate(config: RunConfig) -> Estimate:
    """Return what a run of *config* is expected to come to; writes nothing that stays.

    Raises ConfigError for what cannot be run.
    """
    environment = open_environment(config.environment)
    check_settings(model_settings(config))
    return _scaled(config, largest_trial(config, environment))


def _scaled(config: RunConfig, trial: Trial) -> Estimate:
    roles = {role: _role(config, role, trial) for role in trial.roles}
    every = roles.values()
    seconds, held_by = _time(config, trial, roles)
    return Estimate(
        episodes=config.visits,
        sample=trial.small.visits,
        calls=sum(role.calls for role in every),
        error=round(trial.error()),
        prompt_tokens=sum(role.prompt_tokens for role in every),
        completion_tokens=sum(role.completion_tokens for role in every),
        cost=_sum(role.cost for role in every),
        seconds=seconds,
        reply_seconds=_REPLY,
        held_by=held_by,
        roles=roles,
        plans=_plans(config, trial, roles),
        known_tokens=sum(role.known_tokens for role in every),
        in_flight=usable(config),
        cost_if_known=_sum(_cost_if_known(config, role) for role in every),
    )


def _cost_if_known(config: RunConfig, role: RoleEstimate) -> float | None:
    price = config.prices.get(role.model)
    if price is None:
        return role.cost
    return price.cost(*role.tokens, cached=role.known_tokens)


def _plans(config: RunConfig, trial: Trial, roles: Mapping[str, RoleEstimate]) -> tuple[Plan, ...]:
    """Return the ways to have these calls answered; none where there is no service."""
    asked = [name for name in roles if name == EMBEDDING or _served(config, name)]
    chatting = tuple(name for name in asked if name != EMBEDDING)
    batched = tuple(name for name in asked if name in trial.batched)
    plans = [("live", "", ()), ("flex", "flex", chatting), ("batch", "batch", batched)]
    return tuple(
        Plan(
            name=name,
            roles=of,
            cost=_sum(
                _cost(config, one.model, one.tokens, tier if role in of else "")
                for role, one in roles.items()
            ),
            rounds=trial.rounds(config) if tier == "batch" else 0,
            exact=together_in(config),
        )
        for name, tier, of in plans
        if asked and (of or not tier)
    )


def _served(config: RunConfig, role: str) -> bool:
    return takes_tiers(config.roles[role].model or config.model)


def _cost(config: RunConfig, model: str, tokens: tuple[int, int], tier: str) -> float | None:
    """Return what *tokens* cost in a *tier*; None if the *model* has no price."""
    price = config.prices.get(model)
    if price is None:
        return 0.0 if model == EMBEDDED else None
    return price.at(tier).cost(*tokens)


def _sum(costs: Iterable[float | None]) -> float | None:
    known = [*costs]
    return None if None in known else sum(cost for cost in known if cost is not None)


def _role(config: RunConfig, role: str, trial: Trial) -> RoleEstimate:
    model = config.embedding_model if role == EMBEDDING else config.model_of(role)
    calls, prompt, completion = trial.spent(role)
    return RoleEstimate(
        model=model,
        calls=calls,
        prompt_tokens=prompt,
        completion_tokens=completion,
        cost=_cost(config, model, (prompt, completion), config.tiers.get(role, "")),
        known_tokens=round(prompt * trial.known(role)),
    )


def _time(config: RunConfig, trial: Trial, roles: dict[str, RoleEstimate]) -> tuple[float, str]:
    """Return the seconds that a run takes at least, and what holds it back."""
    bounds = _bounds(config, roles.values())
    for name, role in roles.items():
        if name in config.roles:
            bounds |= _bounds(config.roles[name], [role], of=f" of the {name}")
    if config.arrivals.startswith("batches:"):
        size = int(config.arrivals.partition(":")[2])
        # The next batch waits for the longest episode of the last one, call after call.
        batches = -(-config.episodes // size)
        longest = trial.longest(size)
        bounds[f"batches of {size}, one after the other"] = batches * longest * _REPLY * 2 / 3
    held_by = max(bounds, key=lambda name: bounds[name])
    return bounds[held_by], held_by


def _bounds(
    limits: RunConfig | RoleSettings, roles: Iterable[RoleEstimate], of: str = ""
) -> dict[str, float]:
    """Return the seconds that *roles* take at least by each of the limits they share."""
    calls, prompt, completion = added(
        [NOTHING, *((role.calls, role.prompt_tokens, role.completion_tokens) for role in roles)]
    )
    amounts = (
        (limits.concurrency, "calls in flight", calls * _REPLY),
        (limits.requests_per_minute, "calls a minute", 60 * calls),
        (limits.tokens_per_minute, "tokens a minute", 60 * (prompt + completion)),
    )
    return {f"{limit:.9g} {what}{of}": amount / limit for limit, what, amount in amounts if limit}
