"""Keys are never written: not to a run's directory, a cache, a log, an error or the screen.

Everything that was written or said is searched for any piece of them.
"""

import base64
import sqlite3
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import zstandard
from aiohttp import web

from agents.embeddings import hashed
from agents.models.embedded import EmbeddedModel
from agents.models.remote.keys import VARIABLE
from agents.models.serving.faults import Faults
from agents.models.serving.server import Behaviour, Server
from engine.errors import BillpError
from sim.cli import main
from storage.runs import RunDirectory
from tests.support.served import Served, served
from tests.support.shell import Shell

KEY = "sk-proj-7hV2mQx9Lw4TzR8cYb3NkP6sDf1GjA5eUoI0vXqWnBt"
OTHER = "sk-live-pE4rTy8UiQ2oWa6SdFg0HjKl3ZxCv9BnM7mNbVcXzLk"
WRONG = "sk-none-c0RrEcT1sN0tWhAtTh1sK3y1s8SoItMayB3Sa1dHere"
_PIECE = 10  # characters of a key that nothing else has


# -- the search


def forms(key: str) -> Iterator[bytes]:
    """Yield all pieces of a key, and how they look in base64 and in hexadecimal digits."""
    secret = key[8:].encode()
    for start in range(len(secret) - _PIECE + 1):
        yield secret[start : start + _PIECE]
    for start in range(3):
        yield base64.b64encode(secret[start:])[:16]
    yield secret.hex().encode()[:20]


def texts(path: Path) -> Iterator[bytes]:
    """Yield what a file holds: as it is, unpacked, as a database tells it."""
    content = path.read_bytes()
    yield content
    if content.startswith(zstandard.FRAME_HEADER):
        with path.open("rb") as file:
            reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
            yield reader.read()
    if content.startswith(b"SQLite format 3"):
        with closing(sqlite3.connect(path)) as connection:
            yield "\n".join(connection.iterdump()).encode()


def places(directory: Path) -> list[str]:
    """Return the files in *directory*, and names of files, in which a key can be read."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    return sorted(
        str(path.relative_to(directory))
        for path in files
        if shows(str(path).encode()) or any(map(shows, texts(path)))
    )


def shows(text: bytes) -> bool:
    """Tell whether a piece of a key can be read in *text*."""
    return any(form.lower() in text.lower() for key in (KEY, OTHER, WRONG) for form in forms(key))


def test_the_search_finds_a_key(tmp_path: Path) -> None:
    """Or a piece of it, in whatever kind of file."""
    (tmp_path / "cut.txt").write_text(f"your key {KEY[:20]}… is wrong")
    (tmp_path / "basic.txt").write_bytes(base64.b64encode(f"Bearer {OTHER}".encode()))
    frames = [zstandard.compress(text.encode()) for text in ("nothing here", f"but {KEY}")]
    (tmp_path / "prompts.zst").write_bytes(b"".join(frames))
    with closing(sqlite3.connect(tmp_path / "cache.sqlite")) as connection:
        connection.execute("CREATE TABLE replies (text)")
        connection.execute("INSERT INTO replies VALUES (?)", (f"{WRONG} " * 5_000,))
        connection.commit()
    (tmp_path / "innocent.txt").write_text("sk-proj-… sk-live-… sk-none-…")
    assert places(tmp_path) == ["basic.txt", "cache.sqlite", "cut.txt", "prompts.zst"]


# -- a run and all that is done with it


@dataclass
class Life:
    """What was done in a directory, and all that was said."""

    shell: Shell
    here: Path
    said: list[str] = field(default_factory=list)

    def billp(self, *words: str | Path, status: int = 0) -> str:
        """Do something that ends with *status*; return what it said to standard output."""
        said = self.shell.billp(*words)
        self.said += [said.out, said.err]
        assert said.status == status, said
        return said.out

    def debugged(self, *words: str) -> None:
        """Do something that fails, with all that Python tells of the error."""
        with pytest.raises(BillpError) as caught:
            main([*words, "--debug"])
        captured = self.shell.capsys.readouterr()
        trace = "".join(traceback.format_exception(caught.value))
        self.said += [captured.out, captured.err, trace, repr(caught.value), caught.value.hint]

    def check(self) -> None:
        """Assert that no key can be read anywhere."""
        assert places(self.here) == []
        assert not shows("\n".join(self.said).encode())


@pytest.fixture
def life(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Life:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.delenv(VARIABLE, raising=False)
    return Life(Shell(capsys), here)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Key files, outside of what is searched."""
    for key in (KEY, OTHER, WRONG):
        (tmp_path / key[3:7]).write_text(f"{key}\n")
    return {key: tmp_path / key[3:7] for key in (KEY, OTHER, WRONG)}


RATES = {"rate_limit_told": 0.15, "error": 0.02, "cut": 0.02}


def service(key: str, **rates: float) -> Server:
    """Return a service that takes one key and shows faults."""
    return Server(
        EmbeddedModel(),
        Behaviour(key=key, faults=Faults(rates=rates, retry_after=0.02)),
        names=("embedded", "hashing"),
        embed=lambda text: hashed(text.splitlines()).tolist(),
    )


FEW = ("--episodes", "4", "--arrivals", "batches:2", "--set", "limit=4", "--set", "fsync=none")
LOUD = ("--log-level", "debug", "--log-format", "json")


def live(life: Life, *how: str) -> None:
    """Run with a cache, stop, go on; then do all that can be done with a run."""
    stopped = ("--cache", "cache", "--max-calls", "20", "--out", "run")
    life.billp("run", *FEW, *how, *LOUD, *stopped, status=4)
    life.billp("resume", "run", "--set", "max_calls=0", *LOUD)
    life.billp("run", *FEW, *how, "--cache", "cache", "--json", "--out", "again")
    life.billp("fork", "run", "--at", "2:0", "--say", "planner=Take Puzzle.", "--out", "fork")
    for command in ("verify", "replay"):
        for run in ("run", "fork"):
            life.billp(command, run)
    life.billp("replay", "run", "--prompt", "1:0:planner")
    life.billp("show", "run", "1")
    life.billp("show", "run", "1:0")
    life.billp("trace", "cat", "run")
    life.billp("diff", "run", "fork", status=1)
    life.billp("cache", "stats", "cache")
    life.billp("run", "--dry-run", *FEW, *how)


def words(service: Served) -> tuple[str, ...]:
    return (*service.words, "--set", "attempts=12", "--set", "embeddings=openai/hashing")


def test_a_key_from_the_environment_is_nowhere(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """With faults, retries, debug logs, a cache, embeddings, a budget; stopped, resumed, forked."""
    monkeypatch.setenv(VARIABLE, KEY)
    with served(service(KEY, **RATES)) as remote:
        live(life, *words(remote))
    assert remote.answered > 20
    assert remote.outcomes["429"]
    life.check()


def test_a_key_from_a_file_is_nowhere(life: Life, files: dict[str, Path]) -> None:
    """run.toml names the file, so that the run can go on; the key stays in it."""
    with served(service(KEY, **RATES)) as remote:
        live(life, *words(remote), "--set", f"key_file={files[KEY]}")
    assert RunDirectory(Path("run")).read_config()["key_file"] == str(files[KEY])
    life.check()


def test_keys_of_roles_are_nowhere(
    life: Life, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The critic's service has another key, from a file of its own."""
    monkeypatch.setenv(VARIABLE, KEY)
    with served(service(KEY, **RATES)) as remote, served(service(OTHER, **RATES)) as critics:
        critic = {"model": "openai/embedded", "base_url": critics.url, "key_file": files[OTHER]}
        single = [("--set", f"critic.{name}={value}") for name, value in critic.items()]
        live(life, *words(remote), *(word for pair in single for word in pair))
    assert remote.answered > 10
    assert critics.answered > 10
    life.check()


def test_a_resumed_run_needs_the_key_again(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """Since nobody has kept it."""
    monkeypatch.setenv(VARIABLE, KEY)
    with served(service(KEY)) as remote:
        life.billp("run", *FEW, *remote.words, "--max-calls", "20", "--out", "run", status=4)
        monkeypatch.delenv(VARIABLE)
        life.billp("resume", "run", "--set", "max_calls=0", status=2)
        assert "refuses the key with 401" in life.said[-1]
        monkeypatch.setenv(VARIABLE, KEY)
        life.billp("resume", "run", "--set", "max_calls=0")
    life.check()


# -- keys that are refused, and services that tell


def test_a_refused_key_is_nowhere(
    life: Life, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither at the start nor in the middle, in a file or in the environment, nor with --debug."""
    monkeypatch.setenv(VARIABLE, WRONG)
    with served(service(KEY)) as remote:
        begin = ("run", *FEW, *remote.words)
        life.billp(*begin, status=2)
        life.debugged(*begin)
        life.debugged(*begin, "--set", "embeddings=openai/hashing", "--set", "model=embedded")
        life.debugged(*begin, "--set", f"key_file={files[OTHER]}")
        monkeypatch.setenv(VARIABLE, KEY)
        life.billp(*begin, "--max-calls", "20", "--out", "run", status=4)
        monkeypatch.setenv(VARIABLE, WRONG)
        life.debugged("resume", "run", "--set", "max_calls=0")
    assert remote.outcomes["401"] == 5
    life.check()


@pytest.mark.parametrize("content", [f"{KEY} {OTHER}", f"{KEY}\n{OTHER}", f"{KEY}é", f"{KEY}\0"])
def test_what_is_no_key_is_not_shown(life: Life, files: dict[str, Path], content: str) -> None:
    """Two of them, or one with something else in it."""
    files[KEY].write_text(content)
    with served(service(KEY)) as remote:
        life.debugged("run", *FEW, *remote.words, "--set", f"key_file={files[KEY]}")
    assert "the key is not one line of plain characters" in life.said[2]
    assert not remote.outcomes
    life.check()


Telling = Callable[[str], web.Response]


def telling(status: int, **error: str) -> Telling:
    """Return an answer that quotes all that was sent in its complaint."""

    def answer(sent: str) -> web.Response:
        message = f"{error.get('message', '')} you sent {sent}"
        return web.json_response({"error": {**error, "message": message}}, status=status)

    return answer


def in_place_of_json(sent: str) -> web.Response:
    return web.Response(text=f"<html>You sent {sent}")


def elsewhere(sent: str) -> web.Response:
    return web.Response(status=302, headers={"Location": f"http://127.0.0.1:1/?{KEY}"}, text=sent)


TELLING = {
    "400": telling(400),
    "400 content filter": telling(400, code="content_filter"),
    "401": telling(401, message="Incorrect API key provided:"),
    "402": telling(402),
    "403": telling(403),
    "404": telling(404),
    "404 model": telling(404, code="model_not_found"),
    "408": telling(408),
    "413": telling(413),
    "422": telling(422, param="key", message="unsupported"),
    "429": telling(429),
    "429 quota": telling(429, code="insufficient_quota"),
    "500": telling(500),
    "200 without JSON": in_place_of_json,
    "302": elsewhere,
}


class Quoting(Server):
    """A service that, from the tenth call on, tells everybody what headers it was sent."""

    def __init__(self, tell: Telling) -> None:
        super().__init__(EmbeddedModel(), Behaviour(key=KEY))
        self.tell = tell

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.outcomes["replied"] < 10:
            return await super()._answer(request)
        self.outcomes["told"] += 1
        return self.tell("; ".join(f"{name}: {value}" for name, value in request.headers.items()))


@pytest.mark.parametrize("tell", TELLING)
def test_what_a_service_quotes_is_nowhere(life: Life, files: dict[str, Path], tell: str) -> None:
    """Services do quote keys in their errors: what we tell of them does not."""
    with served(Quoting(TELLING[tell])) as remote:
        how = (*remote.words, "--set", f"key_file={files[KEY]}", "--set", "attempts=1")
        status = 3 if tell in PASSING else 2
        life.billp("run", *FEW, *how, *LOUD, "--out", "run", status=status)
        if status == 2:
            life.debugged("resume", "run")
        else:
            life.billp("show", "run", "0")
    assert remote.outcomes["told"]
    life.check()


PASSING = {"400", "400 content filter", "408", "413", "422", "500", "200 without JSON"}
"""Those that cost the call and its episode; others stop the run."""


# -- other ways by which secrets come in


ADDRESSES = (
    *("{}/v1?api-key={}", "{}/v1?api-version=1&sig={}", "{}/v1?code={}#x", "{}/v1#token={}"),
    *("http://user:{1}@host/v1", "{1}@host/v1", "http:/{1}@[host/v1", "//u:{1}@host", "{}?{}"),
)


@pytest.mark.parametrize("form", ADDRESSES)
def test_a_secret_in_an_address_is_refused(life: Life, form: str) -> None:
    """Addresses are written into files; in a role, in a file, in a run that is forked as well."""
    with served(service(KEY)) as remote:
        url = form.format(remote.url.removesuffix("/v1"), KEY)
        Path("my.toml").write_text(f'[critic]\nbase_url = "{url}"\n')
        for words in (
            ("run", *FEW, "--model", "openai/embedded", "--base-url", url),
            ("run", *FEW, "--set", f"actor.base_url={url}"),
            ("run", "--config", "my.toml"),
            ("run", "--dry-run", "--base-url", url),
            ("experiment", "--set", f"base_url={url}", "--out", "experiment"),
        ):
            life.billp(*words, status=2)
            life.debugged(*words)
    assert not remote.outcomes
    Path("my.toml").unlink()  # the user's own
    life.check()


@pytest.mark.parametrize("form", ["http://u:{}@[::", "http://u:{}@127.0.0.1:99999", "u:{}@h:9"])
def test_a_password_of_a_proxy_that_is_none_is_nowhere(
    life: Life, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, form.format(KEY))
    begin = ("run", *FEW, "--model", "openai/x", "--base-url", "http://service.invalid/v1")
    life.debugged(*begin)
    assert "the address of the proxy cannot be used" in "".join(life.said)
    life.check()


@pytest.mark.parametrize("status", [200, 403, 407, 502])
def test_a_password_of_a_proxy_is_nowhere(
    life: Life, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that quotes what it was sent, and one that serves."""
    monkeypatch.setenv(VARIABLE, OTHER)
    proxy = Proxy(status)
    with served(proxy) as remote:
        host = remote.url.removeprefix("http://").removesuffix("/v1")
        for name in ("HTTP_PROXY", "http_proxy"):
            monkeypatch.setenv(name, f"http://user:{KEY}@{host}")
        how = ("--model", "openai/embedded", "--base-url", "http://service.invalid/v1")
        begin = ("run", *FEW, *how, *LOUD, "--out", "run")
        if status == 200:
            life.billp(*begin)
        else:
            life.debugged(*begin)
    assert proxy.passwords == {KEY}
    life.check()


class Proxy(Server):
    """A proxy that is the service itself, and quotes what it was sent if it does not serve."""

    def __init__(self, status: int) -> None:
        super().__init__(EmbeddedModel(), Behaviour(key=OTHER))
        self.status = status
        self.passwords: set[str] = set()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        sent = request.headers.get("Proxy-Authorization", "")
        self.passwords.add(base64.b64decode(sent.removeprefix("Basic ")).decode().split(":")[1])
        if self.status == 200:
            return await super()._answer(request)
        return telling(self.status)(f"{sent} and {KEY} and {dict(request.headers)}")


def test_headers_of_the_users_own_are_nowhere(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that the SDK takes from the environment."""
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"X-Gateway: {OTHER}")
    monkeypatch.setenv("OPENAI_ORG_ID", f"org-{WRONG}")
    monkeypatch.setenv(VARIABLE, KEY)
    with served(Quoting(TELLING["429"])) as remote:
        begin = ("run", *FEW, *remote.words, *LOUD, "--set", "attempts=1", "--out", "run")
        life.debugged(*begin)
        life.debugged("resume", "run")
    assert remote.outcomes["told"]
    life.check()


@pytest.mark.parametrize("place", ["http://127.0.0.1:9", "http://user:{}@127.0.0.1:9/x?key={}"])
def test_headers_of_telemetry_are_nowhere(
    life: Life, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor a secret in the address of who takes the spans; the run is none the worse."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", place.format(KEY, KEY))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"authorization=Bearer {OTHER}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    life.billp("run", *FEW, *LOUD, "--otel", "--out", "run")
    life.check()


def test_a_key_is_nowhere_in_an_experiment(
    life: Life, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its runs are processes, which are told of configurations by files."""
    monkeypatch.setenv(VARIABLE, KEY)
    with served(service(KEY, **RATES)) as remote, served(service(OTHER)) as critics:
        how = [f"base_url={remote.url}", "model=openai/embedded", "limit=3", "cache=cache"]
        how += [f"critic.base_url={critics.url}", f"critic.key_file={files[OTHER]}"]
        single = [word for setting in how for word in ("--set", setting)]
        size = ("--episodes", "2", "--test-episodes", "2")
        life.billp(
            *("experiment", "--agents", "billp", "--seeds", "1", *size, *single, "--out", "all")
        )
    assert remote.answered
    assert critics.answered
    life.check()
