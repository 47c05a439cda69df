"""A service that speaks the OpenAI protocol, reached through the OpenAI SDK.

The SDK knows how to address and to sign a request: it does so once for each model and path. All is
then sent as prepared, with a new body, since the SDK's own work on a call costs several times what
it takes to send it (tests/bench/test_bench_models.py), follows redirections, and knows no bounds.
"""

import asyncio
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import chain
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import httpx2

from agents.models.model import TransientError
from agents.models.providers import Api
from agents.models.providers import Service as Kind
from agents.models.remote.addresses import OPENAI_URL, usable, without_secrets
from agents.models.remote.bounded import MOST_BYTES, loosely, malformed, member, text_of
from agents.models.remote.deadlines import Timeouts
from agents.models.remote.exchange import Answer, Exchange, Prepared, headers_to_send
from agents.models.remote.failures import (
    FULL,
    Complaint,
    cleaned,
    no_room,
    read_complaint,
    shown,
    status_failure,
)
from agents.models.remote.headers import rates, secrets_in
from agents.models.remote.profiles import PROFILES, UNKNOWN, Profile, by_address, by_answer
from engine.errors import ConfigError, ModelError, ServiceError

if TYPE_CHECKING:  # where it is used it is imported: it takes longer than all the rest of billp
    import openai

_MODELS = "/models"
_AZURE_VERSION = "2024-10-21"
_SHOWN = 12  # models named in an error
_LISTED = 5_000  # that are looked at
_PATIENCE = 10.0  # seconds, for a list without which all goes on
_CONTEXTS = ("max_model_len", "context_length", "context_window", "max_context_length")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Where a service is and who asks. *key* is shown nowhere.

    *tier* is what calls ask for, empty for what the account has. With an *azure_version* (of the
    API; assumed for Azure's URLs that do not end in `/v1`) the models are names of deployments.
    *service* is its kind, `auto` to find that out, and *api* how it is asked.
    """

    key: str = field(repr=False)
    url: str = OPENAI_URL
    azure_version: str = ""
    tier: str = ""
    service: Kind | Literal["auto"] = "auto"
    api: Api = "chat"
    connections: int = 1_000
    timeouts: Timeouts = field(default_factory=Timeouts)

    def __post_init__(self) -> None:
        if not usable(self.url):
            what = f"{without_secrets(self.url)!r} is no URL of a service"
            raise ConfigError(what, hint="--base-url http://HOST/v1")

    @property
    def azure(self) -> str:
        """The version of Azure's API, empty if it is not Azure's."""
        parts = urlsplit(self.url)
        theirs = self.service == "azure" or (parts.hostname or "").endswith(".azure.com")
        assumed = theirs and "/v1" not in parts.path
        return self.azure_version or (_AZURE_VERSION if assumed else "")

    @property
    def kind(self) -> Kind | None:
        """What kind of service it is, as far as that is told beforehand."""
        if self.service != "auto":
            return self.service
        return "azure" if self.azure else by_address(self.url)


class Service:
    """A service, and the connections to it. Belongs to one event loop; is to be closed.

    *profile* is what is known of its kind.
    """

    def __init__(self, account: Account) -> None:
        self.account = account
        self.profile: Profile = PROFILES[account.kind] if account.kind else UNKNOWN
        self._exchange = Exchange(
            url=account.url, connections=account.connections, timeouts=account.timeouts
        )
        self._prepared: dict[tuple[str, str], Prepared] = {}

    @property
    def _secrets(self) -> set[str]:
        """What was sent that is for nobody's eyes: services quote it."""
        sent = (secrets_in(prepared.headers) for prepared in self._prepared.values())
        return {self.account.key, *chain.from_iterable(sent), *self._exchange.secrets()}

    async def post(self, path: str, model: str, body: bytes) -> Answer:
        """Return what is answered at *path*, whatever its status.

        Raises TransientError or ServiceError if nothing is answered.
        """
        prepared = self._prepared.get((path, model)) or await self._prepare(path, model)
        return await self._exchange.post(prepared, body)

    async def ask(
        self,
        method: Literal["GET", "POST"],
        path: str,
        body: bytes = b"",
        *,
        kind: str = "application/json",
        query: str = "",
        most: int = MOST_BYTES,
    ) -> Answer:
        """Do as `post` for what is no call of a model; *kind* is that of the *body*.

        What is answered has at most so many bytes.
        """
        # What stands for a model only says that something is sent.
        model = "" if method == "GET" else kind
        prepared = self._prepared.get((path, model)) or await self._prepare(path, model)
        headers = {n: v for n, v in prepared.headers.items() if n.lower() != "content-type"}
        if body:
            headers["Content-Type"] = kind
        joint = "&" if "?" in prepared.url else "?"
        url = f"{prepared.url}{joint}{query}" if query else prepared.url
        return await self._exchange.send(method, url, headers, body, most)

    async def models(self) -> list[str]:
        """Return the names of the models on offer, sorted; raises ModelErrors."""
        return sorted(await self.offers())

    async def offers(self) -> dict[str, int]:
        """Return what the service says of the context of each model on offer, in tokens.

        0 where it says nothing; raises ModelErrors.
        """
        answer = await self._list()
        if answer.status != 200:
            raise self.failure(answer, read_complaint(answer.body))
        try:
            offers = _listed(answer.body)
        except TransientError as error:
            raise self.unread(answer, error) from error
        named = {cleaned(name, self._secrets): context for name, context in offers[:_LISTED]}
        return {name: context for name, context in named.items() if name}

    async def recognise(self) -> None:
        """Find out what kind of service it is, if that is not known; it may tell nobody."""
        if self.account.kind is not None:
            return
        try:
            async with asyncio.timeout(_PATIENCE):
                answer = await self._list()
            kind = by_answer(answer.headers, loosely(answer.body))
        except (TimeoutError, ModelError):
            return
        self.profile = PROFILES[kind] if kind else UNKNOWN

    async def no_such_model(self, model: str) -> ServiceError:
        """Return the error of a model that is not on offer, with those that are."""
        try:
            names = await self.models()
        except ModelError:
            names = []
        near = get_close_matches(model, names, n=_SHOWN, cutoff=0.4)
        listed = names if len(names) <= _SHOWN else near or names[:_SHOWN]
        more = f" and {len(names) - len(listed):,} more" if len(names) > len(listed) else ""
        hint = (
            f"it offers {', '.join(listed)}{more}" if listed else "ask the service what it offers"
        )
        return ServiceError(f"{shown(self.account.url)} has no model {model!r}", hint=hint)

    def unread(self, answer: Answer, error: TransientError) -> TransientError:
        """Return *error*, that an answer is malformed, with what it says instead."""
        said = cleaned(read_complaint(answer.body).message, self._secrets)
        what = f"{error}: {said}" if said else str(error)
        return TransientError(what, kind=error.kind, rates=rates(answer.headers), said=said)

    def failure(self, answer: Answer, complaint: Complaint) -> ModelError:
        """Return what a status that is no 2xx means."""
        account = self.account
        if account.tier and answer.status == 429 and complaint.about(*FULL):
            return no_room(account.tier, answer.headers, url=account.url)
        return status_failure(
            answer.status,
            answer.headers,
            complaint,
            url=self.account.url,
            secrets=self._secrets,
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._exchange.aclose()

    async def _list(self) -> Answer:
        prepared = self._prepared.get((_MODELS, "")) or await self._prepare(_MODELS, "")
        return await self._exchange.send("GET", prepared.url, prepared.headers, b"")

    async def _prepare(self, path: str, model: str) -> Prepared:
        """Let the SDK build a request, and catch it."""
        caught: list[httpx2.Request] = []

        def catch(request: httpx2.Request) -> httpx2.Response:
            caught.append(request)
            return httpx2.Response(200)

        # Nothing is sent: the SDK knows addresses and headers, and this transport notes them.
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(catch)) as nowhere:
            client = _client(self.account, nowhere)
            if model:
                await client.post(path, body={"model": model}, cast_to=httpx2.Response)
            else:
                await client.get(path, cast_to=httpx2.Response)
        request = caught[0]
        prepared = Prepared(str(request.url), headers_to_send(request.headers))
        self._prepared[path, model] = prepared
        return prepared


def _listed(body: bytes) -> list[tuple[str, int]]:
    data = member(loosely(body), "data")
    if not isinstance(data, list):
        raise malformed("lists no models")
    named = ((text_of(member(model, "id")), _context(model)) for model in data)
    return [(name, context) for name, context in named if name]


def _context(model: object) -> int:
    """Return the context that a model on a list is said to have: each kind of service says it so.

    vLLM, OpenRouter, Groq, LM Studio, llama.cpp.
    """
    own = (member(model, name) for name in _CONTEXTS)
    said = (*own, member(member(model, "meta"), "n_ctx_train"))
    return next((int(size) for size in said if type(size) is int and size > 0), 0)


def _client(account: Account, http: httpx2.AsyncClient) -> "openai.AsyncOpenAI":
    import openai

    if account.azure:
        return openai.AsyncAzureOpenAI(
            azure_endpoint=account.url,
            api_version=account.azure,
            api_key=account.key,
            http_client=http,
            timeout=account.timeouts.whole,
            max_retries=0,
        )
    return openai.AsyncOpenAI(
        base_url=account.url,
        api_key=account.key,
        http_client=http,
        timeout=account.timeouts.whole,
        max_retries=0,
    )
