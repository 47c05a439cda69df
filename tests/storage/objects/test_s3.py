"""S3's protocol, of a real server: there and back, and every refusal in one sentence."""

import os
import resource
import signal
import sys
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from time import sleep
from typing import Any

import pytest

from engine.errors import TransferError
from sim.cli import main
from sim.library.objects import pull, push
from storage.runs import RunDirectory
from tests.support.dying import in_own_process, living
from tests.support.objects import Bucket, bucket, environment, pulling, pushing
from tests.support.shell import Shell, tree
from tests.support.small import recorded

pytestmark = pytest.mark.slow

READ = ["s3:ListBucket", "s3:GetObject"]
LARGE = 100 << 20


@pytest.fixture(scope="module")
def server() -> Iterator[Bucket]:
    """A server that asks nobody for rights."""
    with bucket() as there:
        yield there


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A finished run; nobody writes to it."""
    return recorded(tmp_path_factory.mktemp("recorded") / "first", episodes=2)


@pytest.fixture
def anybody(server: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    be(environment(server.url), monkeypatch)


def be(whom: dict[str, str], patch: pytest.MonkeyPatch) -> None:
    """Be somebody with an environment."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        patch.delenv(name)
    for name, value in whom.items():
        patch.setenv(name, value)


@pytest.mark.usefixtures("anybody")
def test_a_run_comes_back_to_the_byte(run: RunDirectory, tmp_path: Path) -> None:
    sent = push(run.path, "s3://mine/back")
    assert push(run.path, "s3://mine/back").moved == 0
    pull(sent.address, tmp_path / "back")
    assert tree(tmp_path / "back") == {k: v for k, v in tree(run.path).items() if k != ".lock"}


def measured(work: Any) -> None:
    """Do *work*, and tell by how much more memory than before was in use at most."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    work()
    sys.stdout.write(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before}\n")


@pytest.mark.usefixtures("anybody")
def test_a_large_file_is_never_in_memory_whole(tmp_path: Path) -> None:
    """It goes in parts, and comes in pieces; a part is 8 MiB, and few are under way."""
    large = tmp_path / "large.html"
    with large.open("wb") as file:
        for number in range(LARGE >> 20):
            file.write(bytes([number]) * (1 << 20))
    for work in (
        partial(pushing, large, "s3://mine/large"),
        partial(pulling, "s3://mine/large/large.html", tmp_path / "back.html"),
    ):
        said = in_own_process(partial(measured, work), tmp_path / "words" / "any")
        assert said.status == 0, said
        assert int(said.out) << 10 < LARGE * 0.75
    assert (tmp_path / "back.html").read_bytes() == large.read_bytes()


@pytest.mark.usefixtures("anybody")
def test_a_push_that_is_killed_goes_on(server: Bucket, tmp_path: Path) -> None:
    """SIGKILL when the first objects are there, as their keys tell."""
    run = recorded(tmp_path / "killed", episodes=2)
    with (run.path / "more.bin").open("wb") as file:
        file.truncate(LARGE)
    run.manifest.unlink()  # so that it is whole with one file more
    with living(partial(pushing, run.path, "s3://mine/runs"), tmp_path / "dead" / "any") as process:
        while not any(key.startswith("runs/killed/files/") for key in server.objects()):
            sleep(0.01)
        process.send(signal.SIGKILL)
        assert process.ended().status == -signal.SIGKILL
    with pytest.raises(TransferError, match="the push of it did not come to its end"):
        pull("s3://mine/runs/killed", tmp_path / "back")
    sent = push(run.path, "s3://mine/runs")
    assert 0 < sent.moved < sent.files
    assert pull(sent.address, tmp_path / "back").digest == sent.digest


@pytest.mark.usefixtures("anybody")
def test_a_bucket_that_is_not_there_is_named(
    run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    sentence, _ = Shell(capsys).refusal("push", run.path, "s3://nobody/runs")
    assert sentence.endswith("there is no bucket 'nobody'")


def test_who_has_no_right_is_told_so(
    run: RunDirectory,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A reader may pull, and may not push; who has no right may do neither, nor may a forger."""
    with bucket(writer=[*READ, "s3:PutObject"], reader=READ, stranger=["s3:ListBucket"]) as there:
        there.guard()
        shell = Shell(capsys)
        be(there.of("writer"), monkeypatch)
        shell.fine("push", run.path, "s3://mine/runs")
        be(there.of("reader"), monkeypatch)
        shell.fine("pull", "s3://mine/runs/first", tmp_path / "back")
        denied, _ = shell.refusal("push", run.path, "s3://mine/others")
        be(there.of("stranger"), monkeypatch)
        unseen, _ = shell.refusal("pull", "s3://mine/runs/first", tmp_path / "other")
        be(there.of("writer") | {"AWS_SECRET_ACCESS_KEY": "forged"}, monkeypatch)
        forged, hint = shell.refusal("pull", "s3://mine/runs/first", tmp_path / "other")
    assert denied.endswith("cannot be written: these credentials have no right to it")
    assert unseen.endswith("cannot be read: these credentials have no right to it")
    assert forged.endswith("the credentials are refused")
    assert "AWS_ACCESS_KEY_ID" in hint


class Elsewhere(BaseHTTPRequestHandler):
    """Says what S3 says of a bucket in another region, and tells what it was sent."""

    def do_GET(self) -> None:
        sent = self.headers.get("Authorization", "")
        body = f"<Error><Code>AuthorizationHeaderMalformed</Code><Message>{sent}</Message></Error>"
        self.send_response(400)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def elsewhere() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as there:
        thread = Thread(target=there.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{there.server_port}"
        there.shutdown()
        thread.join()


def test_a_bucket_of_another_region_is_told(
    run: RunDirectory,
    elsewhere: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    be(environment(elsewhere), monkeypatch)
    sentence, hint = Shell(capsys).refusal("push", run.path, "s3://mine/runs")
    assert sentence.endswith("the bucket is in another region")
    assert hint == "set AWS_REGION to that of the bucket"


def test_no_key_is_told_to_anybody(
    run: RunDirectory, elsewhere: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor with --debug, when the service says it again; and it is written nowhere."""
    be(environment(elsewhere, key="KEYKEY", secret="SECRETSECRET"), monkeypatch)
    for words in (
        ["push", str(run.path), "s3://mine/runs", "--debug"],
        ["pull", "s3://mine/runs/first", str(tmp_path / "back"), "--debug"],
    ):
        said = in_own_process(partial(main, words), tmp_path / "words" / "any")
        assert said.status != 0
        assert "TransferError" in said.err
        assert not {"KEYKEY", "SECRETSECRET"} & {*said.err.replace("/", " ").split()}
        assert "KEYKEY" not in said.err + said.out
    everything = b"".join(filter(None, tree(tmp_path).values()))
    assert b"KEYKEY" not in everything
    assert b"SECRETSECRET" not in everything
