"""Why episodes failed: reasons with counts, gathered by following a run, and in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from agents.models.remote.vectors import ROLE as EMBEDDING
from engine.errors import CallFailedError
from engine.messages import Envelope, EpisodeFailed, EpisodeStarted, HandlerFailed, ModelFailed
from storage.journal import Identity

_SHOWN = 3  # reasons in a sentence
_SAID = 100  # characters of what a service said, in a sentence


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A reason why so many *episodes* failed, the *first* of them by its number.

    A *handler* raised an *error*, which is the name of its class; without a handler *error* says
    what was wrong. If it was a call that failed, *role* asked it, *kind* is that of its failure,
    and *said* what the service said of the first.
    """

    episodes: int
    first: int
    handler: str
    error: str
    role: str = ""
    kind: str = ""
    said: str = ""


HEARD = EpisodeStarted | ModelFailed | HandlerFailed | EpisodeFailed


@dataclass(eq=False)
class FailuresFollower:
    """Follows a run and counts why episodes failed; *said* is what services said of failed calls.

    Of several handlers that raised in an episode the first counts, as it does for the episode.
    """

    said: Mapping[Identity, str]
    _found: dict[tuple[str, ...], Failure] = field(default_factory=dict)
    _visit: tuple[int, int] = (0, 0)
    _calls: dict[int | None, ModelFailed] = field(default_factory=dict)
    _reason: Failure | None = None

    def __call__(self, envelope: Envelope[object]) -> None:
        """Take note of a message."""
        match envelope.message:
            case EpisodeStarted() as started:
                self._visit = started.user, started.session
                self._calls, self._reason = {}, None
            case ModelFailed() as call:
                self._calls[envelope.cause] = call
            case HandlerFailed() as raised if self._reason is None:
                self._reason = self._reason_of(envelope, raised)
            case EpisodeFailed() as failed:
                self._count(self._reason or _reason(envelope, "", failed.why))

    def _reason_of(self, envelope: Envelope[object], raised: HandlerFailed) -> Failure:
        reason = _reason(envelope, raised.handler, raised.error)
        if raised.error != CallFailedError.__name__:
            return reason
        # A handler stands under the message it handled, and so do the calls that it asked.
        call = self._calls.get(envelope.cause)
        if call is None:  # embeddings leave no message
            return msgspec.structs.replace(reason, role=EMBEDDING)
        said = self.said.get((*self._visit, call.step, call.role, call.occurrence), "")
        return msgspec.structs.replace(reason, role=call.role, kind=call.error, said=said)

    def _count(self, reason: Failure) -> None:
        key = (reason.handler, reason.error, reason.role, reason.kind)
        known = self._found.get(key)
        if known is None:
            self._found[key] = reason
        else:
            self._found[key] = msgspec.structs.replace(known, episodes=known.episodes + 1)

    def result(self) -> tuple[Failure, ...]:
        """Return the reasons, the most frequent first."""
        return tuple(sorted(self._found.values(), key=lambda one: (-one.episodes, one.first)))


def _reason(envelope: Envelope[object], handler: str, error: str) -> Failure:
    return Failure(episodes=1, first=envelope.episode or 0, handler=handler, error=error)


def in_words(failed: int, episodes: int, failures: Sequence[Failure]) -> str:
    """Return how many of how many episodes failed, and why."""
    count = f"all {episodes:,}" if failed == episodes else f"{failed:,} of {episodes:,}"
    reasons = [f"{one.episodes:,} × {why(one)}" for one in failures[:_SHOWN]]
    others = sum(one.episodes for one in failures[_SHOWN:])
    if others:
        reasons.append(f"{others:,} × other reasons")
    plural = "" if episodes == 1 else "s"
    return f"{count} episode{plural} failed: {'; '.join(reasons)}"


def why(failure: Failure) -> str:
    """Return a reason in words."""
    if failure.role:
        said = failure.said if len(failure.said) <= _SAID else f"{failure.said[: _SAID - 1]}…"
        kind = ": ".join(filter(None, (failure.kind, said)))
        return f"a call of the {failure.role}'s" + (f" ({kind})" if kind else "")
    return f"{failure.handler} raised {failure.error}" if failure.handler else failure.error
