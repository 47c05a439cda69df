"""The embedder that asks a service: once for each text of a run."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

import pytest

from agents.embeddings import hashed
from agents.models.model import ChatReply, ChatRequest
from agents.models.remote.embedder import ServiceEmbedder
from agents.models.remote.vectors import decoded, embedding_request, encoded
from engine.errors import CallFailedError, ServiceError
from engine.records import Vector
from storage.vectors import VectorEntry, VectorFile

T = TypeVar("T")


@dataclass
class Embeddings:
    """Answers the vector of a text when it is *open*; says *error* instead if there is one."""

    error: Exception | None = None
    open: asyncio.Event | None = None
    asked: list[ChatRequest] = field(default_factory=list)

    async def reply(self, request: ChatRequest) -> ChatReply:
        self.asked.append(request)
        await asyncio.sleep(0)
        if self.open is not None:
            await self.open.wait()
        if self.error is not None:
            raise self.error
        vector = hashed((request.messages[0].content,))
        return ChatReply(text=encoded(vector), prompt_tokens=0, completion_tokens=0)

    @property
    def texts(self) -> list[str]:
        return [request.messages[0].content for request in self.asked]


@pytest.fixture
def file(tmp_path: Path) -> Iterator[VectorFile]:
    with closing(VectorFile(tmp_path / "vectors.jsonl")) as file:
        yield file


def embedder(model: Embeddings, file: VectorFile) -> ServiceEmbedder:
    return ServiceEmbedder(model, "small", file)


def run(main: Callable[[], Awaitable[T]]) -> T:
    async def timed() -> T:
        async with asyncio.timeout(20):  # so that a hanging call fails its test
            return await main()

    return asyncio.run(timed())


def key(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()


async def settle() -> None:
    """Let every task go on as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_text_gets_the_vector_of_the_service(file: VectorFile) -> None:
    """Its lines are one text."""
    model = Embeddings()
    vector = run(lambda: embedder(model, file).embed(["Emma", "Dracula"]))
    assert vector.tolist() == hashed(("Emma\nDracula",)).tolist()
    assert model.asked == [embedding_request("small", "Emma\nDracula")]


def test_a_vector_survives_being_text() -> None:
    vector = hashed(("Emma",))
    assert decoded(encoded(vector)).tolist() == vector.tolist()


def test_a_text_is_asked_for_once(file: VectorFile) -> None:
    model = Embeddings()
    embedding = embedder(model, file)

    async def main() -> list[Vector]:
        return [await embedding.embed([text]) for text in ("Emma", "Emma", "Dracula", "Emma")]

    first, again, other, last = run(main)
    assert model.texts == ["Emma", "Dracula"]
    assert first.tolist() == again.tolist() == last.tolist() != other.tolist()


def test_identical_texts_in_flight_are_one_call(file: VectorFile) -> None:
    """Actor and critic want the same state at the same time."""
    model = Embeddings()
    embedding = embedder(model, file)

    async def main() -> list[Vector]:
        texts = ["Emma", "Dracula", "Emma", "Emma"]
        return await asyncio.gather(*(embedding.embed([text]) for text in texts))

    vectors = run(main)
    assert sorted(model.texts) == ["Dracula", "Emma"]
    assert vectors[0].tolist() == vectors[2].tolist() == vectors[3].tolist()


def test_who_gives_up_does_not_end_it_for_the_others(file: VectorFile) -> None:
    async def main() -> tuple[Vector, bool]:
        model = Embeddings(open=asyncio.Event())
        embedding = embedder(model, file)
        first, second = (asyncio.create_task(embedding.embed(["Emma"])) for _ in range(2))
        await settle()
        first.cancel()
        await settle()
        assert model.open is not None
        model.open.set()
        return await second, first.cancelled()

    vector, cancelled = run(main)
    assert cancelled
    assert vector.tolist() == hashed(("Emma",)).tolist()


def test_a_vector_is_written_before_it_is_used(file: VectorFile) -> None:
    """A resumed run must recall what the run recalled, whatever the service says today."""
    vector = run(lambda: embedder(Embeddings(), file).embed(["Emma"]))
    with closing(VectorFile(file.path)) as again:
        assert again.known == {
            key("Emma"): VectorEntry(
                text=key("Emma"), vector=encoded(vector), error=None, attempts=1
            )
        }


def test_what_was_written_is_not_asked_again(file: VectorFile) -> None:
    run(lambda: embedder(Embeddings(), file).embed(["Emma"]))
    later = Embeddings(error=AssertionError("nobody asks"))
    with closing(VectorFile(file.path)) as again:
        vector = run(lambda: embedder(later, again).embed(["Emma"]))
    assert vector.tolist() == hashed(("Emma",)).tolist()


def test_a_failure_is_remembered(file: VectorFile) -> None:
    """That there is no vector decides the run as well: it is so when asked again, and later."""
    model = Embeddings(error=CallFailedError("too long", kind="too_long"))
    for _ in range(2):
        with pytest.raises(CallFailedError, match="no vector of the text: too_long") as caught:
            run(lambda: embedder(model, file).embed(["Emma"]))
        assert caught.value.kind == "too_long"
    assert len(model.asked) == 1
    with closing(VectorFile(file.path)) as again:
        assert again.known[key("Emma")].error == "too_long"


def test_all_who_wait_hear_of_a_failure(file: VectorFile) -> None:
    model = Embeddings(error=CallFailedError("too long", kind="too_long"))
    embedding = embedder(model, file)

    async def main() -> list[Vector | BaseException]:
        waiting = (embedding.embed(["Emma"]) for _ in range(3))
        return await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(outcome) for outcome in run(main)] == [CallFailedError] * 3
    assert len(model.asked) == 1


def test_a_service_that_is_gone_is_not_remembered(file: VectorFile) -> None:
    """The run stops; whoever asks again asks the service, not the memory of it."""
    model = Embeddings(error=ServiceError("the key is refused"))
    embedding = embedder(model, file)

    async def main() -> Vector:
        with pytest.raises(ServiceError, match="the key is refused"):
            await embedding.embed(["Emma"])
        assert file.known == {}
        model.error = None
        return await embedding.embed(["Emma"])

    assert run(main).tolist() == hashed(("Emma",)).tolist()


@pytest.mark.parametrize("lines", [[], [""]])
def test_an_empty_text_is_asked_as_a_space(file: VectorFile, lines: list[str]) -> None:
    """Services take no empty text, and a user without a past has one."""
    model = Embeddings()
    run(lambda: embedder(model, file).embed(lines))
    assert model.texts == [" "]
    assert set(file.known) == {key("")}


def test_the_request_says_which_model_and_no_more() -> None:
    """Calls for vectors share one identity; the text is all that tells them apart."""
    one, other = embedding_request("small", "Emma"), embedding_request("small", "Dracula")
    assert (one.call, one.sampling.model) == (other.call, "small")
    assert one.call.role == "embedding"
    assert one.digest != other.digest


def test_pauses_differ_between_texts() -> None:
    """The seed is the text's: those that fail together do not come again together."""
    seeds = [embedding_request("small", text).seed for text in ("Emma", "Emma", "Dracula")]
    assert seeds[0] == seeds[1] != seeds[2]
    assert max(seeds) < 1 << 48


def test_vectors_of_another_length_stop_the_run(file: VectorFile) -> None:
    """Also those of a run that is resumed: they could not be compared with what it holds."""
    file.add(VectorEntry(text=key("Dracula"), vector="AQI=", error=None))
    with pytest.raises(ServiceError, match="small: expected vectors of 2 numbers, got 256"):
        run(lambda: embedder(Embeddings(), file).embed(["Emma"]))
    with closing(VectorFile(file.path)) as again:
        assert set(again.known) == {key("Dracula")}


@dataclass
class Null(Embeddings):
    """Answers vectors without direction."""

    async def reply(self, request: ChatRequest) -> ChatReply:
        return ChatReply(text="AAA=", prompt_tokens=0, completion_tokens=0)


def test_a_vector_without_direction_is_none(file: VectorFile) -> None:
    """A cache may hold one; a memory cannot."""
    with pytest.raises(CallFailedError, match="no vector of the text: malformed"):
        run(lambda: embedder(Null(), file).embed(["Emma"]))
    assert file.known[key("Emma")].error == "malformed"


def test_a_failure_that_is_forgotten_is_asked_again(file: VectorFile) -> None:
    model = Embeddings(error=CallFailedError("ill", kind="server"))
    with pytest.raises(CallFailedError):
        run(lambda: embedder(model, file).embed(["Emma"]))
    with closing(VectorFile(file.path, forgotten=file.path.stat().st_size)) as again:
        vector = run(lambda: embedder(Embeddings(), again).embed(["Emma"]))
    assert vector.tolist() == hashed(("Emma",)).tolist()
