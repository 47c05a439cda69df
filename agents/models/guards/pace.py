"""A pace: so much a minute, handed out evenly, as a bucket that refills.

Handing out evenly is what makes a limit hold in *any* minute, however the service counts: a window
that slides, one that starts afresh, a bucket of its own, or the same limit by the second. A bucket
that starts full and holds a whole minute would spend twice the limit in the first minute.
"""

from agents.models.model import ChatReply, ChatRequest

_SHARE = 0.985  # of the limit: what arrives may be closer together than what was sent
_WINDOW = 60 / _SHARE  # seconds
_BURST = 0.75  # seconds' worth that may be handed out at once
_UNKNOWN = 400  # tokens of a completion that nobody limits
_WEIGHT = 1 / 16


class Pace:
    """So much a minute. Time is given to every method, in seconds.

    A limit that was *learned* of the service follows what the service says; otherwise it is a wish
    of the user's, of which the service may know nothing, and is only tightened. Of models with
    different limits the lowest holds for all.
    """

    def __init__(self, limit: float, now: float, *, learned: bool = False) -> None:
        self.limit = limit
        self.spent = 0.0
        self._learned = learned
        self._wish = limit
        self._stated: dict[str, float] = {}
        self._level = self._capacity
        self._now = self._last = now

    @property
    def _capacity(self) -> float:
        return max(1.0, self.limit * _BURST / 60)

    @property
    def _rate(self) -> float:
        return self.limit * _SHARE / 60

    def left(self, now: float) -> float:
        """Return what may be spent at once; below zero if too much was."""
        self._level = min(self._capacity, self._level + (now - self._now) * self._rate)
        self._now = now
        return self._level

    def delay(self, cost: float, now: float) -> float:
        """Return the seconds until *cost* may be spent; more than fits waits for a full bucket."""
        missing = min(cost, self._capacity) - self.left(now)
        delay = max(0.0, missing / self._rate)
        if self._learned or self.limit < self._wish:
            # A service has forgotten after a minute what was spent, be its limit ever so low: so
            # that no header makes anybody wait for ever.
            return min(delay, max(0.0, self._last + _WINDOW - now))
        return delay

    def spend(self, cost: float) -> None:
        """Take *cost*; less than nothing gives back."""
        self._level -= cost
        if cost > 0:
            self._last = self._now
        self.spent += cost

    def heed(
        self, model: str, limit: float, left: float | None, since: float, spent: float, now: float
    ) -> None:
        """Correct the pace by what the service said of a call to *model* sent at *since*.

        *spent* is what had been spent when the call was sent: the service may not know of what was
        spent later.
        """
        level = self.left(now)
        self._stated[model] = limit
        lowest = min(self._stated.values())
        self.limit = lowest if self._learned else min(lowest, self.limit)
        if left is not None:
            known = left - (self.spent - spent) + (now - since) * self._rate
            # Never up: what the service says may be older than what was spent since.
            self._level = min(level, known)


class Expectations:
    """What calls will cost in tokens, learned for each role from what they did."""

    def __init__(self) -> None:
        self._per_character: dict[str, float] = {}
        self._completion: dict[str, float] = {}

    def cost(self, request: ChatRequest) -> float:
        """Return the tokens to expect of a call, in both directions."""
        per_character = self._per_character.get(request.call.role, 0.25)
        return _characters(request) * per_character + self.completion(request)

    def completion(self, request: ChatRequest) -> float:
        """Return the tokens to expect of a call's reply."""
        limit = request.sampling.max_tokens
        return self._completion.get(request.call.role, _UNKNOWN if limit is None else limit)

    def known(self, request: ChatRequest) -> bool:
        """Return whether anything was learned of calls like this one."""
        return request.call.role in self._completion

    def learn(self, request: ChatRequest, reply: ChatReply) -> None:
        """Learn from what a call came to."""
        role = request.call.role
        per_character = reply.prompt_tokens / max(1, _characters(request))
        _follow(self._per_character, role, per_character)
        _follow(self._completion, role, reply.completion_tokens)


def _characters(request: ChatRequest) -> int:
    count = 0  # in a loop: a sum of what a generator yields takes twice as long, four times a call
    for message in request.messages:
        count += len(message.content)
    return count


def _follow(means: dict[str, float], role: str, value: float) -> None:
    mean = means.get(role, value)
    means[role] = mean + (value - mean) * _WEIGHT
