"""One cheap call before a run starts: what cannot work is said at once."""

import asyncio
from collections.abc import Awaitable, Callable

from agents.models.model import ChatReply, Rates, TransientError
from agents.models.remote.failures import CONTENT_FILTER
from engine.errors import CallFailedError, ModelError, ServiceError

_ATTEMPTS = 5


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
