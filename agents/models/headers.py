"""What a service says in the headers of its answers: limits, and how long to wait."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from agents.models.model import Rates

_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|d|h|m|s)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def rates(headers: Mapping[str, str]) -> Rates | None:
    """Return the limits that an answer states, or None if it is silent."""
    requests = headers.get("x-ratelimit-limit-requests")
    tokens = headers.get("x-ratelimit-limit-tokens")
    if requests is None and tokens is None:
        return None
    return Rates(
        requests=_number(requests),
        requests_left=_number(headers.get("x-ratelimit-remaining-requests")),
        tokens=_number(tokens),
        tokens_left=_number(headers.get("x-ratelimit-remaining-tokens")),
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the service asks to wait: never below 0, None if it does not ask."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return max(0.0, milliseconds / 1000)
    asked = headers.get("retry-after", "")
    seconds = _number(asked)
    if seconds is None:
        seconds = _until(asked)
    return None if seconds is None else max(0.0, seconds)


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


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None


def _until(text: str) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return (moment.astimezone(UTC) - datetime.now(UTC)).total_seconds()
