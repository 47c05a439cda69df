"""The page of an episode: its facts, its addresses, and what it shows of hostile or broken runs."""

import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest

from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatReply, ChatRequest
from engine.errors import BillpError, ServiceError, TraceError
from engine.messages import ActionTaken
from sim.config.layers import configured
from sim.runs.run import run
from sim.views.web.call import CallFacts, CallsFacts, call_page, calls_page
from sim.views.web.episode import EpisodeFacts, OpenFacts, episode_page
from sim.views.web.strip import hues_of, strip_of
from storage.runs import RunDirectory
from tests.support.pages import asked, got
from tests.support.small import SMALL, Counted, Failing

PLANTED = '<script>alert("x")</script><img src=x onerror=alert(1)> javascript:alert(2) \x1b[2J'


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "small"
    run(configured(SMALL), out=path)
    return path


@dataclass
class Planting:
    """The embedded model, whose planner and reflector say what would be obeyed as markup."""

    model: EmbeddedModel = field(default_factory=EmbeddedModel)

    async def reply(self, request: ChatRequest) -> ChatReply:
        if request.call.role in {"planner", "reflector"}:
            return ChatReply(text=PLANTED, prompt_tokens=1, completion_tokens=1, finish="stop")
        return await self.model.reply(request)


def facts(path: Path, **query: object) -> EpisodeFacts:
    found = episode_page(asked(path, **query)).facts
    assert isinstance(found, EpisodeFacts)
    return found


def html(path: Path, address: str) -> str:
    status, text = anyio.run(got, path.parent, address)
    assert status == 200
    return text


def test_an_envelope_has_an_address(recorded: Path) -> None:
    """It opens the step in which it stands, or what came after, with it marked."""
    whole = facts(recorded, k=3)
    for place in (whole.told.steps[1].cards[2].n, whole.told.steps[1].cards[2].calls[0].n):
        found = facts(recorded, k=3, n=place)
        assert (found.step, found.marked) == (1, place)
    assert facts(recorded, k=3, n=whole.told.closing[0].n).step == -1
    assert (whole.step, whole.marked) == (0, None)


def test_a_page_reads_without_scripts(recorded: Path) -> None:
    """The chosen step is there, the others have addresses, and so has the next episode."""
    text = html(recorded, "/episode/small?k=3&step=1")
    found = facts(recorded, k=3).told.steps
    message = next(c.message for c in found[1].cards if isinstance(c.message, ActionTaken))
    assert message.title in text
    assert 'href="/episode/small?k=3&amp;step=0"' in text
    assert 'rel="next" href="/episode/small?k=4"' in text
    assert f"billp fork {recorded} --at 3:1" in text
    assert "style=" not in text


def test_what_models_say_is_text(tmp_path: Path) -> None:
    """No reply becomes markup, a link, or a control character, wherever it is shown."""
    path = tmp_path / "planted"
    run(configured(SMALL, {"episodes": 2}), out=path, model=Planting())
    called = facts(path, k=0).told.steps[0].cards[2].calls[0].n
    for address in ("episode/planted?k=0", "envelopes/planted?k=0", f"call/planted?k=0&n={called}"):
        text = html(path, f"/{address}")
        assert "&lt;script&gt;" in text
        for obeyed in ("<script>alert", "<img", 'href="javascript', "\x1b"):
            assert obeyed not in text


def test_a_call_tells_what_it_took_and_what_was_new(recorded: Path) -> None:
    """Prompt, reply and effort; beside the prompt of the same role one step before."""
    step = facts(recorded, k=3).told.steps[1]
    place = next(card for card in step.cards if card.kind == "thought").calls[0].n
    found = call_page(asked(recorded, k=3, n=place)).facts
    assert isinstance(found, CallFacts)
    assert found.ended is not None
    assert found.ended.text == found.call.text
    assert (found.before.step if found.before else None) == 0
    assert found.prompt is not None
    assert any(line.change == "added" for line in found.changes or ())
    every = calls_page(asked(recorded, k=3)).facts
    assert isinstance(every, CallsFacts)
    assert (found.call, found.ended) in every.calls
    with pytest.raises(TraceError, match="not a call"):
        call_page(asked(recorded, k=3, n=0))


def test_an_episode_that_has_not_ended_is_told_by_its_calls(tmp_path: Path) -> None:
    """What the journal has of it is shown, step by step, and how the run goes on."""
    path = tmp_path / "stopped"
    with pytest.raises(ServiceError):
        run(configured(SMALL), out=path, model=Counted(last=12))
    found = episode_page(asked(path, k=0)).facts
    assert isinstance(found, OpenFacts)
    assert [step for step, _ in found.calls] == sorted(step for step, _ in found.calls)
    assert found.calls
    assert found.resume == f"billp resume {path}"
    assert "not written yet" in html(path, "/episode/stopped?k=0")
    assert "nothing of episode 5" in anyio.run(got, path.parent, "/episode/stopped?k=5")[1]


def test_a_failed_episode_says_why(tmp_path: Path) -> None:
    """The call that failed stands with the failure, and the page is there."""
    path = tmp_path / "failed"
    run(configured(SMALL), out=path, model=Failing())
    found = facts(path, k=1)
    assert found.row.end == "failed"
    text = html(path, "/episode/failed?k=1&n=" + str(found.told.closing[-1].n))
    assert "Nothing of it is remembered" in text


def test_nothing_of_a_foreign_run_is_imported(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that names a module of its own is shown as far as its trace tells, and says why."""
    path = tmp_path / "runs" / "foreign"
    shutil.copytree(recorded, path)
    directory = RunDirectory(path)
    (path / ".origin").unlink()
    (tmp_path / "evil_agent.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    for file in (directory.config, directory.trace):
        text = file.read_text()
        text = text.replace('agent = "billp"', 'agent = "evil_agent:AGENT"')
        file.write_text(text.replace('"agent":"billp"', '"agent":"evil_agent:AGENT"'))
    found = facts(path, k=3)
    assert "evil_agent" in found.untold
    memos = [memo for step in found.told.steps for card in step.cards for memo in card.recalled]
    assert memos
    assert {(memo.memory, memo.says) for memo in memos} == {("", None)}
    place = asked_places(found)[0]
    call = call_page(asked(path, k=3, n=place)).facts
    assert isinstance(call, CallFacts)
    assert call.prompt is None
    assert "evil_agent" in call.how
    assert "evil_agent" not in sys.modules


def asked_places(found: EpisodeFacts) -> list[int]:
    return [call.n for step in found.told.steps for card in step.cards for call in card.calls]


def test_no_world_of_a_foreign_run_is_opened(recorded: Path, tmp_path: Path) -> None:
    """A path that it names is not read: categories and distances are not shown."""
    path = tmp_path / "runs" / "foreign"
    shutil.copytree(recorded, path)
    (path / ".origin").unlink()
    config = RunDirectory(path).config
    config.write_text(config.read_text().replace("synthetic:plain", str(tmp_path / "bait")))
    found = facts(path, k=3)
    assert "is not opened" in found.unknown
    assert all(step.categories == () for step in found.told.steps)


def test_an_episode_that_is_not_there_is_said_to_be_none(recorded: Path) -> None:
    """So is an address without one, and each is a page with a sentence."""
    for query in ({"k": 6}, {}, {"k": "-1"}):
        with pytest.raises(BillpError):
            episode_page(asked(recorded, **query))
    status, text = anyio.run(got, recorded.parent, "/episode/small?k=6")
    assert (status, "there is no episode 6" in text) == (400, True)


def test_a_strip_has_a_column_a_step(recorded: Path) -> None:
    """Bars stand on zero, dots of gains above it, and what is most frequent has a colour."""
    steps = facts(recorded, k=3).told.steps
    hues = hues_of(steps)
    strip = strip_of(steps, hues)
    reward, _, gain = strip.bands
    assert [column.step for column in strip.columns] == [step.step for step in steps]
    for column, step in zip(strip.columns, steps, strict=True):
        assert column.bar is not None
        assert sum(column.bar) == pytest.approx(reward.zero)
        assert column.dot is not None
        assert (column.dot <= gain.zero) == column.gained == ((step.advantage or 0) >= 0)
        assert column.hue == hues[step.categories[0]]


def test_an_agent_without_a_critic_has_fewer_bands(tmp_path: Path) -> None:
    """Of an agent that values nothing the strip shows rewards alone."""
    path = tmp_path / "plain"
    run(configured(SMALL, {"agent": "act-only", "episodes": 2}), out=path)
    found = facts(path, k=0)
    assert [band.name for band in found.strip.bands] == ["reward"]
    assert "Recommendation" in html(path, "/episode/plain?k=0")
