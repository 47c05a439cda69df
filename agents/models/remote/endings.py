"""What a model says, without what it thought aloud before, and why it ended."""

from agents.models.model import CUT, REFUSAL
from agents.models.remote.loops import unlooped

_OPEN, _CLOSED = "<think>", "</think>"
_LONGEST_REASON = 64  # characters of why a reply ended


def spoken(text: str) -> str:
    """Return *text* without the thoughts at its beginning, if it begins with some.

    Services that do not know how a model marks them leave them there; templates of some models
    open them in the prompt, so that only their end is seen. Thoughts without an end are all there
    is.
    """
    opened = text.lstrip().startswith(_OPEN)
    thought, closed, rest = text.partition(_CLOSED)
    if closed and (opened or _OPEN not in thought):
        return rest.lstrip()
    return "" if opened else text


def ended(text: str, finish: str) -> tuple[str, str]:
    """Return a text and why it ended; if it was cut off while it repeated itself, once is kept."""
    once = unlooped(text) if finish in CUT else None
    return (text, finish) if once is None else (once, "repetition")


def finish_of(reason: str | None, *, refused: bool = False) -> str:
    """Return why a reply ended, by the *reason* that a service gives; `stop` if it gives none."""
    told = reason if reason and len(reason) <= _LONGEST_REASON and reason.isprintable() else "stop"
    return REFUSAL if refused and told == "stop" else told
