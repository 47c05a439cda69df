"""Episodes evaluated by workers in a Ray cluster: nothing that comes of a run tells of it."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from subprocess import PIPE

import pytest
from structlog.testing import capture_logs

from agents.models.model import ChatRequest
from engine.errors import ServiceError
from sim.config.layers import configured
from sim.runs.resume import resume
from sim.runs.run import run
from sim.runs.workers import cluster
from storage.journal import read_journal
from storage.runs import RunDirectory
from tests.sim.runs.test_workers import Counting, files
from tests.support.dying import SMALL
from tests.support.encounters import small_world

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra ray"),
]

RAY = """
import logging, ray, sys
ray.init("local", num_cpus=4, include_dashboard=False, object_store_memory=100 << 20,
         logging_level=logging.ERROR)
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
ray.shutdown()
"""
LOCAL = """
import asyncio, sys
from agents.models.embedded import EmbeddedModel
from engine.errors import BillpError
from sim import run
from sim.config.layers import configured
from tests.support.dying import SMALL

class Slow(EmbeddedModel):
    asked = 0

    async def reply(self, request):
        Slow.asked += 1
        if Slow.asked == 12:
            print("asked", flush=True)
            await asyncio.sleep(600)
        return await super().reply(request)

try:
    run(configured(SMALL, {"cluster": "local", "workers": 2}), out="run", model=Slow())
except BillpError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_status)
"""
AWAY = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "0123456789abcdef" * 4,
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "PYTHONPATH": os.pathsep.join(sys.path),
}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster of one node, which lets four work, and whose word is known here."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in AWAY.items():
            patch.setenv(name, value)
        # Nothing is kept there from an earlier time.
        cache = str(tmp_path_factory.mktemp("cache"))
        patch.setenv("BILLP_MARK", cache)
        there = {**os.environ, "XDG_CACHE_HOME": cache}
        command = [sys.executable, "-c", RAY]
        for last in (False, False, True):  # Ray gives itself half a minute, and others may work
            with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, env=there) as process:
                assert process.stdin
                assert process.stdout
                said = process.stdout.readline().decode().split()
                assert said or not last
                if said:
                    yield said[-1]
                    process.stdin.close()
                    process.wait()
                    return


def marked(mark: object) -> list[Path]:
    """Return the processes that were begun with a *mark* in their environment."""
    found = [path for path in Path("/proc").iterdir() if path.name.isdecimal()]
    return [path for path in found if str(mark).encode() in _read(path / "environ")]


def called(name: bytes) -> list[int]:
    """Return the processes of this module's cluster whose command has a *name* in it."""
    found = [path for path in marked(os.environ["BILLP_MARK"]) if name in _read(path / "cmdline")]
    return sorted(int(path.name) for path in found)


def hands() -> list[int]:
    """Return the workers that are there."""
    return called(b"ray::Hand")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it is gone, or a zombie
        return b""


class Killing(Counting):
    """Kills a worker."""

    def act(self, request: ChatRequest) -> None:
        os.kill(hands()[-1], signal.SIGKILL)


class Losing(Counting):
    """Kills the foreman."""

    def act(self, request: ChatRequest) -> None:
        (foreman,) = called(b"sim.runs.workers.foreman")
        os.kill(foreman, signal.SIGKILL)


def test_a_run_in_a_cluster_is_the_same(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one worker, two, or four of which one is killed; and no reply is asked for twice.

    The environment was made in Python: no node finds it by a name, so it is sent, and kept there.
    """
    world, one = small_world(), configured(SMALL, {"users": "all", "cluster": address})
    run(configured(one.settings(), {"cluster": ""}), out=tmp_path / "here", environment=world)
    run(one, out=tmp_path / "one", environment=world)
    monkeypatch.setattr(cluster, "packed", None)
    run(configured(one.settings(), {"workers": 2}), out=tmp_path / "two", environment=world)
    model, four = Killing(at=12), configured(one.settings(), {"workers": 4})
    with capture_logs() as logs:
        run(four, out=tmp_path / "four", environment=world, model=model)
    warned = [one["event"] for one in logs if one["log_level"] == "warning"]
    assert warned == ["a worker died: its episodes are run again"]
    assert {*model.asked.values()} == {1}
    whole = files(tmp_path / "here")
    assert [files(tmp_path / name) for name in ("one", "two", "four")] == [whole] * 3
    assert not hands()


def test_a_node_of_another_version_is_refused(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one sentence; the run goes on without it, to the same bytes."""
    run(configured(SMALL), out=tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(cluster, "this_version", lambda: "0.0.1")
        with pytest.raises(ServiceError, match=r"has billp \S+, and not 0.0.1") as refused:
            run(configured(SMALL, {"cluster": address}), out=tmp_path / "run")
    assert "billp resume" in refused.value.hint
    resume(tmp_path / "run", settings=[{"cluster": ""}])
    assert files(tmp_path / "run") == files(tmp_path / "whole")


def test_who_loses_the_cluster_can_go_on(address: str, tmp_path: Path) -> None:
    """The foreman dies with it: the run says so, and nothing that was asked is asked again."""
    run(configured(SMALL), out=tmp_path / "whole")
    with pytest.raises(ServiceError, match="foreman of the workers ended with status -9"):
        run(configured(SMALL, {"cluster": address}), out=tmp_path / "run", model=Losing(at=12))
    paid = {*read_journal(RunDirectory(tmp_path / "run").journal)}
    model = Counting()
    resume(tmp_path / "run", settings=[{"cluster": ""}], model=model)
    assert not model.asked.keys() & paid
    assert files(tmp_path / "run") == files(tmp_path / "whole")


def test_room_is_waited_for_only_so_long(address: str, tmp_path: Path) -> None:
    """Four processors have none for five workers; and those who wait are not left to wait."""
    many = configured(SMALL, {"cluster": address, "workers": 5, "patience": 2.0})
    with pytest.raises(ServiceError, match=r"had room for \d of 5 workers after 2 s"):
        run(many, out=tmp_path / "run")
    assert not hands()


def test_a_cluster_that_is_not_there_is_said(tmp_path: Path) -> None:
    """Soon, and before anything is asked."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ServiceError, match="cannot be reached: Connection refused") as refused:
        run(configured(SMALL, {"cluster": f"127.0.0.1:{port}"}), out=tmp_path / "run")
    assert "ray start" in refused.value.hint


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    """No worker and nothing of a local Ray; and the run goes on to the digest of a whole one."""
    run(configured(SMALL), out=tmp_path / "whole")
    mark = {"BILLP_MARK": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", LOCAL],
        cwd=tmp_path,
        env={**os.environ, **mark},
        stdout=PIPE,
        stderr=PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout
        assert b"asked\n" in process.stdout  # lines before it may say what is waited for
        assert len(marked(tmp_path)) > 5
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        said = process.communicate()[1].decode()
    assert (process.returncode, said.count("\n")) == (130, 1), said
    assert not marked(tmp_path)
    resume(tmp_path / "run", settings=[{"cluster": "", "workers": 1}])
    assert files(tmp_path / "run") == files(tmp_path / "whole")
