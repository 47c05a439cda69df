"""Models of any service that speaks the OpenAI protocol, by chat or by the Responses API."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import NamedTuple, Self

import msgspec

from agents.models.model import ChatReply, ChatRequest, Rates, TransientError
from agents.models.providers import Api
from agents.models.remote.dialects import Dialect, most_tokens
from agents.models.remote.exchange import Answer
from agents.models.remote.failures import CONTENT_FILTER, Complaint, read_complaint, shown
from agents.models.remote.forms import Form, after
from agents.models.remote.probing import CHOICE, followed, greeting, probe
from agents.models.remote.profiles import Profile
from agents.models.remote.responses import cut_unsaid, decode_response, encode_response_request
from agents.models.remote.service import Account, Service
from agents.models.remote.wire import decode_reply, encode_request
from engine.attempt import log
from engine.errors import CallFailedError, ModelError, ServiceError


class _Protocol(NamedTuple):
    """Where a model is asked, how that is written, and how its answer is read."""

    path: str
    encode: Callable[[ChatRequest, Dialect], bytes]
    decode: Callable[[bytes, Mapping[str, str]], ChatReply]


_PROTOCOLS: Mapping[Api, _Protocol] = {
    "chat": _Protocol("/chat/completions", encode_request, decode_reply),
    "responses": _Protocol("/responses", encode_response_request, decode_response),
}
_DIALECTS = 8  # tried for one call: a service may refuse whatever it is told
_PARAMETERS = (
    *("max_completion_tokens", "max_tokens", "temperature", "seed", "stop", "prompt_cache_key"),
    *(
        "response_format",
        "json_schema",
        "json schema",
        "grammar",
        "tool_choice",
        "tools",
        "text.format",
    ),
    *("messages[0].role", "input[0].role", "developer"),
)
_WORDING = frozenset({400, 422})  # statuses of refusals that may be of how something was asked
_EFFORT = ("reasoning_effort", "reasoning.effort", "enable_thinking", "chat_template_kwargs")
_REFUSED = (
    "unsupported",
    "not support",
    "unrecognized",
    "unknown",
    "not permitted",
    "invalid",
    "json schema",
)


class OpenAIModel:
    """The models of an *account*. Belongs to one event loop; is to be closed.

    *reasoning* says whether its models reason: then they get no temperature. None leaves it to
    their names and to what the service refuses.
    """

    def __init__(self, account: Account, *, reasoning: bool | None = None) -> None:
        self._service = Service(account)
        self._url = shown(account.url)
        self._protocol = _PROTOCOLS[account.api]
        self._reasoning = reasoning
        self._dialects: dict[str, Dialect] = {}

    def __repr__(self) -> str:
        return f"OpenAIModel({self._url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    @property
    def service(self) -> Service:
        """The service that has them."""
        return self._service

    @property
    def path(self) -> str:
        """Where they are asked."""
        return self._protocol.path

    async def aclose(self) -> None:
        """Close all connections."""
        await self._service.aclose()

    async def reply(self, request: ChatRequest) -> ChatReply:
        """Return the reply; finish `length` is a reply, too.

        Raises TransientError for what may pass, CallFailedError for what this request can never
        get, ServiceError for what no request can.
        """
        model, (path, encode, _) = request.sampling.model, self._protocol
        for _ in range(_DIALECTS):
            dialect = self._dialects.get(model) or self._first_dialect(model)
            answer = await self._service.post(path, model, encode(request, dialect))
            if 200 <= answer.status < 300:
                return self._whole(request, dialect, self._read(answer))
            complaint = read_complaint(answer.body)
            if not self._learn(model, dialect, answer, complaint):
                break
        raise await self._failure(request, answer, complaint)

    async def probe(
        self,
        models: Iterable[str],
        *,
        structured: bool = False,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> dict[str, Rates]:
        """Ask each of *models* for a word, and return what is said of the limits of each.

        If replies are to be *structured*, find how to ask for that, and say so if it is not by a
        schema. Raises ServiceError if a run would come to nothing.
        """
        said: dict[str, Rates] = {}
        for model in sorted(set(models)):
            rates = await probe(partial(self.reply, greeting(model)), sleep=sleep)
            if rates is not None:
                said[model] = rates
        await self.recognise()
        for model in sorted(set(models)):
            if structured and not await self._find_form(model, sleep):
                what = {"service": self._url, "model": model, "form": self.form_of(model)}
                log("warning", "the service follows no JSON schema", **what)
        return said

    @property
    def profile(self) -> Profile:
        """What is known of the kind of its service."""
        return self._service.profile

    async def recognise(self) -> None:
        """Find out whom we are speaking with; what was learned of models until now remains."""
        before = self._service.profile
        await self._service.recognise()
        for model, dialect in [*self._dialects.items()]:
            if dialect == self._told_by(before, model):
                del self._dialects[model]

    def form_of(self, model: str) -> Form:
        """Return how *model* is told the form of a reply."""
        return (self._dialects.get(model) or self._first_dialect(model)).form

    def take_form(self, model: str, form: Form) -> None:
        """Tell *model* the form of a reply so from now on."""
        dialect = self._dialects.get(model) or self._first_dialect(model)
        self._dialects[model] = msgspec.structs.replace(dialect, form=form)

    async def _find_form(self, model: str, sleep: Callable[[float], Awaitable[None]]) -> bool:
        """Take the strictest form that *model* follows; return whether it is that of schemas."""
        choice = greeting(model, schema=CHOICE)
        while self.form_of(model) != "text":
            form = self.form_of(model)
            found = await followed(partial(self.reply, choice), CHOICE, sleep=sleep)
            if found is None:  # nothing is known of it
                break
            if found and self.form_of(model) == form:
                break
            if self.form_of(model) == form:
                self.take_form(model, after(form))
        return self.form_of(model) == "json_schema"

    # -- as a line of a batch

    def body(self, request: ChatRequest) -> bytes:
        """Return what is asked, as `reply` would ask it."""
        model = request.sampling.model
        return self._protocol.encode(
            request, self._dialects.get(model) or self._first_dialect(model)
        )

    def answered(self, request: ChatRequest, answer: Answer) -> ChatReply:
        """Return the reply in an answer that came by another way; raises what `reply` does.

        Of what can be asked in other words it says `refused`: to be asked again.
        """
        model, complaint = request.sampling.model, read_complaint(answer.body)
        dialect = self._dialects.get(model) or self._first_dialect(model)
        if 200 <= answer.status < 300:
            return self._whole(request, dialect, self._read(answer))
        self._learn(model, dialect, answer, complaint)
        # Many lines meet the same refusal, and only the first of them learns something of it.
        if _of_dialect(answer, complaint) and complaint.about(*_PARAMETERS):
            raise TransientError(f"{self._url} refused a parameter", kind="refused")
        if answer.status == 404 and complaint.about("model", "deployment"):
            raise ServiceError(f"{self._url} has no model {model!r} for batches")
        raise self._refusal(request, answer, complaint)

    # -- what a model can be told

    def _first_dialect(self, model: str) -> Dialect:
        dialect = self._told_by(self._service.profile, model)
        self._dialects[model] = dialect
        return dialect

    def _told_by(self, profile: Profile, model: str) -> Dialect:
        dialect = profile.dialect(model, reasoning=self._reasoning)
        dialect = msgspec.structs.replace(dialect, tier=self._service.account.tier)
        unseeded = self._service.account.api == "responses" and not profile.seeds
        return msgspec.structs.replace(dialect, seed=False) if unseeded else dialect

    def _learn(self, model: str, dialect: Dialect, answer: Answer, complaint: Complaint) -> bool:
        """Return whether to ask again, in another dialect than the one that was refused."""
        if not _of_dialect(answer, complaint):
            return False
        if self._dialects[model] != dialect:
            return True  # another call has learned it in the meantime
        refused = next((name for name in _PARAMETERS if complaint.about(name)), None)
        other = dialect.without(complaint.param or refused)
        if other is not None:
            self._dialects[model] = other
        return other is not None

    # -- what is answered

    def _read(self, answer: Answer) -> ChatReply:
        try:
            reply = self._protocol.decode(answer.body, answer.headers)
        except TransientError as error:
            raise self._service.unread(answer, error) from error
        if reply.finish == CONTENT_FILTER:
            raise CallFailedError("the content filter withheld the reply", kind=CONTENT_FILTER)
        if reply.finish == "error":  # of OpenRouter's: it had begun to answer, with 200
            raise TransientError(f"{self._url} broke off the reply", kind="server")
        return reply

    def _whole(self, request: ChatRequest, dialect: Dialect, reply: ChatReply) -> ChatReply:
        if self._service.account.api == "chat" or self.profile.tells_cuts:
            return reply
        return cut_unsaid(reply, most_tokens(request.sampling, dialect))

    async def _failure(
        self, request: ChatRequest, answer: Answer, complaint: Complaint
    ) -> ModelError:
        if answer.status == 404 and complaint.about("model", "deployment"):
            return await self._service.no_such_model(request.sampling.model)
        return self._refusal(request, answer, complaint)

    def _refusal(self, request: ChatRequest, answer: Answer, complaint: Complaint) -> ModelError:
        """Return what a refusal means, of what was wished for if it is of that."""
        account, model, effort = self._service.account, request.sampling.model, _effort(request)
        wording = answer.status in _WORDING
        if account.tier and wording and complaint.about("service_tier", "service tier"):
            what = f"{self._url} has no tier {account.tier!r} for {model!r}"
            return ServiceError(what, hint="set the tier of the role to default")
        if effort and wording and complaint.about(*_EFFORT):
            what = f"{self._url} takes no effort {effort!r} for {model!r}"
            return ServiceError(what, hint="set the effort of its roles to another, or to ''")
        if answer.status in {404, 405} and account.api == "responses":
            what = f"{self._url} has no Responses API: {answer.status}"
            return ServiceError(what, hint="--set api=chat; or else --base-url mostly ends in /v1")
        return self._service.failure(answer, complaint)


def _of_dialect(answer: Answer, complaint: Complaint) -> bool:
    """Tell whether a refusal is of how something was asked, not of what."""
    return answer.status in _WORDING and complaint.about(*_REFUSED)


def _effort(request: ChatRequest) -> str:
    """Return the effort that is wished for, empty if none is."""
    effort = request.sampling.effort
    return "" if effort is msgspec.UNSET else effort
