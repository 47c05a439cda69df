"""What a run may spend: calls, tokens, money. Then it stops cleanly and can go on later."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from agents.models.guards.pace import Expectations
from agents.models.model import ChatModel, ChatReply, ChatRequest
from engine.errors import BudgetError, ConfigError
from storage.journal import CallEnded

_MILLION = 1_000_000
_TIERS = ("flex", "batch", "priority")


class Price(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """The price of a million tokens, in and out, in any currency.

    Of those in, *cached* ones, which the service had read before, and *written* ones, which it
    keeps for later, may have prices of their own. In the tiers *flex*, *batch* and *priority* all
    are so many times as much.
    """

    prompt: float
    completion: float
    cached: float | None = None
    written: float | None = None
    flex: float = 0.5
    batch: float = 0.5
    priority: float = 2.0

    def at(self, tier: str) -> "Price":
        """Return the price in a *tier*: so many times as much."""
        times = {"flex": self.flex, "batch": self.batch, "priority": self.priority}.get(tier, 1.0)
        own = msgspec.structs.asdict(self).items()
        parts = {n: p * times for n, p in own if n not in _TIERS and p is not None}
        return msgspec.structs.replace(self, **parts)

    def cost(
        self,
        prompt_tokens: float,
        completion_tokens: float,
        *,
        cached: float = 0,
        written: float = 0,
    ) -> float:
        """Return what so many tokens cost; those *cached* and *written* are among the prompt's."""
        cached_price = self.prompt if self.cached is None else self.cached
        written_price = self.prompt if self.written is None else self.written
        whole = self.prompt * max(0.0, prompt_tokens - cached - written)
        whole += cached_price * cached + written_price * written
        return (whole + self.completion * completion_tokens) / _MILLION

    @property
    def _times(self) -> tuple[float, ...]:
        return self.flex, self.batch, self.priority

    @property
    def least(self) -> float:
        """The lowest of its numbers."""
        named = (self.prompt, self.completion, self.cached, self.written, *self._times)
        return min(price for price in named if price is not None)


class Tokens(NamedTuple):
    """What a call took; of the prompt's tokens some were *cached*, others *written* to a cache."""

    prompt: int
    completion: int
    cached: int = 0
    written: int = 0

    @property
    def whole(self) -> int:
        """Tokens in both directions."""
        return self.prompt + self.completion

    def cost(self, price: Price) -> float:
        """Return what they cost."""
        return price.cost(self.prompt, self.completion, cached=self.cached, written=self.written)


def tokens_of(ended: ChatReply | CallEnded) -> Tokens:
    """Return what a call took."""
    return Tokens(
        ended.prompt_tokens, ended.completion_tokens, ended.cached_tokens, ended.written_tokens
    )


@dataclass(frozen=True, kw_only=True)
class Allowances:
    """The most that a run may come to, in all its processes together; 0 is no limit.

    *prices* are by the model's name; a limit of *cost* needs that of every model. *tiers* are those
    of roles, if they have one.
    """

    calls: int = 0
    tokens: int = 0
    cost: float = 0.0
    prices: Mapping[str, Price] = field(default_factory=dict)
    tiers: Mapping[str, str] = field(default_factory=dict)

    @property
    def limited(self) -> bool:
        """Whether anything is limited."""
        return bool(self.calls or self.tokens or self.cost)

    def price(self, model: str, role: str) -> Price | None:
        """Return the price of a *model* for a *role*, if it has one."""
        price = self.prices.get(model)
        return None if price is None else price.at(self.tiers.get(role, ""))

    def check(self, models: set[str]) -> None:
        """Raise ConfigError for a price below 0, and for none of *models* if cost is limited."""
        lacking = sorted(models - set(self.prices)) if self.cost else []
        if lacking:
            name = lacking[0]
            raise ConfigError(
                f"max_cost is set, but {name!r} has no price",
                hint=f"--set 'prices.\"{name}\".prompt=0.15' (a million tokens), and .completion",
            )
        for name, price in self.prices.items():
            if price.least < 0:
                raise ConfigError(f"the price of {name!r} must be at least 0, got {price}")


@dataclass
class Spent:
    """What was spent."""

    calls: int = 0
    tokens: float = 0.0
    cost: float = 0.0


@dataclass(eq=False)
class Budget:
    """A model that stops when what is allowed is spent.

    A call takes beforehand what it is expected to cost. One that cannot be afforded waits for those
    in flight: they are paid for, and may come to less. Then BudgetError stops the run.
    """

    model: ChatModel
    allowances: Allowances
    spent: Spent = field(default_factory=Spent)
    _expectations: Expectations = field(default_factory=Expectations)
    _in_flight: int = 0
    _ended: asyncio.Event | None = None
    _lacks: tuple[str, str] | None = None

    async def reply(self, request: ChatRequest) -> ChatReply:
        """Return the reply; raises BudgetError if it cannot be afforded."""
        tokens, cost = await self._afforded(request)
        self._take(1, tokens, cost)
        self._in_flight += 1
        try:
            reply = await self.model.reply(request)
        # Also when cancelled: the call counts, but of its tokens nothing is known.
        except BaseException:
            self._take(0, -tokens, -cost)
            raise
        finally:
            self._in_flight -= 1
            # All who wait look again, and may have to wait on, for the next end.
            if self._ended is not None:
                self._ended.set()
                self._ended = None
        self._settle(request, reply, tokens, cost)
        return reply

    async def _afforded(self, request: ChatRequest) -> tuple[float, float]:
        """Return the tokens and the cost to expect, once they can be afforded."""
        while True:
            tokens = self._expectations.cost(request)
            cost = self._cost(request, tokens)
            # Once it lacks, nothing begins any more, be it cheaper: it would be cut off half-way.
            lacks = self._lacks or self._lacking(tokens, cost)
            if lacks is None:
                return tokens, cost
            if not self._in_flight:
                self._lacks = setting, message = lacks
                raise BudgetError(message, setting=setting)
            self._ended = self._ended or asyncio.Event()
            await self._ended.wait()

    def note(self, model: str, tokens: Tokens, *, role: str = "") -> None:
        """Count a call that was made before, by another process."""
        self._take(1, tokens.whole, self._price(model, role, tokens))

    def _price(self, model: str, role: str, tokens: Tokens) -> float:
        price = self.allowances.price(model, role)
        return tokens.cost(price) if price else 0.0

    def _cost(self, request: ChatRequest, tokens: float) -> float:
        price = self.allowances.price(request.sampling.model, request.call.role)
        if price is None:
            return 0.0
        completion = self._expectations.completion(request)
        return price.cost(max(0.0, tokens - completion), completion)

    def _lacking(self, tokens: float, cost: float) -> tuple[str, str] | None:
        """Return the setting that stands against another call, and what is spent."""
        allowed, spent = self.allowances, self.spent
        if allowed.calls and spent.calls + 1 > allowed.calls:
            return "max_calls", f"the run has made {spent.calls:,} calls"
        more = "and a call may take more than is left"
        if allowed.tokens and spent.tokens + tokens > allowed.tokens:
            used = f"the run has used {spent.tokens:,.0f} tokens of {allowed.tokens:,}"
            return "max_tokens_total", f"{used}, {more}"
        if allowed.cost and spent.cost + cost > allowed.cost:
            used = f"the run has cost {spent.cost:.4g} of {allowed.cost:g}"
            return "max_cost", f"{used}, {more}"
        return None

    def _take(self, calls: int, tokens: float, cost: float) -> None:
        self.spent.calls += calls
        self.spent.tokens += tokens
        self.spent.cost += cost

    def _settle(self, request: ChatRequest, reply: ChatReply, tokens: float, cost: float) -> None:
        """Put what was used in the place of what was expected."""
        self._expectations.learn(request, reply)
        used = tokens_of(reply)
        real = self._price(request.sampling.model, request.call.role, used)
        self._take(0, used.whole - tokens, real - cost)
