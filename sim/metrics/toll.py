"""The toll of access to models: attempts, failures, waiting, and the limits that were found."""

from collections import Counter
from dataclasses import dataclass, field
from math import fsum

import msgspec

from agents.models.chain import Chain
from agents.models.remote.vectors import ROLE as EMBEDDING
from storage.journal import AttemptFailed, CallEnded, Entry, Identity
from storage.vectors import VectorEntry


class Toll(msgspec.Struct, frozen=True, kw_only=True):
    """What it took to get replies, and vectors of a service, in all processes of a run.

    Of the *attempts* that were made some *failed*, by kind: `rate_limit` is 429, `server` 5xx and
    the like, `timeout`, `connection`, `malformed` and so on. *retries* followed them; *given_up*
    calls came to nothing. Seconds are sums over calls, which wait side by side: *wait_seconds* for
    a slot or the pace of a limit, *pause_seconds* between attempts.

    Limits are those of the last process as they were in the end, over all accounts, told by the
    user or learned of services: calls at once (*concurrency*), calls and tokens a minute, None
    where nothing limited them.

    What a process did before a run was resumed is known from its journal: an attempt that a kill
    cut off is not, nor how long vectors waited.
    """

    attempts: int = 0
    failed: dict[str, int] = {}
    retries: int = 0
    given_up: int = 0
    wait_seconds: float = 0.0
    pause_seconds: float = 0.0
    concurrency: int = 0
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None

    @property
    def failures(self) -> int:
        """How many attempts failed."""
        return sum(self.failed.values())

    def plus(self, chain: Chain) -> "Toll":
        """Return the toll with what a *chain* has taken so far, and its limits."""
        taken, limits = chain.retrying.statistics(), chain.statistics()
        failed = Counter(self.failed)
        failed.update(taken.failed)
        return Toll(
            attempts=self.attempts + taken.attempts,
            failed=dict(sorted(failed.items())),
            retries=self.retries + taken.retries,
            given_up=self.given_up + taken.given_up,
            wait_seconds=round(self.wait_seconds + taken.wait, 3),
            pause_seconds=round(self.pause_seconds + taken.pause, 3),
            concurrency=limits.limit,
            requests_per_minute=limits.requests_per_minute,
            tokens_per_minute=limits.tokens_per_minute,
        )


NO_TOLL = Toll()


@dataclass(eq=False)
class Tolls:
    """Reckons the toll that earlier processes paid, from what they have written."""

    _attempts: int = 0
    _given_up: int = 0
    _failed: Counter[str] = field(default_factory=Counter)
    _wait: float = 0.0
    _pause: float = 0.0
    _unended: dict[Identity, list[AttemptFailed]] = field(default_factory=dict)
    _passing: set[str] = field(default_factory=set)

    def call(self, entry: Entry) -> None:
        """Take an entry of the journal; what was not asked, but inherited or cached, took none."""
        if isinstance(entry, AttemptFailed):
            self._fail(entry)
        elif isinstance(entry, CallEnded) and entry.attempts:
            self._end(entry)

    def vector(self, entry: VectorEntry) -> None:
        """Take a vector; attempts at it that failed stand in the journal."""
        if entry.attempts:
            self._close(entry.error, passed=entry.error in self._passing)

    def toll(self) -> Toll:
        """Return what it came to."""
        return Toll(
            attempts=self._attempts,
            failed=dict(self._failed),
            retries=self._failed.total() - self._given_up,
            given_up=self._given_up,
            wait_seconds=self._wait,
            pause_seconds=self._pause,
        )

    def _fail(self, failed: AttemptFailed) -> None:
        if failed.role == EMBEDDING:
            self._passing.add(failed.error)
        else:
            self._keep(failed)
        self._attempts += 1
        self._failed[failed.error] += 1
        self._wait += failed.wait
        self._pause += failed.pause

    def _keep(self, failed: AttemptFailed) -> None:
        known = failed.user, failed.session, failed.step, failed.role, failed.occurrence
        before = self._unended.setdefault(known, [])
        if failed.attempt == 1:  # what is known of before was a process that was stopped
            before.clear()
        before.append(failed)

    def _end(self, ended: CallEnded) -> None:
        before = self._unended.pop(ended.identity, [])
        # Its wait holds those of all its attempts, if it had several.
        known = before if ended.attempts > 1 else []
        self._wait += max(0.0, ended.wait - fsum(one.wait + one.pause for one in known))
        self._close(ended.error, passed=any(failed.error == ended.error for failed in before))

    def _close(self, error: str | None, *, passed: bool) -> None:
        """Count the last attempt at a call, unless it failed and was counted as it *passed*."""
        self._attempts += not passed
        self._given_up += error is not None
        if error is not None and not passed:
            self._failed[error] += 1
