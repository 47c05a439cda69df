"""`billp serve --model`: a model of this machine for whoever speaks the protocol."""

import json
import subprocess
import sys
from collections.abc import Iterator
from urllib.request import Request, urlopen

import pytest

from agents.models.model import ChatReply, ChatRequest, TransientError
from agents.models.serving.server import Server
from engine.errors import ModelError, ServiceError
from tests.support.gguf import real_model
from tests.support.served import served
from tests.support.shell import Shell

SCHEMA = {"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"]}


def post(url: str, **said: object) -> str:
    body = {"model": "smollm2", "messages": [{"role": "user", "content": "Tell."}], **said}
    headers = {"Content-Type": "application/json"}
    with urlopen(Request(f"{url}/chat/completions", json.dumps(body).encode(), headers)) as answer:
        text: str = json.load(answer)["choices"][0]["message"]["content"]
        return text


@pytest.fixture
def url() -> Iterator[str]:
    """Where a real model is served, one call at a time."""
    words = ["serve", "--model", real_model(), "--port", "0", "--set", "local.threads=1"]
    words += ["--set", "local.deterministic=true", "--set", "local.context=512"]
    command = [sys.executable, "-m", "billp", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split(" at ")[1].split()[0]
        process.terminate()
        assert "Answered: 4 replied" in process.communicate(timeout=60)[0]


@pytest.mark.slow
def test_a_model_of_this_machine_is_served(url: str) -> None:
    """Seed, temperature, length and schema reach it; the same call gets the same bytes."""
    said = [post(url, seed=seed, temperature=0.9, max_tokens=8) for seed in (1, 1, 2)]
    assert said[0] == said[1] != said[2]
    form = {"type": "json_schema", "json_schema": {"name": "reply", "schema": SCHEMA}}
    assert json.loads(post(url, response_format=form, max_tokens=40))["a"] in {"x", "y"}


class Failing:
    """Fails each call with one error."""

    def __init__(self, error: ModelError) -> None:
        self.error = error

    async def reply(self, request: ChatRequest) -> ChatReply:
        raise self.error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TransientError("busy", kind="rate_limit"), "429"),
        (TransientError("gone", kind="connection"), "503"),
        (ServiceError("no such model"), "502"),
    ],
)
def test_what_befalls_the_model_behind_is_passed_on(error: ModelError, status: str) -> None:
    """As a service says it: whoever asks knows whether to ask again."""
    with served(Server(Failing(error), names=("smollm2",))) as there:
        with pytest.raises(OSError, match=status):
            post(there.url)
        assert there.outcomes[status] == 1


def test_a_model_that_there_is_not_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is served."""
    said, hint = Shell(capsys).refusal("serve", "--model", "localy/smollm2", "--port", "0")
    assert said == "there is no model 'localy/smollm2'"
    assert hint.startswith("did you mean local/smollm2?")
