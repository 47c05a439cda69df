"""How often circles are looked for is ours while something runs, and the user's otherwise."""

import asyncio
import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatReply, ChatRequest
from sim import run_async
from sim.config.layers import configured
from sim.runs.collecting import RARELY, Thresholds, rarely_collecting
from sim.runs.run import run
from tests.support.dying import SMALL

USUAL = (700, 10, 10)


@pytest.fixture(autouse=True)
def usual() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(*USUAL)
    yield
    gc.set_threshold(*before)


class Looking(EmbeddedModel):
    """Notes the setting at every call."""

    def __init__(self) -> None:
        self.seen: set[Thresholds] = set()

    async def reply(self, request: ChatRequest) -> ChatReply:
        self.seen.add(gc.get_threshold())
        return await super().reply(request)


def test_a_run_leaves_the_setting_as_it_was(tmp_path: Path) -> None:
    """While it runs circles are looked for rarely, and afterwards as often as before."""
    model = Looking()
    run(configured(SMALL), out=tmp_path / "run", model=model)
    assert model.seen == {RARELY}
    assert gc.get_threshold() == USUAL


def test_so_does_a_run_in_a_loop_of_the_users(tmp_path: Path) -> None:
    """Whoever awaits a run, as in a notebook, has the same of it."""
    model = Looking()
    asyncio.run(run_async(configured(SMALL), out=tmp_path / "run", model=model))
    assert model.seen == {RARELY}
    assert gc.get_threshold() == USUAL


def test_runs_that_overlap_leave_no_setting_behind() -> None:
    """The first that ends takes nothing from the other, and the last one gives back what was."""
    first, second = rarely_collecting(), rarely_collecting()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert gc.get_threshold() == RARELY
    second.__exit__(None, None, None)
    assert gc.get_threshold() == USUAL


@pytest.mark.parametrize("theirs", [(0, 10, 10), (1_000_000, 5, 5)])
def test_who_collects_more_rarely_goes_on_so(theirs: Thresholds) -> None:
    """A user who has switched it off, or nearly so, does not get it back from us."""
    gc.set_threshold(*theirs)
    with rarely_collecting():
        assert gc.get_threshold() == theirs
    assert gc.get_threshold() == theirs


def test_what_was_set_meanwhile_stays() -> None:
    """Somebody else who changes the setting while something runs keeps what they set."""
    with rarely_collecting():
        gc.set_threshold(5_000, 10, 10)
    assert gc.get_threshold() == (5_000, 10, 10)


def test_an_error_gives_the_setting_back() -> None:
    """However it ends, it ends with what was before."""
    with pytest.raises(ValueError, match="any"), rarely_collecting():
        raise ValueError("any")
    assert gc.get_threshold() == USUAL
