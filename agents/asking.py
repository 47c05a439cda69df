"""Asking until the reply can be read, or giving up."""

from collections.abc import Callable
from typing import Any, TypeVar

from agents.models.model import Prompt
from agents.trajectory import Delivery
from engine.errors import UnreadableReplyError

R = TypeVar("R")

ATTEMPTS = 2
"""How often a question is asked, each time as a call of its own."""


async def ask(
    delivery: Delivery[Any], prompt: Prompt, read: Callable[[str], R]
) -> tuple[R | None, str]:
    """Return what *read* makes of the reply, and the reply; None if no reply could be read."""
    text = ""
    for _ in range(ATTEMPTS):
        text = (await delivery.ask(prompt)).text
        try:
            return read(text), text
        except UnreadableReplyError:
            continue
    return None, text
