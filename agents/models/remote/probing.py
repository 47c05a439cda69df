"""Cheap calls before a run starts: what cannot work is said at once, what can be had is found."""

import asyncio
from collections.abc import Awaitable, Callable

from agents.models.model import ChatMessage, ChatReply, ChatRequest, Rates, Sampling, TransientError
from agents.models.remote.failures import CONTENT_FILTER
from agents.models.remote.forms import follows
from engine.calls import Call
from engine.errors import CallFailedError, ModelError, ServiceError

_ATTEMPTS = 5

CHOICE = (
    '{"type": "object", "properties": {"value": {"type": "integer", "enum": [1, 2]}}, '
    '"required": ["value"], "additionalProperties": false}'
)
"""The schema of a reply whose form is tried."""

_CHOOSE = 'Answer with a JSON object and nothing else. Its one field, "value", is 1 or 2.'
_FORM_ATTEMPTS = 3


def greeting(model: str, schema: str = "") -> ChatRequest:
    """Return a request for a word; with a *schema* for what the one called `CHOICE` asks for."""
    return ChatRequest(
        call=Call(episode=0, user=0, session=0, step=0, role="probe", occurrence=0),
        sampling=Sampling(model=model, temperature=None, max_tokens=32 if schema else 16),
        messages=(ChatMessage(role="user", content=_CHOOSE if schema else "Say OK."),),
        seed=0,
        schema=schema,
    )


async def followed(
    ask: Callable[[], Awaitable[ChatReply]],
    schema: str,
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> bool | None:
    """Tell whether what is replied to *ask* follows *schema*; None if no reply is to be had.

    A service whose server fails may do so because of the form in which it was asked, or by chance:
    it is asked again. Other failures say nothing of what it understands. Raises ServiceError.
    """
    for attempt in range(_FORM_ATTEMPTS):
        try:
            return follows((await ask()).text, schema)
        except TransientError as error:
            if error.kind != "server":
                return None
        except CallFailedError:
            return False
        await sleep(0.2 * attempt)
    return False


async def probe(
    ask: Callable[[], Awaitable[ChatReply]],
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Rates | None:
    """Let *ask* ask a service for a word, and return what it says of its limits.

    Raises ServiceError if a run would come to nothing.
    """
    for attempt in range(_ATTEMPTS):
        try:
            reply = await ask()
        except TransientError as error:
            if error.kind == "rate_limit":
                return error.rates  # it is there, and it knows us
            failure: ModelError = error
        except CallFailedError as error:
            if error.kind == CONTENT_FILTER:
                return None
            raise ServiceError(str(error), hint="see whether model and URL match") from error
        else:
            return reply.rates
        await sleep(0.2 * attempt)
    hint = "is the service running, and is --base-url right?"
    raise ServiceError(str(failure), hint=hint) from failure
