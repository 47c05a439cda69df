"""The chain of models: names, roles, the word before a run, and embeddings over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web

from agents.embeddings import hashed, to_unit
from agents.models.chain import (
    Chain,
    ModelSettings,
    RoleModel,
    Routed,
    linked,
    one_door,
    open_models,
)
from agents.models.embedded import EmbeddedModel
from agents.models.guards.budget import Allowances, Price
from agents.models.guards.limiter import Limits
from agents.models.guards.retrying import Attempt
from agents.models.model import ChatMessage, ChatReply, ChatRequest, Sampling
from agents.models.providers import Door, Way, check_model, plain_name
from agents.models.remote.embedder import ServiceEmbedder
from agents.models.remote.keys import VARIABLE
from agents.models.remote.vectors import decoded, embedding_request
from agents.models.serving.server import Behaviour, Server
from engine.calls import Call
from engine.errors import CallFailedError, ConfigError, ServiceError
from engine.records import Vector
from storage.vectors import VectorFile

ROLES = ("planner", "actor", "critic", "reflector")


@dataclass
class Named:
    """Says its own name."""

    name: str
    roles: list[str] = field(default_factory=list)

    async def reply(self, request: ChatRequest) -> ChatReply:
        self.roles.append(request.call.role)
        return ChatReply(text=self.name, prompt_tokens=1, completion_tokens=1)


def request(role: str = "planner", model: str = "embedded") -> ChatRequest:
    return ChatRequest(
        call=Call(0, 0, 0, 0, role, 0),
        sampling=Sampling(model=model),
        messages=(
            ChatMessage(role="system", content="You plan recommendations."),
            ChatMessage(role="user", content="## Question\nWrite the thought for step 0."),
        ),
        seed=1,
    )


def settings(
    url: str = "", *, key_file: str = "", embeddings: str = "", attempts: int = 6, **models: str
) -> ModelSettings:
    """Return settings in which all but *models* is `embedded`; services are at *url*."""
    way = Way(url=url, key_file=key_file)
    return ModelSettings(
        roles={role: RoleModel(model=models.get(role, "embedded"), way=way) for role in ROLES},
        embeddings=embeddings,
        way=way,
        attempts=attempts,
    )


def nobody(attempt: Attempt) -> None:
    """Observe nothing."""


@asynccontextmanager
async def chained(
    chosen: ModelSettings, observe: Callable[[Attempt], None] = nobody
) -> AsyncIterator[Chain]:
    async with open_models(chosen) as doors:
        with linked(doors, chosen, observe) as chain:
            yield chain


def opened(chosen: ModelSettings, *requests: ChatRequest) -> list[str]:
    """Return what the models say to *requests*."""

    async def main() -> list[str]:
        async with chained(chosen) as chain:
            return [(await chain.reply(asked)).text for asked in requests]

    return asyncio.run(main())


# -- names


@pytest.mark.parametrize("name", ["embedded", "openai/gpt-4o", "openai/org/model:7b"])
def test_models_that_are_known(name: str) -> None:
    """The built-in one, and whatever a service may offer."""
    check_model(name)
    assert plain_name(name) == name.removeprefix("openai/")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("embeded", "embedded"),
        ("Embedded", "embedded"),
        ("gpt-4o", "openai/gpt-4o"),
        ("openai/", "openai/NAME"),
        ("", "openai/NAME"),
    ],
)
def test_an_unknown_model_suggests_a_known_one(name: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=f"there is no model '{name}'") as caught:
        check_model(name)
    known = "Models are embedded, local/NAME, or openai/"
    assert caught.value.hint.startswith(f"did you mean {meant}? {known}")


def test_every_roles_model_is_checked() -> None:
    """Before anything is opened: there is no service at this address."""
    chosen = settings("http://127.0.0.1:9/v1", critic="openai/a", reflector="gpt-4o")
    with pytest.raises(ConfigError, match="no model 'gpt-4o'"):
        opened(chosen)


# -- routing


def test_each_call_goes_to_the_model_of_its_role() -> None:
    one, other = Named("one"), Named("other")
    routed = Routed({"planner": one, "actor": other, "critic": one})

    async def main() -> list[str]:
        return [(await routed.reply(request(role))).text for role in ("actor", "critic", "planner")]

    assert asyncio.run(main()) == ["other", "one", "one"]
    assert (one.roles, other.roles) == (["critic", "planner"], ["actor"])


def test_the_embedded_model_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a key nor a service."""
    monkeypatch.delenv(VARIABLE, raising=False)
    said = opened(settings(), *map(request, ROLES))
    assert said[:2] == ["Take what was never tried.", "recommend[anything]"]


def test_one_role_may_have_a_model_of_a_service() -> None:
    """The others stay in the process, and the service sees only what is its."""
    served = Named("served")

    async def main() -> list[str]:
        async with (
            Server(served, names=("strong",)) as url,
            chained(settings(url, critic="openai/strong")) as chain,
        ):
            asked = [request("critic", "strong"), request("actor")]
            return [(await chain.reply(one)).text for one in asked]

    assert asyncio.run(main()) == ["served", "recommend[anything]"]
    assert len(served.roles) == 2  # the word before the run, and the critic's call


# -- before a run


def test_an_unknown_name_stops_before_anything_else() -> None:
    """The service says what it offers; nobody is asked anything."""
    served = Named("served")

    async def main() -> None:
        async with (
            Server(served, names=("strong", "small")) as url,
            open_models(settings(url, critic="openai/strang")),
        ):
            raise AssertionError("the run began")

    with pytest.raises(ServiceError, match="has no model 'strang'") as caught:
        asyncio.run(main())
    assert caught.value.hint == "it offers small, strong"
    assert served.roles == []


def test_a_wrong_key_stops_before_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "sk-wrong")

    async def main() -> None:
        async with (
            Server(EmbeddedModel(), Behaviour(key="sk-right")) as url,
            open_models(settings(url, critic="openai/embedded")),
        ):
            raise AssertionError("the run began")

    with pytest.raises(ServiceError, match="refuses the key with 401"):
        asyncio.run(main())


def test_the_key_comes_from_the_environment_or_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A file goes before the environment."""
    path = tmp_path / "key"
    path.write_text("sk-right\n")
    monkeypatch.setenv(VARIABLE, "sk-wrong")

    async def main() -> None:
        async with Server(EmbeddedModel(), Behaviour(key="sk-right")) as url:
            chosen = settings(url, key_file=str(path), planner="openai/embedded")
            async with chained(chosen) as chain:
                await chain.reply(request())

    asyncio.run(main())


@pytest.mark.parametrize(
    "chosen",
    [settings(actor="openai/gpt-4o"), settings(embeddings="openai/text-embedding-3-small")],
)
def test_openais_own_service_wants_a_key(
    chosen: ModelSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For replies as for embeddings, and it is missed before anything is sent."""
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(ConfigError, match=f"no key in the environment variable {VARIABLE}"):
        opened(chosen)


# -- the chain


def test_a_call_is_tried_again_and_counted() -> None:
    """Retries, limiter and observer each see every attempt."""
    attempts: list[Attempt] = []

    async def main() -> tuple[ChatReply, Chain]:
        async with (
            Faulty(2).serving() as url,
            chained(settings(url, embeddings="openai/v"), attempts.append) as chain,
        ):
            return await chain.reply(embedding_request("v", "Emma")), chain

    reply, chain = asyncio.run(main())
    assert reply.attempts == 3
    assert [attempt.kind for attempt in attempts] == ["server", "server", None]
    assert chain.statistics().in_flight == 0
    assert chain.retrying.statistics().attempts == 3


def test_a_call_is_tried_as_often_as_it_is_allowed_to() -> None:
    async def main() -> None:
        async with (
            Faulty(100).serving() as url,
            chained(settings(url, embeddings="openai/v", attempts=3)) as chain,
        ):
            await chain.reply(embedding_request("v", "Emma"))

    with pytest.raises(CallFailedError, match="no reply after 3 attempts: "):
        asyncio.run(main())


def test_limits_that_a_service_states_are_known_before_the_first_call() -> None:
    """The word before the run tells them: those of a role's model and of the embeddings."""
    server = Server(
        EmbeddedModel(),
        Behaviour(requests_per_minute=90, tokens_per_minute=5_000),
        names=("one", "small"),
        embed=lambda text: [1.0, 0.0],
    )

    async def main() -> list[tuple[float | None, float | None]]:
        async with server as url:
            chosen = settings(url, embeddings="openai/small", critic="openai/one")
            async with chained(chosen) as chain:
                said = [limiter.statistics() for limiter in chain.limiters.values()]
                return [(one.requests_per_minute, one.tokens_per_minute) for one in said]

    assert sorted(asyncio.run(main()), key=str) == [(90, 5_000), (None, None)]


def test_no_more_calls_are_in_flight_than_allowed() -> None:
    """Over all roles: there is one account."""
    now = most = 0

    class Counting:
        async def reply(self, request: ChatRequest) -> ChatReply:
            nonlocal now, most
            now += 1
            most = max(most, now)
            await asyncio.sleep(0.001)
            now -= 1
            return ChatReply(text="", prompt_tokens=0, completion_tokens=0)

    async def main() -> None:
        few = ModelSettings(roles={}, limits=Limits(in_flight=3))
        with linked(one_door(Counting(), ROLES), few, nobody) as chain:
            await asyncio.gather(*(chain.reply(request(role)) for role in ROLES * 5))

    asyncio.run(main())
    assert most == 3


# -- embeddings


WORD = "OK"
"""What an embedding model is asked before a run."""


@dataclass
class Faulty:
    """A service of embeddings, [length of the text, −1], that *fails* before it answers.

    It always has an answer to the word before a run; *texts* are what else it was asked.
    """

    fails: int = 0
    texts: list[str] = field(default_factory=list)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        (text,) = (await request.json())["input"]
        if text != WORD:
            self.texts.append(text)
            if len(self.texts) <= self.fails:
                error = {"error": {"message": "ill"}}
                return web.json_response(error, status=503, headers={"retry-after-ms": "1"})
        data = [{"index": 0, "embedding": [len(text), -1]}]
        return web.json_response({"object": "list", "data": data})

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        runner = web.ServerRunner(web.Server(self.answer), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        finally:
            await runner.cleanup()


async def vectors(url: str, path: Path, *texts: str, attempts: int = 6) -> list[Vector]:
    """Return the vectors of *texts*, asked all at once through the whole chain."""
    chosen = settings(url, embeddings="openai/small", attempts=attempts)
    with closing(VectorFile(path)) as file:
        async with chained(chosen) as chain:
            embedder = ServiceEmbedder(chain, "small", file)
            return await asyncio.gather(*(embedder.embed([text]) for text in texts))


def expected(*texts: str) -> list[Sequence[int]]:
    """Return the vectors of the faulty service, as memories hold them."""
    return [to_unit(np.array([len(text), -1.0])).tolist() for text in texts]


def test_embeddings_come_over_http(tmp_path: Path) -> None:
    """Scaled to the length of keys and rounded, whatever numbers the service has."""
    server = Server(
        EmbeddedModel(), names=("small",), embed=lambda text: (hashed([text]) / 7.0).tolist()
    )

    async def main() -> list[Vector]:
        async with server as url:
            return await vectors(url, tmp_path / "vectors.jsonl", "Emma", "Dracula", "Emma")

    emma, dracula, again = asyncio.run(main())
    assert (emma == again).all()
    for vector, text in ((emma, "Emma"), (dracula, "Dracula")):
        assert vector.dtype == np.int8
        assert np.abs(vector.astype(int) - hashed([text])).max() <= 3  # rounded once more


def test_a_faulty_service_costs_attempts_and_no_vectors(tmp_path: Path) -> None:
    async def main() -> list[Vector]:
        async with Faulty(4).serving() as url:
            return await vectors(url, tmp_path / "vectors.jsonl", "Emma", "Dracula")

    assert [vector.tolist() for vector in asyncio.run(main())] == expected("Emma", "Dracula")


def test_a_service_that_stays_ill_gives_no_vector(tmp_path: Path) -> None:
    """After so many attempts; the run remembers that there is none."""
    path = tmp_path / "vectors.jsonl"

    async def main() -> None:
        async with Faulty(100).serving() as url:
            await vectors(url, path, "Emma", attempts=3)

    with pytest.raises(CallFailedError, match="no vector of the text: server"):
        asyncio.run(main())
    with closing(VectorFile(path)) as file:
        assert [entry.error for entry in file.known.values()] == ["server"]


def test_a_text_is_asked_for_once_in_two_runs(tmp_path: Path) -> None:
    """What the first run wrote the second reads."""
    service, path = Faulty(), tmp_path / "vectors.jsonl"

    async def main() -> list[Vector]:
        async with service.serving() as url:
            return [*await vectors(url, path, "Emma"), *await vectors(url, path, "Emma", "Eve")]

    first, second, _ = asyncio.run(main())
    assert service.texts == ["Emma", "Eve"]
    assert first.tolist() == second.tolist() == expected("Emma")[0]


@pytest.mark.parametrize("numbers", [[], [float("nan"), 1.0], [0.0, 0.0], [1.0] * 100_000], ids=len)
def test_what_is_no_vector_is_none(tmp_path: Path, numbers: list[float]) -> None:
    """Nothing that has no direction ever reaches a memory."""

    word = [1.0, *[0.0] * (max(2, len(numbers)) - 1)]

    def embed(text: str) -> list[float]:
        return word if text == WORD else numbers

    async def main() -> None:
        async with Server(EmbeddedModel(), names=("small",), embed=embed) as url:
            await vectors(url, tmp_path / "vectors.jsonl", "Emma", attempts=1)

    with pytest.raises(CallFailedError, match="no vector of the text: malformed"):
        asyncio.run(main())


def test_a_vector_of_another_length_is_asked_again(tmp_path: Path) -> None:
    """Once it has the length of the first there is no more to say."""
    lengths = iter([1, 3, 0])

    def embed(text: str) -> list[float]:
        return [1.0, 0.0] if text == WORD else [1.0, 0.0, 0.0, 0.0][: next(lengths, 2)]

    async def main() -> list[Vector]:
        async with Server(EmbeddedModel(), names=("small",), embed=embed) as url:
            return await vectors(url, tmp_path / "vectors.jsonl", "Emma")

    (emma,) = asyncio.run(main())
    assert emma.tolist() == [127, 0]


def test_an_unknown_embedding_model_stops_before_anything_else() -> None:
    async def main() -> None:
        async with (
            Server(EmbeddedModel(), names=("smell",), embed=lambda text: [1.0]) as url,
            open_models(settings(url, embeddings="openai/small")),
        ):
            raise AssertionError("the run began")

    with pytest.raises(ServiceError, match="has no model 'small'") as caught:
        asyncio.run(main())
    assert caught.value.hint == "it offers smell"


def test_a_key_that_is_refused_stops_the_run(tmp_path: Path) -> None:
    """A refusal is remembered by nobody: with the right key the text is asked again."""
    path = tmp_path / "vectors.jsonl"

    async def main() -> None:
        async with Server(EmbeddedModel(), Behaviour(key="sk-right")) as url:
            await vectors(url, path, "Emma")

    with pytest.raises(ServiceError, match="refuses the key with 401"):
        asyncio.run(main())
    assert path.read_bytes() == b""


def test_vectors_can_be_read_again() -> None:
    async def main() -> str:
        async with (
            Faulty().serving() as url,
            chained(settings(url, embeddings="openai/v")) as chain,
        ):
            return (await chain.reply(embedding_request("v", "Emma"))).text

    assert decoded(asyncio.run(main())).tolist() == expected("Emma")[0]


# -- tiers


def test_a_tier_is_a_way_of_its_own() -> None:
    """Roles of one account share its limits, whatever their tiers; only one goes in batches."""

    async def main() -> dict[str, Door]:
        async with Server(EmbeddedModel(), names=("m",)) as url:
            way = Way(url=url)
            roles = {
                "actor": RoleModel(model="openai/m", way=way),
                "critic": RoleModel(model="openai/m", way=replace(way, tier="batch")),
                "reflector": RoleModel(model="openai/m", way=replace(way, tier="flex")),
            }
            async with open_models(ModelSettings(roles=roles)) as doors:
                return doors

    doors = asyncio.run(main())
    assert len({door.account for door in doors.values()}) == 1
    assert [role for role, door in doors.items() if door.batches is not None] == ["critic"]


def test_what_goes_in_no_batch_is_paid_in_full() -> None:
    """Where there is no run to wait for one, calls are asked at once, at their own price."""
    prices = {"m": Price(prompt=1e6, completion=1e6)}
    allowances = Allowances(prices=prices, tiers={"critic": "batch", "actor": "flex"})
    chosen = replace(settings(), allowances=allowances)

    async def main() -> float:
        with linked(one_door(Named("x"), ROLES), chosen, nobody) as chain:
            await chain.reply(request("critic", "m"))
            await chain.reply(request("actor", "m"))
            return chain.budget.spent.cost

    assert asyncio.run(main()) == pytest.approx(3.0)
