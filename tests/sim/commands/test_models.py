"""`billp models`: what is at hand, what is told of it, and what is asked of a service."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatReply, ChatRequest
from agents.models.remote.service import _listed
from agents.models.serving.server import Server
from sim.runs.at_hand import AtHand, asked
from tests.support.gguf import write_gguf
from tests.support.served import served
from tests.support.shell import Shell


def listed(text: str) -> dict[str, AtHand]:
    models = msgspec.json.decode(text, type=dict[str, list[AtHand]])["models"]
    return {one.model: one for one in models}


def test_files_are_listed_with_what_they_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Size, context, and what is to be typed before a base model can be used; rubbish is not."""
    chat = write_gguf(tmp_path / "chat.gguf")
    base = write_gguf(tmp_path / "base.gguf", tokenizer_chat_template="")
    (tmp_path / "rubbish.gguf").write_bytes(b"rubbish")
    found = listed(Shell(capsys).fine("models", "--folder", tmp_path, "--json"))
    one = found[f"local/{chat}"]
    assert (one.bytes, one.context, one.lacks) == (chat.stat().st_size, 2_048, "")
    assert "local.template" in found[f"local/{base}"].lacks
    assert [name for name in found if "rubbish" in name] == []


def test_the_table_is_legible_in_80_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """However long a name is: nothing of it is cut off."""
    write_gguf(tmp_path / f"{'long-' * 12}name.gguf")
    said = Shell(capsys, width=80).fine("models", "--folder", tmp_path)
    assert max(map(len, said.splitlines())) <= 80
    assert "…" not in said


def test_what_a_service_offers_is_listed_and_tried(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without being asked nobody can tell how it takes schemas and seeds."""
    with served(Server(EmbeddedModel(), names=("mine",))) as there:
        words = ("models", "--folder", tmp_path, "--base-url", there.url, "--json")
        assert listed(Shell(capsys).fine(*words))["openai/mine"].seeds == "?"
        assert not there.outcomes.total()
        Shell(capsys).fine(*words, "--ask")
        assert there.outcomes.total() == 4


@pytest.mark.parametrize(
    ("said", "context"),
    [
        ({"max_model_len": 4_096}, 4_096),
        ({"context_length": 8_192}, 8_192),
        ({"meta": {"n_ctx_train": 512}}, 512),
        ({"context_length": "long"}, 0),
        ({}, 0),
    ],
)
def test_the_context_is_read_wherever_a_service_says_it(said: object, context: int) -> None:
    """Each kind of service has a name of its own for it."""
    body = msgspec.json.encode({"data": [{"id": "m", **msgspec.to_builtins(said)}]})
    assert _listed(body) == [("m", context)]


class Heedless:
    """Says another thing each time."""

    told = 0

    async def reply(self, request: ChatRequest) -> ChatReply:
        self.told += 1
        return ChatReply(text=f"word {self.told}", prompt_tokens=1, completion_tokens=1)


def test_who_heeds_neither_schema_nor_seed_is_found_out() -> None:
    """Both are said to be no."""
    one = asyncio.run(asked(Heedless(), AtHand(model="openai/m", where="there")))
    assert (one.schemas, one.seeds) == ("no", "no")
