"""What a service allows in any minute: the other side of a pace, for services of our own."""

from collections import deque

from agents.models.remote.headers import span

_MINUTE = 60.0


class Allowance:
    """So much in any sixty seconds. Time is given to every method, in seconds."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._spent: deque[tuple[float, float]] = deque()
        self._sum = 0.0

    def left(self, now: float) -> float:
        """Return what may still be spent now."""
        spent = self._spent
        while spent and spent[0][0] <= now - _MINUTE:
            self._sum -= spent.popleft()[1]
        return self.limit - self._sum

    def delay(self, cost: float, now: float) -> float:
        """Return the seconds until there is room for *cost*: 0 if there is now."""
        missing = cost - self.left(now)
        if missing <= 0:
            return 0.0
        for moment, freed in self._spent:
            missing -= freed
            if missing <= 0:
                return moment + _MINUTE - now
        return _MINUTE

    def spend(self, cost: float, now: float) -> None:
        """Take *cost*."""
        self._spent.append((now, cost))
        self._sum += cost

    def reset(self, now: float) -> float:
        """Return the seconds until all may be spent again."""
        return self._spent[-1][0] + _MINUTE - now if self._spent else 0.0


class Quota:
    """The calls and tokens that an account is allowed; None where nothing limits."""

    def __init__(self, requests: float | None, tokens: float | None) -> None:
        limits = {"requests": requests, "tokens": tokens}
        self._allowances = {
            name: Allowance(limit) for name, limit in limits.items() if limit is not None
        }

    def spend(self, requests: float, tokens: float, now: float) -> tuple[str, float] | None:
        """Take what a call costs, or nothing, and return what lacks and for how many seconds."""
        costs = {"requests": requests, "tokens": tokens}
        for name, allowance in self._allowances.items():
            if delay := allowance.delay(costs[name], now):
                return name, delay
        for name, allowance in self._allowances.items():
            # Only when all can be had: a refused call costs neither a call nor tokens.
            allowance.spend(costs[name], now)
        return None

    def headers(self, now: float) -> dict[str, str]:
        """Return what real services say of their limits with every answer."""
        said = {}
        for name, allowance in self._allowances.items():
            said[f"x-ratelimit-limit-{name}"] = f"{allowance.limit:.0f}"
            said[f"x-ratelimit-remaining-{name}"] = f"{max(0.0, allowance.left(now)):.0f}"
            said[f"x-ratelimit-reset-{name}"] = span(max(0.0, allowance.reset(now)))
        return said
