"""Calls and tokens a minute, told by the user or learned of the service: the paces of an account.

What a call will cost in tokens is estimated before it is sent, and set right when the service has
counted.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from agents.models.model import ChatReply, ChatRequest, Rates
from agents.models.pace import Expectations, Pace


@dataclass(slots=True, eq=False)
class Visit:
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
        self._sent: dict[Visit, None] = {}
        for model, said in rates.items():
            self._heed_requests(model, said, now, 0.0, now)
            self._heed_tokens(model, said, now, 0.0, now)

    def delay(self, visit: Visit, now: float) -> float:
        """Return the seconds until a call may be sent."""
        delay = 0.0
        if self.requests is not None:
            delay = self.requests.delay(1.0, now)
        if self.tokens is not None:
            self._expect(visit)  # only now: more has been learned since the call came
            delay = max(delay, self.tokens.delay(visit.cost, now))
        return delay

    def send(self, visit: Visit, now: float) -> None:
        """Take what a call is expected to cost."""
        visit.started = now
        self._sent[visit] = None
        if self.requests is not None:
            _take_request(self.requests, visit)
        if self.tokens is not None:
            _take_tokens(self.tokens, visit)

    def end(self, visit: Visit) -> None:
        """Note that a call is on its way no more."""
        del self._sent[visit]

    def give_back(self, visit: Visit) -> None:
        """Give back what was taken for a call that was not sent after all."""
        if self.requests is not None:
            self.requests.spend(-1.0)
        if self.tokens is not None:
            self.tokens.spend(-visit.cost)

    # -- learning

    def note_reply(self, reply: ChatReply, visit: Visit, now: float) -> None:
        """Put what a call has cost in the place of what was expected."""
        used = reply.prompt_tokens + reply.completion_tokens
        if used:
            self._expectations.learn(visit.request, reply)
            # What a first guess held back is not made up for: the rush would break the limit.
            if self.tokens is not None and not (visit.guessed and used < visit.cost):
                self.tokens.spend(used - visit.cost)
        self.heed(reply.rates, visit, now)

    def note_failure(self, visit: Visit) -> None:
        """Note that the service failed: such calls cost no tokens."""
        if self.tokens is not None:
            self.tokens.spend(-visit.cost)

    def heed(self, rates: Rates | None, visit: Visit, now: float) -> None:
        """Correct the paces by what the service said in the answer to a call."""
        if rates is not None:
            model = visit.request.sampling.model
            self._heed_requests(model, rates, visit.started, visit.requests_spent, now)
            self._heed_tokens(model, rates, visit.started, visit.tokens_spent, now)

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
        for visit in self._sent:  # they count against the limit, too
            _take_request(pace, visit)
        return pace

    def _learned_tokens(self, limit: float, now: float) -> Pace:
        self.tokens = pace = Pace(limit, now, learned=True)
        for visit in self._sent:
            self._expect(visit)
            _take_tokens(pace, visit)
        return pace

    def _expect(self, visit: Visit) -> None:
        visit.cost = self._expectations.cost(visit.request)
        visit.guessed = not self._expectations.known(visit.request)


def _take_request(pace: Pace, visit: Visit) -> None:
    pace.spend(1.0)
    visit.requests_spent = pace.spent


def _take_tokens(pace: Pace, visit: Visit) -> None:
    pace.spend(visit.cost)
    visit.tokens_spent = pace.spent
