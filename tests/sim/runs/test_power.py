"""Power loss and bad disks, with a model that never answers twice alike.

A machine may die at any moment, with any part of what was not forced to its disk. Then the run is
resumed, or begun again if it had not begun, and what it then tells is one story: the trace is what
the journal explains. With a model that says the same again, most of this could not be seen.
"""

import errno
import random
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import msgspec
import pytest

from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatReply, ChatRequest
from engine.errors import CallFailedError, FileError, RunDirectoryError, ServiceError
from sim.config.layers import configured
from sim.runs import past
from sim.runs.fork import fork
from sim.runs.replay import replay
from sim.runs.resume import resume
from sim.runs.run import run
from sim.verification.verify import verify
from storage.disk import OperatingSystem
from storage.journal import Identity, identity, read_journal
from storage.runs import RunDirectory
from tests.support.disks import Failing, Forgetful, Stuttering, lay, on
from tests.support.dying import CONCURRENCY, SMALL

SHORT = {**SMALL, "episodes": 3, "limit": 2, "prompts": False}
"""As short as a run can be of which some episode recalls another, and is forked after it began."""

AGENTS = ("billp", "reflexion", "act-only")
"""One that keeps a record of every step, one that does of every episode, one that keeps none."""

Asked: TypeAlias = tuple[Identity, str]
"""Which call, and what it asks."""


def known(directory: Path) -> set[Asked]:
    """Return the calls whose end is in a journal."""
    journal = RunDirectory(directory).journal
    ends = read_journal(journal) if journal.exists() else {}
    return {(name, ended.request) for name, ended in ends.items()}


@dataclass
class Fickle:
    """A model that answers otherwise when it is asked again; some calls fail for good."""

    chance: random.Random
    ill: float = 0.0
    asked: Counter[Asked] = field(default_factory=Counter)
    model: EmbeddedModel = field(default_factory=EmbeddedModel)

    async def reply(self, request: ChatRequest) -> ChatReply:
        self.asked[identity(request.call), request.digest] += 1
        if self.chance.random() < self.ill:
            raise CallFailedError("no reply", kind="server")
        other = msgspec.structs.replace(request, seed=self.chance.getrandbits(48))
        return await self.model.reply(other)


def is_one_story(directory: Path, *, replayed: bool = True) -> bool:
    """Tell whether a finished run is whole, and its trace what its journal explains.

    A run that went on without the model has just been *replayed*.
    """
    if any(check.fault for check in verify(directory)):
        return False
    return not (replayed and replay(directory, every=True).differences)


@dataclass
class Crashes:
    """Crashes of one kind of run, drawn by *chance*: how many there were, and what came of each."""

    chance: random.Random
    place: Path
    fsync: str
    agent: str
    workers: int = 1
    ends: Counter[str] = field(default_factory=Counter)

    def begin(self) -> tuple[Path, Forgetful]:
        """Return where a run was, and the disk that it was on."""
        root = self._new()
        disk = Forgetful(root)
        with on(disk, every=self.chance.choice([5, 20, 1_000])):
            model = Fickle(self.chance, ill=self.chance.choice([0.0, 0.05]))
            how = {"agent": self.agent, "fsync": self.fsync, "workers": self.workers}
            run(configured(SHORT, how), out=root / "run", model=model)
            if self.chance.random() < 0.3:
                fork(root / "run", (2, 0), out=root / "fork", model=Fickle(self.chance))
            if self.chance.random() < 0.3:
                resume(root / "run", retry_failed=True, model=Fickle(self.chance))
        return root, disk

    def crash(self, root: Path, disk: Forgetful, depth: int) -> None:
        """Let the machine die at some moment, and go on; maybe it dies again meanwhile."""
        # Rather early than late: in the end there is nothing left to be asked.
        moments = disk.moments[: len(disk.moments) // 2 + 1]
        early = self.chance.random() < 0.8
        found = self.chance.choice(moments if early else disk.moments).crash(self.chance)
        after = lay(found, root, self._new() / "after")
        again = Forgetful(after)
        with on(again, every=self.chance.choice([5, 1_000])):
            for directory in sorted(path for path in after.iterdir() if path.is_dir()):
                self.ends[self._go_on(directory)] += 1
        if depth and again.moments:
            self.crash(after, again, depth - 1)

    def _go_on(self, directory: Path) -> str:
        before = known(directory)
        model = Fickle(self.chance)
        if not (directory / "run.toml").exists():
            with pytest.raises(RunDirectoryError, match=r"killed before it began|not a run dir"):
                resume(directory, model=model)
            return "not begun"
        if self.fsync == "none":
            return self._try(directory, model)
        resume(directory, model=model)
        assert not model.asked.keys() & before
        assert set(model.asked.values()) <= {1}
        assert is_one_story(directory, replayed=bool(model.asked))
        return "went on" if model.asked else "was whole"

    def _try(self, directory: Path, model: Fickle) -> str:
        """Go on with a run that was never forced to the disk: it may not be possible."""
        try:
            resume(directory, model=model)
        except (FileError, ServiceError):
            return "was lost"
        return "went on" if is_one_story(directory) else "was found out"

    def _new(self) -> Path:
        root = self.place / f"{self.chance.getrandbits(64):x}"
        root.mkdir()
        return root


def crashes(
    seed: int,
    *,
    least: int,
    each: int,
    depth: int,
    fsync: tuple[str, ...] = ("interval", "call"),
    workers: int = 1,
) -> Counter[str]:
    """Return what came of *least* crashes or some more, *each* so many of one run."""
    ends: Counter[str] = Counter()
    for number in count():
        if ends.total() >= least:
            break
        chance = random.Random(f"{seed}/{number}")
        with TemporaryDirectory() as scratch:
            how = chance.choice(fsync), chance.choice(AGENTS)
            some = Crashes(chance, Path(scratch), *how, workers)
            root, disk = some.begin()
            for _ in range(each):
                some.crash(root, disk, depth)
        ends += some.ends
    return ends


@pytest.mark.parametrize("seed", range(2))
def test_a_machine_may_die_at_any_moment(seed: int) -> None:
    """And again while the run is resumed: no divergence, and no call on the disk is paid twice."""
    ends = crashes(seed, least=50, each=10, depth=1)
    assert ends["went on"] > 10


def test_what_is_never_forced_may_be_lost_but_never_passes_for_whole() -> None:
    """Without forcing, a crash of the machine may cost the run; no other tale is told of it."""
    ends = crashes(4, least=30, each=10, depth=0, fsync=("none",))
    assert ends["went on"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 120))
def test_a_machine_may_die_ten_thousand_times(seed: int) -> None:
    ends = crashes(seed, least=500, each=20, depth=2)
    assert ends["went on"] > 100


@pytest.mark.slow
def test_a_machine_may_die_with_its_workers() -> None:
    """What workers know is nowhere else, and nobody needs it."""
    ends = crashes(200, least=20, each=7, depth=1, workers=2)
    assert ends["went on"] > 2


# -- disks that fail


@pytest.fixture(autouse=True)
def _believing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let checkpoints be believed as far as they go, in runs that are this short."""
    monkeypatch.setattr(past, "MADE_AGAIN", 0)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return where a run goes."""
    return tmp_path / "run"


def begin_on(disk: OperatingSystem, place: Path) -> tuple[Fickle, str]:
    """Begin a run on a *disk*; return its model, and what stopped it."""
    model = Fickle(random.Random(1))
    with on(disk, every=5):
        try:
            run(configured(SMALL, {"fsync": "interval"}), out=place, model=model)
        except FileError as error:
            return model, str(error)
    return model, ""


def check_goes_on(place: Path, first: Fickle) -> None:
    """Assert that a run goes on after all that a broken disk let it do, and pays once."""
    directory = RunDirectory(place)
    second = Fickle(random.Random(2))
    before = known(place)
    if directory.config.exists():
        resume(place, model=second)
        assert first.asked.total() <= len(before) + CONCURRENCY
        assert not second.asked.keys() & before
    else:
        assert not before
        run(configured(SMALL), out=place, model=second)
    assert is_one_story(place)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("broken", [False, True])
def test_a_disk_that_fails_stops_a_run_that_goes_on_later(
    place: Path, number: int, broken: bool
) -> None:
    """At some call, once or from then on: one sentence names the file; later all is there.

    It can do without a checkpoint: then it comes to its end.
    """
    chance = random.Random(f"{number}/{broken}")
    for due in chance.sample(range(1, 90), 5):
        out = place.with_name(f"run-{due}")
        model, said = begin_on(Failing(due, number, broken), out)
        if said or not RunDirectory(out).finished:
            assert said.startswith(str(out.parent))
            assert said.endswith(("Input/output error", "No space left on device"))
        check_goes_on(out, model)


@pytest.mark.slow
@pytest.mark.parametrize("broken", [False, True])
def test_a_disk_may_fail_at_any_call(tmp_path: Path, broken: bool) -> None:
    due, disk = 0, Failing(0)
    while disk.calls >= disk.due:
        due += 1
        out, disk = tmp_path / str(due), Failing(due, broken=broken)
        model, _ = begin_on(disk, out)
        check_goes_on(out, model)
    assert due > 100


def test_a_disk_may_take_a_little_at_a_time(place: Path) -> None:
    model, said = begin_on(Stuttering(random.Random(3)), place)
    assert (said, set(model.asked.values())) == ("", {1})
    assert is_one_story(place)
