"""A run from elsewhere is data: it reaches nobody, and gets no key, unless the user says so.

Attackers here are services of their own, which keep all that they are sent.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from aiohttp import web

from agents.models.embedded import EmbeddedModel
from agents.models.remote.keys import VARIABLE
from agents.models.serving.server import Behaviour, Server
from sim.config.run import RunConfig
from sim.runs.trust import REACHING, reaching
from storage.runs import RunDirectory
from tests.support.dying import forked
from tests.support.served import Served, served
from tests.support.shell import Shell

KEY = "sk-of-the-user-0123456789"
OTHER = "sk-of-another-service-0123456789"
FEW = ("--episodes", "4", "--arrivals", "batches:2", "--set", "limit=4", "--set", "fsync=none")


class Noting(Server):
    """A service that keeps the headers of all that it is asked."""

    def __init__(self, answer: Callable[[], web.Response] | None = None, key: str = "") -> None:
        super().__init__(EmbeddedModel(), Behaviour(key=key))
        self.sent: list[str] = []
        self.answer = answer

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.sent += [f"{request.method} {request.path}: {dict(request.headers)}"]
        return await super()._answer(request) if self.answer is None else self.answer()


@dataclass
class Place:
    """Where things are done, the user's own service, and an attacker's."""

    shell: Shell
    here: Path
    own: Served
    mine: Noting
    attacker: Noting
    evil: str

    def unfinished(self, *how: str, calls: int = 20) -> Path:
        """Return a run with the user's own service that its budget stopped."""
        words = ("run", *FEW, *self.own.words, *how, "--max-calls", str(calls), "--out", "run")
        said = self.shell.billp(*words)
        assert said.status == 4, said
        return Path("run")

    def goes_on(self, *words: str) -> None:
        said = self.shell.billp("resume", "run", "--set", "max_calls=0", *words)
        assert said.status == 0, said

    def refused(self, *words: str | Path) -> tuple[str, str]:
        """Return sentence and hint of what is refused; nobody is asked anything."""
        before = len(self.mine.sent)
        sentence, hint = self.shell.refusal(*words)
        assert len(self.mine.sent) == before
        assert self.attacker.sent == []
        return sentence, hint


@contextmanager
def noting(server: Noting) -> Iterator[str]:
    with served(server) as remote:
        yield remote.url


@pytest.fixture
def place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, KEY)
    mine, attacker = Noting(key=KEY), Noting()
    with served(mine) as own, noting(attacker) as evil:
        yield Place(Shell(capsys), tmp_path, own, mine, attacker, evil)


def edit(run: Path, **settings: Any) -> None:
    """Let run.toml say something else, as whoever sends it can."""
    directory = RunDirectory(run)
    told = directory.read_config()
    for name, value in settings.items():
        role, _, setting = name.rpartition("__")
        (told[role] if role else told)[setting] = value
    directory.config.write_bytes(tomli_w.dumps(told).encode())


def test_a_run_made_here_goes_on_without_a_question(place: Place) -> None:
    """Also after it was moved, and with settings that were changed by the user."""
    place.unfinished()
    shutil.move("run", "elsewhere")
    shutil.copytree("elsewhere", "run")
    words = ("resume", "run", "--set", "max_calls=40", "--set", "concurrency=2")
    assert place.shell.billp(*words).status == 4
    place.goes_on()
    assert all(KEY in sent for sent in place.mine.sent)


@pytest.mark.parametrize("name", ["base_url", "critic__base_url", "reflector__base_url"])
def test_a_service_that_an_edited_run_names_gets_no_key(place: Place, name: str) -> None:
    """It is named in the refusal, and what to do about it."""
    run = place.unfinished()
    edit(run, **{name: place.evil})
    sentence, hint = place.refused("resume", run, "--set", "max_calls=0")
    dotted = name.replace("__", ".")
    assert sentence.startswith("run/run.toml: was not written here, or altered since, and ")
    assert f"{dotted} '{place.evil}'" in sentence
    assert "--trust" in hint
    assert KEY not in sentence + hint


@pytest.mark.parametrize("name", ["key_file", "actor__key_file", "cache", "azure_version"])
def test_other_ways_out_are_asked_for_as_well(place: Place, name: str) -> None:
    """A file of one line would be sent as a key; a cache would be made wherever it says."""
    Path("secret").write_text(OTHER)
    run = place.unfinished()
    edit(run, **{name: "secret"})
    sentence, _ = place.refused("resume", run, "--set", "max_calls=0")
    assert f"{name.replace('__', '.')} 'secret'" in sentence
    assert not any(OTHER in sent for sent in place.mine.sent)


def test_every_way_out_is_known() -> None:
    """Of the run and of each of its roles: whoever adds one finds it here."""
    names = {name for name, _ in reaching(RunConfig())}
    roles = ("planner", "actor", "critic", "reflector")
    assert names == REACHING | {f"{r}.{n}" for r in roles for n in ("base_url", "key_file")}


def test_a_models_file_is_asked_for_as_well() -> None:
    """It is read by a library that trusts it; a packaged model is the user's own."""
    foreign = RunConfig(model="local/evil.gguf")
    assert ("model", "local/evil.gguf") in list(reaching(foreign))
    assert "model" not in dict(reaching(RunConfig(model="local/smollm2")))


def test_a_run_without_its_proof_is_from_elsewhere(place: Place) -> None:
    """And one with somebody else's: each user has a secret of their own."""
    run = place.unfinished()
    proof = (run / ".origin").read_text()
    (run / ".origin").unlink()
    place.refused("resume", run)
    (run / ".origin").write_text("0" * 64)
    place.refused("resume", run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(place.here / "of another user"))
        (run / ".origin").write_text(proof)
        place.refused("resume", run)
    place.goes_on()


def test_who_names_a_service_is_heard(place: Place) -> None:
    """What else the run names does not count with it."""
    run = place.unfinished()
    edit(run, base_url=place.evil, critic__base_url=place.evil)
    mine = ("--set", f"base_url={place.own.url}")
    sentence, _ = place.refused("resume", run, *mine)
    assert " base_url" not in sentence
    assert f"critic.base_url '{place.evil}'" in sentence
    place.goes_on(*mine, "--set", "critic.base_url=")
    assert place.attacker.sent == []


def test_what_was_confirmed_is_known_from_then_on(place: Place) -> None:
    """The run is this machine's then; whoever confirms a service, sends it the key."""
    run = place.unfinished()
    edit(run, base_url=place.evil)
    assert place.shell.billp("resume", run, "--trust", "--set", "max_calls=25").status == 4
    assert all(KEY in sent for sent in place.attacker.sent)
    place.goes_on()


def test_what_a_refused_resume_left_is_still_from_elsewhere(place: Place) -> None:
    """Nothing signs what nobody confirmed, whoever answers the calls."""
    run = place.unfinished()
    edit(run, base_url=place.evil, model="embedded")
    place.refused("resume", run)
    place.refused("resume", run)


def test_forks_and_critics_ask_as_well(place: Place) -> None:
    """Whatever goes live from a run directory: a finished run is enough for them."""
    run = place.unfinished()
    place.goes_on()
    edit(run, base_url=place.evil)
    fork = ("fork", run, "--at", "1:0", "--say", "planner=Take Puzzle.", "--out", "fork")
    critic = ("critic", run, "--states", "3", "--rollouts", "2")
    for words in (fork, critic):
        assert place.evil in place.refused(*words)[0]
        assert place.shell.billp(*words, "--base-url", place.own.url).status == 0
    assert place.attacker.sent == []


def test_a_configuration_in_a_run_from_elsewhere_is_its_word(place: Place) -> None:
    """While any other file of settings is that of the user who names it."""
    run = place.unfinished()
    edit(run, base_url=place.evil)
    words = ("run", "--config", run / "run.toml", "--out", "again", "--quiet")
    assert place.evil in place.refused(*words)[0]
    assert place.shell.billp(*words, "--dry-run").status == 0
    assert place.attacker.sent == []
    shutil.copy(run / "run.toml", "mine.toml")
    said = place.shell.billp("run", "--config", "mine.toml", "--out", "again", "--quiet")
    assert said.status == 4
    assert place.attacker.sent


def test_looking_at_a_run_reaches_nobody(place: Place) -> None:
    """Nor opens a file of keys: this one would never give anything."""
    run = place.unfinished()
    place.goes_on()
    os.mkfifo("pipe")
    asked = len(place.mine.sent)
    edit(run, base_url=place.evil, key_file="pipe", critic__key_file="pipe", cache="cache")
    for words in (
        *(("replay", run), ("replay", run, "--episode", "1"), ("verify", run)),
        *(("show", run, "0"), ("show", run, "1:0", "--prompt", "actor"), ("trace", "cat", run)),
        *(("trace", "stats", run), ("diff", run, run), ("memory", run), ("show", run)),
        *(("show", run, "2"), ("show", run, "2", "--replayed"), ("resume", run)),
        ("compare", run, run),
    ):
        said = place.shell.billp(*words)
        assert (said.status, words[0]) in {(0, words[0]), (2, "compare"), (1, "verify")}, said
        assert "Traceback" not in said.err
    assert (place.attacker.sent, len(place.mine.sent)) == ([], asked)
    assert not Path("cache").exists()


def test_without_a_place_for_a_secret_all_works_and_is_said(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A home that cannot be written: then nothing can be known to be made here."""
    Path("no directory").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(place.here / "no directory"))
    run = place.unfinished()
    assert not (run / ".origin").exists()
    sentence, hint = place.refused("resume", run)
    assert "cannot be known to be written here" in sentence
    assert "no directory" in sentence
    assert "--trust" in hint
    place.goes_on("--trust")


def test_an_experiment_goes_on_without_a_question(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where nothing can be proven: whoever plans it names what its runs reach out by."""
    monkeypatch.setattr("sim.experiments.experiment._process", forked)
    Path("no directory").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(place.here / "no directory"))
    how = ["model=openai/embedded", f"base_url={place.own.url}", "limit=3", "critic.key_file=key"]
    Path("key").write_text(KEY)
    words = [*("experiment", "--agents", "billp", "--seeds", "1", "--out", "all")]
    words += [*("--episodes", "2", "--test-episodes", "2")]
    words += [word for setting in how for word in ("--set", setting)]
    stopped = place.shell.billp(*words, "--set", "max_calls=10")
    assert stopped.status == 4, stopped
    run = next(Path("all").glob("billp*"))
    edit(run, max_calls=0)
    assert place.shell.billp(*words).status == 0


# -- a key is for the service that it was given for


def test_a_role_elsewhere_gets_no_key_of_the_runs_service(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key in the run's file belongs to the service beside which it stands."""
    Path("key").write_text(OTHER)
    monkeypatch.delenv(VARIABLE)
    critics = Noting()
    runs = Noting(key=OTHER)
    with noting(runs) as url, noting(critics) as elsewhere:
        critic = ("critic.model=openai/embedded", f"critic.base_url={elsewhere}")
        how = ("--model", "openai/embedded", "--base-url", url, "--set", "key_file=key")
        single = [word for setting in critic for word in ("--set", setting)]
        said = place.shell.billp("run", *FEW, *how, *single, "--quiet", "--out", "roles")
    assert said.status == 0, said
    assert critics.sent
    assert all(OTHER in sent for sent in runs.sent)
    assert not any(OTHER in sent for sent in critics.sent)


def test_a_role_at_the_same_service_keeps_its_key(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another path of one host is the same service."""
    Path("key").write_text(KEY)
    monkeypatch.setenv(VARIABLE, OTHER)
    url = place.own.url.replace("/v1", "/other/v1")
    single = [f"critic.base_url={url}", "key_file=key"]
    words = [word for setting in single for word in ("--set", setting)]
    said = place.shell.billp("run", *FEW, *place.own.words, *words, "--quiet", "--out", "roles")
    assert said.status == 0, said
    assert any("/other/" in sent for sent in place.mine.sent)


@pytest.mark.parametrize("azure", [(), ("--set", "azure_version=2024-10-21")], ids=["", "azure"])
@pytest.mark.parametrize("status", [302, 308])
def test_a_redirection_is_not_followed(place: Place, status: int, azure: tuple[str, ...]) -> None:
    """Neither for a reply nor for the list of models: the key stays where it was sent."""

    def elsewhere() -> web.Response:
        return web.Response(status=status, headers={"Location": f"{place.evil}/chat/completions"})

    with noting(Noting(elsewhere)) as url:
        said = place.shell.billp("run", *FEW, "--model", "openai/x", "--base-url", url, *azure)
    assert said.status == 2
    assert place.attacker.sent == []


@pytest.mark.parametrize("azure", [(), ("--set", "azure_version=2024-10-21")], ids=["", "azure"])
def test_a_list_of_models_elsewhere_is_not_asked_for(place: Place, azure: tuple[str, ...]) -> None:
    """A service that knows no model sends who asks for its models to the attacker."""
    service = Noting()

    def answer() -> web.Response:
        if service.sent[-1].startswith("GET"):
            return web.Response(status=302, headers={"Location": f"{place.evil}/models"})
        error = {"error": {"message": "there is no such model", "code": "model_not_found"}}
        return web.json_response(error, status=404)

    service.answer = answer
    with noting(service) as url:
        said = place.shell.billp("run", *FEW, "--model", "openai/x", "--base-url", url, *azure)
    assert said.status == 2
    assert any(sent.startswith("GET") for sent in service.sent), (said, service.sent)
    assert place.attacker.sent == []
