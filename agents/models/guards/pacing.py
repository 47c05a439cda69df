"""Calls and tokens a minute, told by the user or learned of the service: the paces of an account.

What a call will cost in tokens is estimated before it is sent, and set right when the service has
counted.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from agents.models.guards.pace import Expectations, Pace
from agents.models.model import ChatReply, ChatRequest, Rates


@dataclass(slots=True, eq=False)
class PendingCall:
    """One call on its way: what it is expected to cost, and what was spent when it was sent."""

    request: ChatRequest
    cost: float = 0.0
    guessed: bool = False
    started: float = 0.0
    requests_spent: float = 0.0
    tokens_spent: float = 0.0


class Pacing:
    """Both paces of an account, None where nothing limits. Time is given to methods, in seconds.

    *requests* and *tokens* a minute are the user's limits. Without them those hold that the service
    states: in *rates*, by model, before the first call, later in its answers.
    """

    def __init__(
        self,
        requests: float | None,
        tokens: float | None,
        rates: Mapping[str, Rates],
        now: float,
    ) -> None:
        self.requests = None if requests is None else Pace(requests, now)
        self.tokens = None if tokens is None else Pace(tokens, now)
        self._expectations = Expectations()
        self._sent: dict[PendingCall, None] = {}
        for model, said in rates.items():
            self._heed_requests(model, said, now, 0.0, now)
            self._heed_tokens(model, said, now, 0.0, now)

    def change(self, requests: float | None, tokens: float | None, now: float) -> None:
        """Take other limits of the user's from now on; None is what the service states, if it does.

        Calls on their way count against a new limit, too.
        """
        self.requests = self.tokens = None
        if requests is not None:
            self.requests = Pace(requests, now)
            for pending in self._sent:
                _take_request(self.requests, pending)
        if tokens is not None:
            self.tokens = Pace(tokens, now)
            for pending in self._sent:
                self._expect(pending)
                _take_tokens(self.tokens, pending)

    def delay(self, pending: PendingCall, now: float) -> float:
        """Return the seconds until a call may be sent."""
        delay = 0.0
        if self.requests is not None:
            delay = self.requests.delay(1.0, now)
        if self.tokens is not None:
            self._expect(pending)  # only now: more has been learned since the call came
            delay = max(delay, self.tokens.delay(pending.cost, now))
        return delay

    def send(self, pending: PendingCall, now: float) -> None:
        """Take what a call is expected to cost."""
        pending.started = now
        self._sent[pending] = None
        if self.requests is not None:
            _take_request(self.requests, pending)
        if self.tokens is not None:
            _take_tokens(self.tokens, pending)

    def end(self, pending: PendingCall) -> None:
        """Note that a call is on its way no more."""
        del self._sent[pending]

    def give_back(self, pending: PendingCall) -> None:
        """Give back what was taken for a call that was not sent after all."""
        if self.requests is not None:
            self.requests.spend(-1.0)
        if self.tokens is not None:
            self.tokens.spend(-pending.cost)

    # -- learning

    def note_reply(self, reply: ChatReply, pending: PendingCall, now: float) -> None:
        """Put what a call has cost in the place of what was expected."""
        used = reply.prompt_tokens + reply.completion_tokens
        if used:
            self._expectations.learn(pending.request, reply)
            # What a first guess held back is not made up for: the rush would break the limit.
            if self.tokens is not None and not (pending.guessed and used < pending.cost):
                self.tokens.spend(used - pending.cost)
        self.heed(reply.rates, pending, now)

    def note_failure(self, pending: PendingCall) -> None:
        """Note that the service failed: such calls cost no tokens."""
        if self.tokens is not None:
            self.tokens.spend(-pending.cost)

    def heed(self, rates: Rates | None, pending: PendingCall, now: float) -> None:
        """Correct the paces by what the service said in the answer to a call."""
        if rates is not None:
            model = pending.request.sampling.model
            self._heed_requests(model, rates, pending.started, pending.requests_spent, now)
            self._heed_tokens(model, rates, pending.started, pending.tokens_spent, now)

    def _heed_requests(
        self, model: str, rates: Rates, since: float, spent: float, now: float
    ) -> None:
        if rates.requests:
            pace = self.requests or self._learned_requests(rates.requests, now)
            pace.heed(model, rates.requests, rates.requests_left, since, spent, now)

    def _heed_tokens(
        self, model: str, rates: Rates, since: float, spent: float, now: float
    ) -> None:
        if rates.tokens:
            pace = self.tokens or self._learned_tokens(rates.tokens, now)
            pace.heed(model, rates.tokens, rates.tokens_left, since, spent, now)

    def _learned_requests(self, limit: float, now: float) -> Pace:
        self.requests = pace = Pace(limit, now, learned=True)
        for pending in self._sent:  # they count against the limit, too
            _take_request(pace, pending)
        return pace

    def _learned_tokens(self, limit: float, now: float) -> Pace:
        self.tokens = pace = Pace(limit, now, learned=True)
        for pending in self._sent:
            self._expect(pending)
            _take_tokens(pace, pending)
        return pace

    def _expect(self, pending: PendingCall) -> None:
        pending.cost = self._expectations.cost(pending.request)
        pending.guessed = not self._expectations.known(pending.request)


def _take_request(pace: Pace, pending: PendingCall) -> None:
    pace.spend(1.0)
    pending.requests_spent = pace.spent


def _take_tokens(pace: Pace, pending: PendingCall) -> None:
    pace.spend(pending.cost)
    pending.tokens_spent = pace.spent
