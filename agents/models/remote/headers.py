"""What a service says in the headers of its answers: limits, and how long to wait.

What makes no sense counts as not said: whoever believed it would wait for ever, or not at all.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from agents.models.model import Rates

_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|d|h|m|s)")
_MOST = 1e12  # calls or tokens a minute
_LONGEST_NUMBER = 40  # characters
_LONGEST = 31 * 86_400.0  # seconds; a quota may be a month's
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_USUAL = frozenset({"accept", "accept-encoding", "content-type", "user-agent"})
_SECRET = 6  # characters: what is shorter could be any word


def rates(headers: Mapping[str, str]) -> Rates | None:
    """Return the limits that an answer states, or None if it is silent."""
    requests = _limit(headers.get("x-ratelimit-limit-requests"))
    tokens = _limit(headers.get("x-ratelimit-limit-tokens"))
    if requests is None and tokens is None:
        return None
    return Rates(
        requests=requests,
        requests_left=_left(headers.get("x-ratelimit-remaining-requests"), requests),
        tokens=tokens,
        tokens_left=_left(headers.get("x-ratelimit-remaining-tokens"), tokens),
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the service asks to wait: 0 to a month, None if it does not ask."""
    milliseconds = _number(headers.get("retry-after-ms"))
    asked = headers.get("retry-after", "")
    # The finest first: the seconds beside it are rounded.
    waits = (None if milliseconds is None else milliseconds / 1000, _number(asked), _until(asked))
    return next((wait for wait in waits if wait is not None and 0 <= wait <= _LONGEST), None)


def seconds(span: str) -> float | None:
    """Return the seconds in a span as `6m0s` or `120ms`, or None if it is none."""
    parts = _SPAN.findall(span)
    if not parts or "".join(number + unit for number, unit in parts) != span:
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def span(duration: float) -> str:
    """Return seconds as services write them: `120ms`, `1.5s`, `6m0s`."""
    if duration < 1:
        return f"{round(duration * 1000)}ms"
    minutes, rest = divmod(round(duration, 3), 60)
    return f"{int(minutes)}m{rest:g}s" if minutes else f"{rest:g}s"


def _limit(text: str | None) -> float | None:
    limit = _number(text)
    return limit if limit is not None and 1 <= limit <= _MOST else None


def _left(text: str | None, limit: float | None) -> float | None:
    left = _number(text)
    return None if left is None or limit is None else min(max(left, 0.0), limit)


def secrets_in(headers: Mapping[str, str]) -> Iterator[str]:
    """Yield what may be secret in headers that are sent: the values of all but the usual ones."""
    for name, value in headers.items():
        if name.lower() in _USUAL or name.lower().startswith("x-stainless-"):
            continue
        yield from (part for part in {value, *value.split()} if len(part) >= _SECRET)


def _number(text: str | None) -> float | None:
    if text is None or len(text) > _LONGEST_NUMBER:
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None


def _until(text: str) -> float | None:
    """Return the seconds until a date, 0 if it is over: clocks differ."""
    try:
        moment = parsedate_to_datetime(text)
        # Without a zone it is meant to be in the one that dates of HTTP are in.
        moment = moment.replace(tzinfo=moment.tzinfo or UTC)
        return max(0.0, (moment - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError):  # also of a time zone with which it is no date
        return None
