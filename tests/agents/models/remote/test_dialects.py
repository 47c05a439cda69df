"""Services as they speak: one exchange after another, as recorded or as documented.

`dialects/` has a file for each kind: where it is from, whom it says it is, and what is asked of it.
"""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from aiohttp import web
from msgspec import UNSET

from agents.models.model import ChatMessage, ChatReply, ChatRequest, Sampling, TransientError
from agents.models.providers import Api, Service
from agents.models.remote.chat import OpenAIModel
from agents.models.remote.probing import CHOICE
from agents.models.remote.profiles import PROFILES, by_address
from agents.models.remote.service import Account
from agents.settings import Effort
from engine.calls import Call
from engine.errors import CallFailedError, ModelError, ServiceError
from tests.support.answering import answering

ERRORS: Final = {error.__name__: error for error in (CallFailedError, ServiceError, TransientError)}


class Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    model: str
    text: str = "what next?"
    schema: bool = False
    effort: Effort | msgspec.UnsetType = UNSET
    reasoning_tokens: int | msgspec.UnsetType = UNSET
    probe: bool = False

    def request(self) -> ChatRequest:
        return ChatRequest(
            call=Call(7, 7, 0, 0, "actor", 0),
            sampling=Sampling(
                model=self.model,
                temperature=0.25,
                max_tokens=50,
                effort=self.effort,
                reasoning_tokens=self.reasoning_tokens,
            ),
            messages=(
                ChatMessage(role="system", content="You advise."),
                ChatMessage(role="user", content=self.text),
            ),
            seed=7,
            schema=CHOICE if self.schema else "",
        )


class Turn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sent: dict[str, Any]
    status: int
    answer: dict[str, Any]
    path: str = ""


class Exchange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    promise: str
    api: Api
    ask: Ask
    turns: tuple[Turn, ...]
    read: dict[str, Any] = {}
    fails: dict[str, str] = {}


class Recording(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    service: Service
    origin: str
    sources: tuple[str, ...]
    exchanges: tuple[Exchange, ...]
    models: dict[str, Any] = {}
    headers: dict[str, str] = {}


def _recordings() -> dict[Service, Recording]:
    files = sorted((Path(__file__).parent / "dialects").glob("*.json"))
    read = [msgspec.json.decode(path.read_bytes(), type=Recording) for path in files]
    return {recording.service: recording for recording in read}


RECORDINGS: Final = _recordings()
EXCHANGES: Final = [
    pytest.param(recording, exchange, id=f"{name}: {exchange.promise}")
    for name, recording in RECORDINGS.items()
    for exchange in recording.exchanges
]


@dataclass(eq=False)
class Player:
    """Answers as a recording does, and keeps what is asked."""

    recording: Recording
    exchange: Exchange
    asked: list[tuple[str, Any]] = field(default_factory=list)

    async def __call__(self, asked: web.BaseRequest) -> web.StreamResponse:
        headers = self.recording.headers
        if asked.method == "GET":
            return web.json_response(self.recording.models, headers=headers)
        self.asked.append((asked.path_qs, await asked.json()))
        turn = self.exchange.turns[len(self.asked) - 1]
        return web.json_response(turn.answer, status=turn.status, headers=headers)


async def play(player: Player) -> ChatReply | ModelError | str:
    """Return what comes of an exchange: the reply, why there is none, or the form that is found."""
    name, exchange = player.recording.service, player.exchange
    async with answering(player) as url:
        account = Account(
            key="sk-0123456789",
            url=url.removesuffix("/v1") if name == "azure" else url,
            api=exchange.api,
            # Who lists no models is known by an address that is not ours.
            service="auto" if player.recording.models else name,
        )
        async with OpenAIModel(account) as model:
            await model.recognise()
            assert model.profile is PROFILES[name]
            if exchange.ask.probe:
                await model.probe([exchange.ask.model], structured=True)
                return model.form_of(exchange.ask.model)
            try:
                return await model.reply(exchange.ask.request())
            except ModelError as error:
                return error


@pytest.mark.parametrize(("recording", "exchange"), EXCHANGES)
def test_service_is_told_what_it_takes_and_read_right(
    recording: Recording, exchange: Exchange
) -> None:
    """What we send is what it takes, what it refuses is not sent again, what it answers is read."""
    player = Player(recording, exchange)
    came = asyncio.run(play(player))
    assert [body for _, body in player.asked] == [turn.sent for turn in exchange.turns]
    for (path, _), turn in zip(player.asked, exchange.turns, strict=True):
        assert turn.path in {"", path}
    if exchange.fails:
        assert isinstance(came, ERRORS[exchange.fails["error"]])
        assert getattr(came, "kind", "") == exchange.fails.get("kind", "")
        assert exchange.fails.get("says", "") in str(came)
    elif isinstance(came, ChatReply):
        fields = msgspec.structs.asdict(came)
        assert {name: fields[name] for name in exchange.read} == exchange.read
        assert exchange.read.keys() >= {"text", "finish", "cached_tokens", "reasoning_tokens"}
    else:
        assert {"form": came} == exchange.read


def test_every_kind_of_service_has_a_recording() -> None:
    """With its sources; what is no recording says so."""
    assert RECORDINGS.keys() == PROFILES.keys()
    for recording in RECORDINGS.values():
        assert recording.sources
        assert recording.origin.startswith(("recorded: ", "written after the documentation"))


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://me.openai.azure.com/openai/v1", "azure"),
        ("https://openrouter.ai/api/v1", "openrouter"),
        ("https://api.openai.com.example/v1", None),
        ("https://notopenrouter.ai/v1", None),
        ("http://localhost:8000/v1", None),
    ],
)
def test_some_services_are_known_by_their_address(url: str, kind: str | None) -> None:
    assert by_address(url) == kind


def test_what_is_told_of_a_service_is_not_asked_for() -> None:
    """The setting wins over what the service says it is, and over its address."""
    recording = RECORDINGS["vllm"]
    player = Player(recording, recording.exchanges[0])

    async def main() -> None:
        async with answering(player) as url:
            account = Account(key="sk-0123456789", url=url, service="ollama")
            async with OpenAIModel(account) as model:
                await model.recognise()
                assert model.profile is PROFILES["ollama"]

    asyncio.run(main())
    assert Account(key="k", url="https://openrouter.ai/api/v1", service="litellm").kind == "litellm"
