"""How many calls at once a service can take: found out, within a ceiling.

Additive increase, multiplicative decrease, as in TCP. Only 429 lowers the limit: a 5xx says that
the service is ill, not that it is asked too much. The limit falls once in the time that a reply
takes: what is refused before then says nothing of the lower limit. It grows only while it was what
held calls back.
"""

_START = 64
_FALL = 0.7
_LONGEST_ROUND = 10.0  # seconds
_STREAK = 3  # so many refusals in a row mean that the account, not a call, is to wait
_LONGEST_COOLDOWN = 60.0


class Adaptive:
    """The limit of calls in flight; fixed at the ceiling unless *adaptive*."""

    def __init__(self, ceiling: int, *, adaptive: bool) -> None:
        self.ceiling = ceiling
        self.limit = float(min(ceiling, _START) if adaptive else ceiling)
        self._adaptive = adaptive
        self._climbing = True
        self._fell = float("-inf")
        self._round = 0.0

    def change(self, ceiling: int) -> None:
        """Take another *ceiling* from now on."""
        fixed = self.limit >= self.ceiling or not self._adaptive
        self.ceiling = ceiling
        self.limit = float(ceiling) if fixed else min(self.limit, float(ceiling))

    def replied(self, in_flight: int, latency: float) -> None:
        """Grow, if *in_flight*, this call included, was all there was room for."""
        # A running mean, in which no stuck call makes a round last for minutes.
        self._round += (min(latency, _LONGEST_ROUND) - self._round) / 16
        if self.limit < self.ceiling and in_flight >= int(self.limit):
            # Until the first refusal the limit doubles with every round of calls; then it grows by
            # a hundredth of the ceiling, so that large ceilings are found again in fair time.
            step = 1.0 if self._climbing else max(1.0, self.ceiling / 100) / self.limit
            self.limit = min(self.ceiling, self.limit + step)

    def refused(self, started: float, now: float) -> None:
        """Fall, unless the call *started* before the last fall, or that was just now."""
        if self._adaptive and started > self._fell and now >= self._fell + self._round:
            self.limit = max(1.0, self.limit * _FALL)
            self._climbing = False
            self._fell = now


class Cooldown:
    """When the whole account waits: refused several times in a row and asked to wait.

    A refusal here and there holds back only its own call. However often the service asks, nobody
    waits for longer than a minute before a call is tried again.
    """

    def __init__(self) -> None:
        self.until = float("-inf")
        self._begun = float("-inf")
        self._streak = 0

    def replied(self) -> None:
        """Note that a call went through."""
        self._streak = 0

    def refused(self, retry_after: float | None, now: float) -> None:
        """Note a refusal; *retry_after* is what the service asked for, in seconds."""
        self._streak += 1
        if retry_after is None or self._streak < _STREAK:
            return
        # The last one is over: of another the longest time counts from here.
        if now >= self.until:
            self._begun = now
        self.until = min(max(self.until, now + retry_after), self._begun + _LONGEST_COOLDOWN)
