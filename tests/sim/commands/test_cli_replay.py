"""`billp replay`, as its users meet it."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree
from typing import Any, get_args

import msgspec
import pytest

import sim.world.quitting.billp
from agents.billp.variants import BILLP
from agents.models import access
from agents.models.model import ChatRequest, Prompt, Sampling, request_for
from engine.calls import Call
from engine.errors import ServiceError
from engine.messages import SCHEMA, Message, ModelFailed, ModelReplied, ReflectionWritten
from sim.views.difference import PUBLISHERS
from storage.prompt_texts import read_prompts
from storage.runs import RunDirectory
from storage.traces import digest_of, read_episode
from tests.support.shell import Shell, tree
from tests.support.small import Counted, lines_of, only, recorded, trace_of

METRIC = """
from collections import Counter

from engine.messages import ActionTaken


class Titles:
    hears = ActionTaken

    def __init__(self):
        self.titles = Counter()

    def __call__(self, envelope):
        self.titles[envelope.message.title] += 1

    def result(self):
        return self.titles
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A recorded run; nobody writes to it."""
    return recorded(tmp_path_factory.mktemp("recorded") / "run", prompts=True)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let every test begin in an empty directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


@pytest.fixture
def spoilt(run: RunDirectory, here: Path) -> RunDirectory:
    """A copy to spoil."""
    return RunDirectory(Path(copytree(run.path, here / "spoilt")).relative_to(here))


def first_line(run: RunDirectory, *marks: bytes) -> int:
    """Return the position of the first line of a trace that holds all *marks*."""
    return next(n for n, line in enumerate(lines_of(run)) if all(mark in line for mark in marks))


def alter(run: RunDirectory, number: int, old: bytes, new: bytes) -> None:
    """Alter a line of a trace."""
    lines = lines_of(run)
    assert old in lines[number]
    lines[number] = lines[number].replace(old, new, 1)
    run.trace.write_bytes(b"".join(lines))


def differs(shell: Shell, *words: str | Path) -> list[str]:
    """Return the lines that tell of a difference."""
    said = shell.billp("replay", *words)
    assert said.status == 1, said
    assert "Traceback" not in said.out + said.err
    return said.out.splitlines()


def facts(out: str) -> dict[str, Any]:
    """Return the one object that *out* is."""
    assert out.count("\n") == 1
    found: dict[str, Any] = json.loads(out)
    return found


@contextmanager
def told(role: str, what: str) -> Iterator[None]:
    """Change the code: it tells a role something more."""

    def request(prompt: Prompt, call: Call, sampling: Sampling, seed: int) -> ChatRequest:
        if call.role == role:
            sampling = msgspec.structs.replace(sampling, instructions=what)
        return request_for(prompt, call, sampling, seed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(access, "request_for", request)
        yield


# -- a run that agrees


def test_a_run_that_agrees(shell: Shell, run: RunDirectory) -> None:
    """A verdict, how fast it went, the digest; exit status 0 and nothing else."""
    said = shell.billp("replay", run.path)
    assert (said.status, said.err) == (0, "")
    verdict, rate, digest = said.out.splitlines()
    assert verdict == f"{run.path} agrees to the byte."
    assert re.fullmatch(rf"{len(lines_of(run)):,} envelopes, [\d,]+ a second", rate)
    assert digest == f"digest  {digest_of(run.trace)}"


@pytest.mark.parametrize("concurrency", [1, 500])
def test_concurrency_is_not_seen(concurrency: int, shell: Shell, run: RunDirectory) -> None:
    assert "agrees to the byte" in shell.fine("replay", run.path, "--concurrency", str(concurrency))


def test_a_replay_begins_with_an_episode(shell: Shell, run: RunDirectory) -> None:
    """What comes before it does not count among what agrees."""
    whole = facts(shell.fine("replay", run.path, "--json"))
    part = facts(shell.fine("replay", run.path, "--from", "3", "--json"))
    passed = first_line(run, b'{"episode":3,') - 1
    assert part["envelopes"] == whole["envelopes"] - passed


def test_an_episode_alone(shell: Shell, run: RunDirectory) -> None:
    out = shell.fine("replay", run.path, "--episode", "3")
    assert f"\n{len(read_episode(run.trace, 3))} envelopes, " in out


def test_up_to_a_step(shell: Shell, run: RunDirectory) -> None:
    """All before the request for the next step."""
    out = shell.fine("replay", run.path, "--until", "3:1")
    last = first_line(run, b'{"episode":3,', b'"PlanRequested","step":2}')
    assert f"\n{last} envelopes, " in out
    count = last - first_line(run, b'{"episode":3,')
    alone = shell.fine("replay", run.path, "--episode", "3", "--until", "3:1")
    assert f"\n{count} envelopes, " in alone


def test_an_unfinished_run_is_told_how_to_go_on(shell: Shell) -> None:
    """It agrees as far as it goes; exit status 0."""
    with pytest.raises(ServiceError):
        recorded(Path("my run"), Counted(60))
    verdict = shell.fine("replay", "my run").splitlines()[0]
    assert verdict == "my run agrees as far as it goes; finish it with: billp resume 'my run'"


def test_an_environment_may_have_moved(shell: Shell, spoilt: RunDirectory) -> None:
    spoilt.write_config({**spoilt.read_config(), "environment": "gone"})
    assert "gone: is not an environment" in shell.refusal("replay", spoilt.path)[0]
    moved = shell.fine("replay", spoilt.path, "--environment", "synthetic:plain")
    assert "spoilt agrees to the byte." in moved


def test_a_replay_as_json(shell: Shell, run: RunDirectory) -> None:
    found = facts(shell.fine("replay", run.path, "--json"))
    assert (found["agrees"], found["differences"]) == (True, [])
    assert (found["digest"], found["envelopes"]) == (digest_of(run.trace), len(lines_of(run)))
    assert found["verdict"] == f"{run.path} agrees to the byte."


def test_nothing_is_written(shell: Shell, run: RunDirectory, here: Path) -> None:
    before = tree(run.path)
    shell.fine("replay", run.path, "--all")
    assert (tree(run.path), tree(here)) == (before, {})


# -- a run that differs


def test_a_run_that_differs(shell: Shell, spoilt: RunDirectory) -> None:
    """Episode, n, message and field, what was recorded and what came; exit status 1."""
    number = first_line(spoilt, b'{"episode":2,', b'"UserResponded"')
    line = json.loads(lines_of(spoilt)[number])
    alter(spoilt, number, b'"left":false', b'"left":true')
    first, *_, verdict, rate, digest = differs(shell, spoilt.path)
    place = f"episode 2, n {line['n']}, UserResponded.left"
    assert first == f"{place}: recorded True, got False"
    assert verdict == "spoilt differs."
    assert rate.endswith(" a second")
    assert digest == f"digest  {digest_of(spoilt.trace)}"


def test_the_causes_of_a_difference(shell: Shell, spoilt: RunDirectory) -> None:
    """The nearest first, up to the arrival: each with its message and who published it."""
    number = first_line(spoilt, b'{"episode":3,', b'"UserResponded","step":1')
    alter(spoilt, number, b'"time":', b'"time":1')
    page = differs(shell, spoilt.path)
    causes = page[page.index("caused by:") + 1 : -3]
    words = [cause.split()[:5] for cause in causes]
    assert [f"{kind} {by} {who}" for _, _, kind, by, who in words] == [
        "ActionTaken by actor:",
        "PlanMade by planner:",
        "PlanRequested by user:",
        "UserResponded by user:",
        "ActionTaken by actor:",
        "PlanMade by planner:",
        "PlanRequested by user:",
        "EpisodeStarted by scheduler:",
    ]
    numbers = [int(n) for _, n, *_ in words]
    envelopes = read_episode(spoilt.trace, 3)
    assert [envelopes[n].cause for n in numbers] == [*numbers[1:], None]
    assert all(len(cause) < 200 for cause in causes)


def test_every_message_has_a_publisher() -> None:
    """A model's reply is published for the role that asked, which it names itself."""
    kinds = {kind.__name__ for kind in get_args(Message)}
    roles = {kind.__name__ for role in BILLP.roles for kind in role.publishes}
    asked = {ModelReplied.__name__, ModelFailed.__name__}
    assert PUBLISHERS.keys() == kinds - asked - roles


def test_long_texts_are_told_as_a_diff(shell: Shell, spoilt: RunDirectory) -> None:
    """Line by line, whole, and as they stand: nothing in them is taken for markup or emoji."""
    lesson = only(trace_of(spoilt), ReflectionWritten)[0].text
    number = first_line(spoilt, b'"ReflectionWritten"')
    alter(spoilt, number, b'"text":"', rb'"text":"[bold]Oh :x:[/bold]\n')
    page = differs(shell, spoilt.path)
    begin = page.index("  --- recorded")
    assert page[begin + 1] == "  +++ got"
    assert "  -[bold]Oh :x:[/bold]" in page[begin:]
    assert f"   {lesson}" in page[begin:]


def test_short_values_need_no_diff(shell: Shell, spoilt: RunDirectory) -> None:
    alter(spoilt, first_line(spoilt, b'"PlanRequested"'), b'"step":0', b'"step":0.0')
    page = differs(shell, spoilt.path)
    assert page[0].endswith("PlanRequested.step: recorded 0.0, got 0")
    assert page[1] == "caused by:"


def test_a_line_that_is_gone(shell: Shell, spoilt: RunDirectory) -> None:
    """The line that stands in its place is told by its first field."""
    lines = lines_of(spoilt)
    number = first_line(spoilt, b'"PlanMade"')
    spoilt.trace.write_bytes(b"".join([*lines[:number], *lines[number + 1 :]]))
    assert re.match(r"episode 0, n 3, PlanMade\.n: recorded 4, got 3$", differs(shell, "spoilt")[0])


def test_a_narrow_screen_breaks_no_sentence(
    capsys: pytest.CaptureFixture[str], spoilt: RunDirectory
) -> None:
    """They can be searched for, line by line."""
    alter(spoilt, first_line(spoilt, b'"ReflectionWritten"'), b'"text":"', b'"text":"Oh! ')
    wide, narrow = (differs(Shell(capsys, width), "spoilt")[:-2] for width in (1_000, 30))
    assert narrow == wide


def test_every_difference_is_told(shell: Shell, spoilt: RunDirectory) -> None:
    numbers = [n for n, line in enumerate(lines_of(spoilt)) if b'"UserResponded"' in line][::4]
    for number in numbers:
        alter(spoilt, number, b'"time":', b'"time":1')
    page = differs(shell, spoilt.path, "--all")
    sentences = [
        line for line in page if re.match(r"episode \d+, n \d+, UserResponded\.time", line)
    ]
    assert len(sentences) == page.count("caused by:") == len(numbers) > 3
    assert page[-3] == f"spoilt differs in {len(numbers)} places."
    assert differs(shell, "spoilt")[-3] == "spoilt differs."


def test_a_difference_in_another_episode(shell: Shell, spoilt: RunDirectory) -> None:
    """An episode alone agrees, whatever the others do; and the other way round."""
    alter(spoilt, first_line(spoilt, b'{"episode":2,', b'"PlanMade"'), b'"time":', b'"time":1')
    shell.fine("replay", spoilt.path, "--episode", "3")
    shell.fine("replay", spoilt.path, "--until", "1:0")
    assert differs(shell, "spoilt", "--episode", "2")[0].startswith("episode 2, n ")


def test_a_difference_as_json(shell: Shell, spoilt: RunDirectory) -> None:
    """All that is told to people, and the same exit status."""
    number = first_line(spoilt, b'{"episode":3,', b'"PlanMade"')
    alter(spoilt, number, b'"step":0', b'"step":7')
    said = shell.billp("replay", spoilt.path, "--json")
    found = facts(said.out)
    (difference,) = found["differences"]
    assert (said.status, said.err, found["agrees"]) == (1, "", False)
    assert (difference["number"], difference["episode"]) == (number + 1, 3)
    assert [difference[name] for name in ("message", "field", "recorded", "got")] == [
        "PlanMade",
        "step",
        7,
        0,
    ]
    assert [cause["message"]["type"] for cause in difference["chain"]] == [
        "PlanRequested",
        "EpisodeStarted",
    ]


# -- code that changed


def test_a_changed_prompt_is_told_as_a_diff(shell: Shell, run: RunDirectory) -> None:
    """The old text, which was kept, against the new one; where it is asked first."""
    with told("actor", "Be brief."):
        page = differs(shell, run.path)
    assert re.match(r"episode 0, n \d+, ModelReplied\.request: recorded '\w+', got '\w+'$", page[0])
    assert page[1:4] == ["the prompts differ:", "  --- recorded", "  +++ got"]
    assert "  +Be brief." in page
    assert not [line for line in page[4:] if line.startswith("  -")]


def test_a_changed_prompt_whose_old_text_was_not_kept(shell: Shell) -> None:
    """Then the new one is shown whole."""
    recorded(Path("mine"))
    with told("planner", "Be brief."):
        page = differs(shell, "mine")
        prompt = shell.fine("replay", "mine", "--prompt", "0:0:planner")
    assert page[1].startswith("the recorded prompt was not kept")
    end = page.index("caused by:")
    assert "\n".join(page[2:end]) + "\n" == prompt


def test_changed_code_may_go_further(
    shell: Shell, run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it comes to first is told, and not the calls that nobody ever made."""
    monkeypatch.setattr(sim.world.quitting.billp, "why_leave", lambda *_: None)
    first = differs(shell, run.path)[0]
    assert re.match(r"episode 0, n \d+, UserResponded\.left: recorded True, got False$", first)
    assert "nobody made that call" in "\n".join(differs(shell, run.path, "--all"))


# -- prompts


@pytest.mark.parametrize("role", ["planner", "actor", "critic"])
def test_a_prompt_is_printed_exactly(role: str, shell: Shell, run: RunDirectory) -> None:
    """As it was sent: the text that was kept, and nothing else."""
    replies = (envelope.message for envelope in read_episode(run.trace, 3))
    (asked,) = (
        reply.request
        for reply in replies
        if isinstance(reply, ModelReplied) and (reply.step, reply.role) == (1, role)
    )
    (kept,) = (text for text in read_prompts(run.prompts) if text.request == asked)
    assert shell.fine("replay", run.path, "--prompt", f"3:1:{role}") == (
        f"{kept.system}\n\n{kept.text}\n"
    )


# -- followers


def test_a_metric_of_ones_own(
    shell: Shell, run: RunDirectory, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It tells over a record what it told live, to people and as JSON."""
    (here / "titles_said.py").write_text(METRIC, encoding="utf-8")
    monkeypatch.setattr(sys, "path", sys.path.copy())
    named = ("--listener", "titles_said:Titles")
    live = facts(shell.fine("run", "--episodes", "4", *named, "--json", "--out", "mine"))
    expected = live["listeners"]["titles_said:Titles"]
    assert sum(expected.values()) == live["steps"] > 0
    assert facts(shell.fine("replay", "mine", *named, "--json"))["listeners"] == live["listeners"]
    last = shell.fine("replay", "mine", *named).splitlines()[-1]
    name, _, found = last.partition(": ")
    assert (name, json.loads(found)) == ("titles_said:Titles", expected)


# -- what is refused

Spoil = Callable[[RunDirectory], object]


@pytest.mark.parametrize(
    ("words", "sentence", "hint"),
    [
        (("--episode", "9"), "/trace.jsonl: there is no episode 9", "it holds 0 to 5"),
        (("--episode=-1",), "/trace.jsonl: there is no episode -1", "it holds 0 to 5"),
        (("--until", "9:0"), "/trace.jsonl: there is no episode 9", "it holds 0 to 5"),
        (("--until", "3:99"), "episode 3 of the run has no step 99", "it has the steps 0 to "),
        (("--until", "3"), "expected EPISODE:STEP, got '3'", "such as 3:0"),
        (("--until", "3:x"), "expected EPISODE:STEP, got '3:x'", "such as 3:0"),
        (("--episode", "3", "--until", "2:0"), "episode 3 alone never comes to 2:0", ""),
        (("--prompt", "3:0"), "expected EPISODE:STEP:ROLE, got '3:0'", "such as 3:0:planner"),
        (("--prompt", "3:0:planer"), "there is no call of 'planer' at 3:0", "actor, critic, pl"),
        (("--prompt", "3:99:planner"), "there is no call of 'planner' at 3:99", "none was made"),
        (("--prompt", "9:0:planner"), "there is no episode 9", "it holds 0 to 5"),
        (("--debug-at", "3"), "expected EPISODE:STEP:ROLE, got '3'", "such as 3:0:planner"),
        (("--debug-at", "3:y:"), "expected EPISODE:STEP:ROLE, got '3:y:'", "such as 3:0:planner"),
        (("--concurrency", "0"), "concurrency must be at least 1, got 0", ""),
        (("--listener", "here"), "there is no listener 'here'", "package.module:object"),
        (("--listener", "no_such:Class"), "listener 'no_such:Class' cannot be imported", ""),
        (("--environment", "gone"), "gone: is not an environment", "billp env build"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_asked(
    words: tuple[str, ...], sentence: str, hint: str, shell: Shell, run: RunDirectory
) -> None:
    """One sentence and a hint, exit status 2."""
    found = shell.refusal("replay", run.path, *words)
    assert sentence in found[0]
    assert hint in found[1]


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda run: run.journal.unlink(), "spoilt/calls.jsonl: there is no such journal"),
        (lambda run: run.trace.unlink(), "spoilt/trace.jsonl: the trace is empty"),
        (lambda run: run.config.unlink(), "spoilt: not a run directory"),
        (
            lambda run: alter(run, 0, b'"schema":%d' % SCHEMA, b'"schema":%d' % (SCHEMA + 1)),
            f"spoilt/trace.jsonl:1: the trace has schema {SCHEMA + 1}, newer than {SCHEMA}",
        ),
        (
            lambda run: alter(run, 0, b'"environment":"', b'"environment":"0'),
            "synthetic:plain is",
        ),
        (lambda run: alter(run, 0, b"{", b""), "spoilt/trace.jsonl:1: expected RunStarted"),
        (
            lambda run: run.trace.write_bytes(b"".join(lines_of(run)[:50])),
            "spoilt/trace.jsonl: ends early: the run had come to its end",
        ),
        (
            lambda run: run.journal.write_bytes(run.journal.read_bytes()[:5_000]),
            "call at step ",
        ),
    ],
    ids=["journal", "trace", "run", "schema", "environment", "head", "cut", "calls"],
)
def test_a_run_that_cannot_be_replayed(
    spoil: Spoil, sentence: str, shell: Shell, here: Path, spoilt: RunDirectory
) -> None:
    """It is no difference if something is lost, or was never there."""
    spoil(spoilt)
    said = shell.billp("replay", spoilt.path)
    assert (said.status, said.out) == (2, "")
    assert "Traceback" not in said.err
    (told,) = [line for line in said.err.splitlines() if line.startswith("billp: ")]
    assert sentence in told


def test_what_is_no_run(shell: Shell, here: Path) -> None:
    sentence, hint = shell.refusal("replay", "gone")
    assert sentence == "gone: not a run directory"
    assert "billp run" in hint
    assert not list(here.iterdir())
