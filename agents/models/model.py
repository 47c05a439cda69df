"""The seam to models: a request, a reply, and one method between them.

Everything that stands between an agent and a service is a `ChatModel` around another: recorded
replies, cache, budget, retries, limiter, and at the bottom the service itself.
"""

from hashlib import blake2b
from typing import Literal, Protocol

import msgspec

from agents.settings import Effort
from engine.calls import Call
from engine.errors import ModelError


class ChatMessage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A message of the chat protocol."""

    role: Literal["system", "user", "assistant"]
    content: str


class Prompt(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What an agent asks at a step: instructions, and the matter they are about.

    *schema* is the JSON schema of a structured reply, as text, or empty for plain text. *aside*
    says that the user does not wait for the reply.
    """

    role: str
    step: int
    system: str
    text: str
    schema: str = ""
    aside: bool = False


class Sampling(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How a role's replies are drawn; None leaves a setting to the service.

    *instructions* are added to what the role's system prompt says. *effort* is how long a model
    that reasons is to do so, for which it has *reasoning_tokens* beside *max_tokens*; unset, both
    are what goes without saying.
    """

    model: str
    temperature: float | None = 0.5
    max_tokens: int | None = 400
    instructions: str = ""
    # Unset they add no byte to what is encoded: digests are those of before there were these.
    effort: Effort | msgspec.UnsetType = msgspec.UNSET
    reasoning_tokens: int | msgspec.UnsetType = msgspec.UNSET


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A model call. *seed* is a number made of the call's identity, so no two calls share it.

    Calls for which no user waits, *aside*, go after the others; that leaves no mark on a reply.
    """

    call: Call
    sampling: Sampling
    messages: tuple[ChatMessage, ...]
    seed: int
    schema: str = ""
    aside: bool = False

    @property
    def digest(self) -> str:
        """Return 24 hexadecimal digits that stand for all that decides the reply."""
        return request_digest(self.sampling, self.messages, self.seed, self.schema)

    @property
    def priority(self) -> tuple[bool, int, int]:
        """Return what orders calls that wait: main line first, then the oldest episode."""
        return self.aside, self.call.episode, self.call.step


class Rates(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a service says of its limits, a minute, and of what is left; None where it is silent."""

    requests: float | None = None
    requests_left: float | None = None
    tokens: float | None = None
    tokens_left: float | None = None


CUT = frozenset({"length", "repetition"})
"""Why replies ended that had not come to their end."""

REFUSAL = "refusal"
"""Why a reply ended in which the model says that it would rather not."""

TOLD = CUT | {REFUSAL}
"""Why replies ended, as far as a trace tells it: who reads such a text wants to know."""


class ChatReply(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a model replied; tokens are as the service counted them.

    *finish* is why it stopped: `stop`, `length`, `content_filter` or what else the service says;
    `repetition` if it repeated itself until it was cut off; `refusal` if it says that the model
    refused. Of the prompt's tokens *cached* ones were known to the service, *written* ones it keeps
    from now on; of the reply's, *reasoning* ones are not seen. For the journal: the seconds spent
    waiting (for a slot, between attempts) and the attempts made.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    finish: str = "stop"
    cached_tokens: int = 0
    written_tokens: int = 0
    reasoning_tokens: int = 0
    wait: float = 0.0
    attempts: int = 1
    rates: Rates | None = None


class ChatModel(Protocol):
    """Whoever replies to requests."""

    async def reply(self, request: ChatRequest) -> ChatReply:
        """Return the reply.

        Raises `CallFailedError` if this call failed for good, `ServiceError` if no call can
        succeed any more, and, close to the service, `TransientError` if it may be tried again.
        """
        ...


CAPACITY = "capacity"
"""The kind of error that says: a cheap tier of the service has no room, of limits nothing."""


class TransientError(ModelError):
    """Raised when an attempt failed in a way that may pass.

    *kind* is a stable word for the trace and the journal (`rate_limit`, `timeout`, `connection`,
    `server`, `malformed`, ...), *retry_after* the seconds the service asked to wait, if it did.
    *said* is what the service said of it, *wait* how long the attempt had waited for a slot. Where
    the service is *gone* nobody was there to take the call.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: str,
        retry_after: float | None = None,
        rates: Rates | None = None,
        said: str = "",
        gone: bool = False,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.said = said
        self.gone = gone
        self.retry_after = retry_after
        self.rates = rates
        self.wait = 0.0


_encode = msgspec.json.Encoder().encode


def request_digest(
    sampling: Sampling, messages: tuple[ChatMessage, ...], seed: int, schema: str
) -> str:
    """Return the digest of a request that consists of these."""
    return blake2b(_encode((sampling, messages, seed, schema)), digest_size=12).hexdigest()


def call_seed(run_seed: int, call: Call) -> int:
    """Return the seed of a call: 48 bits of its identity and the seed of the run."""
    name = f"{run_seed}/{call.user}/{call.session}/{call.step}/{call.role}/{call.occurrence}"
    # 48 bits: a number that every reader of JSON keeps exactly.
    return int.from_bytes(blake2b(name.encode(), digest_size=6).digest(), "big")


def request_for(prompt: Prompt, call: Call, sampling: Sampling, run_seed: int) -> ChatRequest:
    """Return the whole request for a prompt."""
    parts = (prompt.system, sampling.instructions)
    return ChatRequest(
        call=call,
        sampling=sampling,
        messages=(
            ChatMessage(role="system", content="\n\n".join(filter(None, parts))),
            ChatMessage(role="user", content=prompt.text),
        ),
        seed=call_seed(run_seed, call),
        schema=prompt.schema,
        aside=prompt.aside,
    )
