"""Text to be shown, most of it from outside: nothing in it is obeyed by who shows it.

A terminal obeys control characters; a line that is read from right to left says something else than
it holds. Titles, replies, paths and what a service says may hold any of them.
"""

import json
import re

_FORBIDDEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but for tab and newline, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"  # what turns the direction of reading
    "\u2028\u2029"  # ends of lines that are none here
    "\ud800-\udfff"  # halves of characters, which have no bytes
)
_IN_LINES = re.compile(f"[{_FORBIDDEN}]")
_IN_A_LINE = re.compile(f"[\t\n{_FORBIDDEN}]")
_NOT_ASCII = re.compile("[^\x00-\x7e]")

_NAMED = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}


def visible(text: str, *, lines: bool = False) -> str:
    r"""Return *text* with escapes, such as \x1b and \u202e, for what must not be obeyed.

    Newlines and tabs stay where the text may have *lines*. All else stays as it is, so what is
    visible already does not change.
    """
    return (_IN_LINES if lines else _IN_A_LINE).sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    sign = found[0]
    code = ord(sign)
    return _NAMED.get(sign) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def first_line(error: BaseException) -> str:
    """Return the first line of what *error* says, or its name if it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def counted(number: int, noun: str) -> str:
    """Return how many of what there are: "1 call", "2 calls", "12,000 batches"."""
    if number == 1:
        return f"1 {noun}"
    return f"{number:,} {noun}{'es' if noun.endswith('ch') else 's'}"


def visible_json(text: str, *, ascii_only: bool = False) -> str:
    """Return the JSON *text* with JSON's own escapes for what must not be obeyed.

    It says the same. With *ascii_only* all that is not ASCII is escaped, as for a stream that can
    hold nothing else.
    """
    # Outside of strings JSON has no such character, and within them its escapes are its own.
    return (_NOT_ASCII if ascii_only else _IN_LINES).sub(_json_escape, text)


def _json_escape(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1] if found[0] != "\x7f" else "\\u007f"
