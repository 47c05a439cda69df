"""Replies that repeat themselves until they are cut off: small models do."""

_LONGEST = 200  # characters of what is repeated
_TIMES = 4
_SHORTEST = 24  # characters of all repetitions: dots and dashes may stand in a row


def unlooped(text: str) -> str | None:
    """Return *text* without the repetitions at its end but the first; None if there are none."""
    for period in range(1, min(_LONGEST, len(text) // _TIMES) + 1):
        if text.endswith(text[-period:] * max(_TIMES, -(-_SHORTEST // period))):
            return text[: _beginning(text, period) + period]
    return None


def _beginning(text: str, period: int) -> int:
    """Return where in *text* begins what has that *period* up to the end."""
    place = len(text) - period
    while place > 0 and text[place - 1] == text[place - 1 + period]:
        place -= 1
    return place
