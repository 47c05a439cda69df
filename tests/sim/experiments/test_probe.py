"""Certificates: what is found of models that say the same, or something else, or nothing."""

from dataclasses import dataclass
from pathlib import Path

import anyio
import msgspec
import pytest

from agents.models.chain import ModelSettings, RoleModel
from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatModel, ChatReply, ChatRequest
from agents.models.providers import Way
from agents.models.serving.server import Server
from engine.errors import CallFailedError, ConfigError
from sim.config.run import RunConfig
from sim.experiments.probe import Asked, probe
from sim.metrics.certificate import Certificate, Difference, first_difference, read_certificate
from sim.runs.run import run
from sim.views.certificate import certificate_view
from storage.runs import open_run
from tests.support.gguf import real_model
from tests.support.served import served
from tests.support.shell import Shell

CALLS = 4


@dataclass
class Fickle:
    """Says the same to so many calls, then something else; and nothing to user 2, if *mute*."""

    calls: int
    mute: bool = False

    async def reply(self, request: ChatRequest) -> ChatReply:
        text = request.messages[-1].content
        if text.startswith("User"):
            self.calls -= 1
        if self.mute and text.startswith("User 2"):
            raise CallFailedError("not that one", kind="refused")
        last = "now" if self.calls < 0 else "then"
        return ChatReply(text=f"as I said {last}", prompt_tokens=1, completion_tokens=1)


def found(model: ChatModel, levels: tuple[int, ...] = (1, 2)) -> Certificate:
    """Return what is found of *model*, asked over HTTP."""
    with served(Server(model)) as there:
        role = RoleModel(model="openai/embedded", way=Way(url=there.url))
        settings = ModelSettings(roles={"stranger": role}, attempts=1)
        asked = Asked(role="stranger", settings=settings, calls=CALLS, levels=levels)
        return anyio.run(probe, asked, lambda _: None)


def test_a_model_that_says_the_same_is_certified() -> None:
    """At every level, cold and warm, and a sentence that promises no more than was seen."""
    certificate = found(EmbeddedModel())
    assert [one.agree for one in certificate.passes] == [CALLS] * 4
    assert (certificate.sure, certificate.passes[-1].cold) == (2, False)
    assert certificate.says.endswith("as far as 4 calls show.")


def test_it_is_told_from_which_level_on_replies_differ() -> None:
    """And at which word: here the fourth, from the third pass on."""
    certificate = found(Fickle(2 * CALLS))
    assert [one.agree for one in certificate.passes] == [CALLS, CALLS, 0, 0]
    assert certificate.passes[2].differs == Difference(call=0, word=3)
    assert (certificate.sure, "up to 1 in flight only" in certificate.says) == (1, True)


def test_a_model_that_never_says_the_same_is_told() -> None:
    """A seed is no promise there; of a model of this machine it is said what makes it one."""
    certificate = found(Fickle(CALLS))
    local = msgspec.structs.replace(certificate, settings={"deterministic": False})
    assert "local.deterministic=true" in str(certificate_view(local).renderables[-1])
    assert (certificate.sure, "Not even with 1 in flight" in certificate.says) == (0, True)


def test_calls_that_fail_agree_with_nothing() -> None:
    """They are counted apart, and differ nowhere."""
    one = found(Fickle(1_000, mute=True)).passes[0]
    assert (one.agree, one.failed, one.differs) == (CALLS - 1, 1, None)


@pytest.mark.parametrize(
    ("one", "other", "place"), [("a b c", "a x c", 1), ("a", "a b", 1), ("a b", "a  b", 1)]
)
def test_the_first_difference_is_counted_in_words(one: str, other: str, place: int) -> None:
    """A blank more is a difference, too: bytes are compared."""
    assert first_difference(one, other) == place


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of the embedded model, as the command line writes it."""
    path = tmp_path / "found.json"
    path.write_bytes(msgspec.json.encode(found(EmbeddedModel())))
    return path


def test_a_run_keeps_what_its_certificate_says(certificate: Path, tmp_path: Path) -> None:
    """The sentence and the digest of the file; the trace knows nothing of it."""
    told = run(RunConfig(episodes=1, limit=1, certificate=str(certificate)), out=tmp_path / "run")
    known, digest = read_certificate(certificate)
    assert told.certificate == {"model": "embedded", "says": known.says, "sha256": digest}
    assert open_run(tmp_path / "run").read_summary()["certificate"] == told.certificate
    assert run(RunConfig(episodes=1, limit=1), out=tmp_path / "plain").digest == told.digest


def test_a_certificate_of_another_model_is_refused(certificate: Path, tmp_path: Path) -> None:
    """Before anything is written; and so is a file that is none."""
    certificate.write_bytes(certificate.read_bytes().replace(b'"embedded"', b'"other"'))
    for content, why in ((None, "is of 'other'"), (b"{}", "not a certificate")):
        certificate.write_bytes(content or certificate.read_bytes())
        with pytest.raises(ConfigError, match=why):
            run(RunConfig(certificate=str(certificate)), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_command_writes_what_a_run_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table, a sentence, and a file."""
    path = tmp_path / "found.json"
    words = ("probe", "embedded", "--calls", "3", "--in-flight", "2,1", "--out", path)
    said = Shell(capsys, width=80).fine(*words)
    certificate, _ = read_certificate(path)
    assert certificate.says in " ".join(said.split())
    assert [one.in_flight for one in certificate.passes] == [1, 1, 2, 2]
    refusal = Shell(capsys).refusal("probe", "embedded", "--in-flight", "1,none")
    assert refusal == ("expected numbers of calls, got '1,none'", "--in-flight 1,4,16")


@pytest.mark.slow
def test_a_model_that_computes_one_call_at_a_time_is_certified(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With `local.deterministic`, whatever is in flight; the certificate names the file."""
    path = tmp_path / "found.json"
    local = ("threads=1", "context=1024", "deterministic=true")
    settings = [word for one in local for word in ("--set", f"local.{one}")]
    size = ("--calls", "2", "--in-flight", "1,8", "--max-tokens", "8")
    Shell(capsys).fine("probe", real_model(), *size, *settings, "--out", path)
    certificate, _ = read_certificate(path)
    assert [(one.agree, one.at_once) for one in certificate.passes] == [(2, 1)] * 4
    assert set(certificate.digests) == {"smollm2"}
