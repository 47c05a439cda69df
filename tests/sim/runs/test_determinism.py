"""The central promise: a run's trace is the same bytes, whatever the accidents of real time."""

import asyncio
import itertools
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatReply, ChatRequest
from agents.models.serving.server import Server
from sim.config.layers import configured
from sim.runs.run import run
from tests.support.served import served

pytestmark = pytest.mark.digests

LIMIT = 20
WORLDS: dict[str, dict[str, Any]] = {
    "batches": {"episodes": 16, "arrivals": "batches:4"},
    "poisson": {"episodes": 16, "arrivals": "poisson:0.02", "publication_delay": 20},
    "returning": {
        **{"episodes": 8, "arrivals": "poisson:0.05", "sessions": 2, "dwell_by_reward": 0.5},
        "retention": {"chance": 0.9, "loss": 0.3, "delay": 2},
    },
    "all": {"episodes": 16, "arrivals": "all", "seed": 3, "repeats": "allow"},
}


@dataclass
class Hasty:
    """The embedded model behind a bad line: every reply takes its own time."""

    longest: float
    chance: random.Random = field(default_factory=lambda: random.Random(os.urandom(8)))
    model: EmbeddedModel = field(default_factory=EmbeddedModel)

    async def reply(self, request: ChatRequest) -> ChatReply:
        await asyncio.sleep(self.chance.random() ** 4 * self.longest)
        return await self.model.reply(request)


def digest(world: str, out: Path, *, longest: float = 0.0, uvloop: bool = False, **how: Any) -> str:
    config = configured(WORLDS[world], {"prompts": False, "limit": LIMIT, **how})
    model = Hasty(longest) if longest else None
    return run(config, out=out, model=model, uvloop=uvloop).digest


@pytest.fixture(scope="module", params=WORLDS)
def world(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Give a function that returns the digest of an undisturbed run of a world, made once."""
    return cache(lambda world: digest(world, tmp_path_factory.mktemp(world) / "plain"))


@pytest.fixture(scope="module")
def plain(world: str, undisturbed: Callable[[str], str]) -> str:
    """The digest of an undisturbed run."""
    return undisturbed(world)


@pytest.mark.parametrize("concurrency", [1, 8, 64])
def test_concurrency_leaves_no_mark(
    world: str, plain: str, concurrency: int, tmp_path: Path
) -> None:
    """Calls in flight bound what is done at once, and nothing else."""
    assert digest(world, tmp_path / "run", concurrency=concurrency) == plain


@pytest.mark.parametrize(("concurrency", "longest"), [(3, 0.002), (64, 0.02), (512, 0.05)])
def test_latency_leaves_no_mark(
    world: str, plain: str, concurrency: int, longest: float, tmp_path: Path
) -> None:
    """Slow and fast replies in any order give the same bytes."""
    slow = digest(world, tmp_path / "run", concurrency=concurrency, longest=longest)
    assert slow == plain


@pytest.mark.parametrize("bounds", [{"running": 1}, {"unreleased": 1, "running": 40}])
def test_bounds_leave_no_mark(
    world: str, plain: str, bounds: dict[str, Any], tmp_path: Path
) -> None:
    """Episodes that run, or wait to be written, are bounded for the machine's sake alone."""
    assert digest(world, tmp_path / "run", longest=0.002, **bounds) == plain


def test_the_event_loop_leaves_no_mark(world: str, plain: str, tmp_path: Path) -> None:
    """uvloop is faster, not different."""
    assert digest(world, tmp_path / "run", uvloop=True, longest=0.01) == plain


def test_a_clock_that_goes_back_leaves_no_mark(
    undisturbed: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wall's clock is asked by a cache and by a service only, and no wait is measured by it."""
    back = itertools.count(2_000_000_000, -3_600)
    plain = undisturbed("poisson")
    with served(Server(EmbeddedModel())) as service:
        monkeypatch.setattr(time, "time", lambda: float(next(back)))
        cache = str(tmp_path / "cache")
        ways: list[dict[str, Any]] = [{**service.remote, "cache": cache}, {"cache": cache}]
        for place, way in enumerate(ways):
            assert digest("poisson", tmp_path / f"run-{place}", **way) == plain


def test_the_way_of_asking_leaves_no_mark(
    undisturbed: Callable[[str], str], tmp_path: Path
) -> None:
    """By chat, by the Responses API and in process the trace is the same."""
    plain = undisturbed("poisson")
    with served(Server(EmbeddedModel())) as service:
        for api in ("chat", "responses"):
            way: dict[str, Any] = {**service.remote, "api": api, "service": "vllm"}
            assert digest("poisson", tmp_path / api, **way) == plain


@pytest.mark.parametrize("seed", ["0", "4242"])
def test_the_hash_seed_leaves_no_mark(
    seed: str, undisturbed: Callable[[str], str], tmp_path: Path
) -> None:
    """Nothing that reaches a message depends on the order of a set."""
    out = tmp_path / "run"
    command = [sys.executable, "-c", "from sim.cli import main; main()", "run", "--quiet"]
    command += ["--episodes", "16", "--arrivals", "batches:4", "--out", str(out)]
    command += ["--set", f"limit={LIMIT}"]
    subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": seed}, check=True)
    whole = sha256((out / "trace.jsonl").read_bytes()).hexdigest()
    assert whole == undisturbed("batches")


def test_the_digest_is_the_sha256_of_the_trace(tmp_path: Path) -> None:
    """`sha256sum trace.jsonl` agrees with what a run says of itself."""
    told = digest("batches", tmp_path / "run")
    assert sha256((tmp_path / "run" / "trace.jsonl").read_bytes()).hexdigest() == told


@pytest.mark.parametrize("change", [{"seed": 1}, {"repeats": "avoid"}, {"quit.window": 3}])
def test_what_decides_is_in_the_trace(
    change: dict[str, Any], undisturbed: Callable[[str], str], tmp_path: Path
) -> None:
    """A digest that never changed would prove nothing."""
    name, value = next(iter(change.items()))
    table, _, key = name.rpartition(".")
    layer = {table: {key: value}} if table else change
    assert digest("batches", tmp_path / "run", **layer) != undisturbed("batches")
