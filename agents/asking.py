"""Asking until the reply can be read, or giving up."""

import re
from collections.abc import Callable
from typing import Any, TypeVar

from agents.models.model import Prompt
from agents.trajectory import Delivery
from engine.errors import UnreadableReplyError

R = TypeVar("R")

ATTEMPTS = 2
"""How often a question is asked, each time as a call of its own."""

_END = re.compile(r"[.!?…](?=\s|$)|\]")


async def ask(
    delivery: Delivery[Any], prompt: Prompt, read: Callable[[str], R]
) -> tuple[R | None, str]:
    """Return what *read* makes of the reply, and the reply; None if no reply could be read.

    Of words that ran on until they were cut off, what counts ends with the last whole sentence.
    """
    text = ""
    for _ in range(ATTEMPTS):
        reply = await delivery.ask(prompt)
        text = whole_sentences(reply.text) if reply.finish else reply.text
        try:
            return read(text), text
        except UnreadableReplyError:
            continue
    return None, text


def whole_sentences(text: str) -> str:
    """Return *text* up to the end of its last whole sentence; all of it if it has none."""
    ends = [found.end() for found in _END.finditer(text)]
    return text[: ends[-1]] if ends else text
