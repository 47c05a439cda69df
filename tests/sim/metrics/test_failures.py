"""Episodes that fail, and services that say "later" or nothing: what a run says, and its status."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from anyio.from_thread import start_blocking_portal

from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatReply, ChatRequest
from agents.models.serving.refusals import RefusedRequestError
from agents.models.serving.server import Server
from engine.errors import CallFailedError, FailedEpisodesError, ServiceError
from engine.messages import Envelope, EpisodeFailed, EpisodeStarted, HandlerFailed, ModelFailed
from sim.commands.outputs import check_failed
from sim.config.layers import configured
from sim.metrics.failures import Failure, FailuresFollower, in_words
from sim.runs.fork import fork
from sim.runs.replay import replay
from sim.runs.resume import resume
from sim.runs.run import run
from storage.journal import read_journal
from storage.runs import RunDirectory
from tests.sim.runs.test_embedding_costs import FEW as EMBEDDING
from tests.sim.runs.test_embedding_costs import Service
from tests.support.dying import forked
from tests.support.served import PROBES, Served, served
from tests.support.shell import Said, Shell
from tests.support.small import SMALL, Failing, words

FEW = [*words(SMALL)]


@pytest.fixture
def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell(capsys)


@dataclass
class Ill(Server):
    """The embedded model's service; calls after the first few are answered with an error."""

    since: int = 1
    until: int = 1 << 60
    status: int = 500
    said: str = "The disk of server 7 is on fire."
    headers: dict[str, str] = field(default_factory=dict)
    well: bool = False
    calls: int = 0

    def __post_init__(self) -> None:
        super().__init__(EmbeddedModel())

    async def _chat(self, request: web.BaseRequest) -> web.StreamResponse:
        self.calls += 1
        if self.since < self.calls <= self.until and not self.well:
            raise RefusedRequestError(self.status, self.said, headers=self.headers)
        return await super()._chat(request)


def last_words(said: Said) -> tuple[str, str]:
    """Return the sentence and the hint with which a command ends."""
    *_, sentence, hint = said.err.splitlines()
    return sentence.removeprefix("billp: "), hint.strip()


# -- a run in which episodes failed


def test_all_failed_never_looks_like_success(shell: Shell) -> None:
    """Status 3, no table, and as the last words why, and how to go on."""
    with served(Ill()) as service:
        said = shell.billp("run", *FEW, *service.words, "--set", "attempts=1", "--out", "run")
    assert said.status == 3
    assert "R_traj" not in said.out
    why = "6 × a call of the planner's (server: The disk of server 7 is on fire.)"
    assert last_words(said) == (
        f"all 6 episodes failed: {why}",
        "ask failed calls again: billp resume run --retry-failed",
    )


def test_what_failed_can_be_asked_again(shell: Shell) -> None:
    """As the hint says; then nothing has failed, and the status is 0."""
    plain = run(configured(SMALL), out="plain")
    with served(server := Ill(since=30)) as service:
        words = ("--set", "attempts=1", "--set", "concurrency=1", "--json", "--out", "run")
        said = shell.billp("run", *FEW, *service.words, *words)
        found = json.loads(said.out)
        assert said.status == 3
        assert 0 < found["failed_episodes"] == sum(one["episodes"] for one in found["failures"]) < 6
        assert {one["said"] for one in found["failures"]} == {server.said}
        assert found == RunDirectory(Path("run")).read_summary()
        server.well = True
        again = json.loads(shell.fine("resume", "run", "--retry-failed", "--json"))
    assert (again["digest"], again["failed_episodes"], again["failures"]) == (plain.digest, 0, [])


def test_quiet_runs_say_it_too(shell: Shell) -> None:
    with served(Ill()) as service:
        words = ("--set", "attempts=1", "--quiet", "--out", "run")
        said = shell.billp("run", *FEW, *service.words, *words)
    assert (said.status, said.out) == (3, "")
    assert last_words(said)[0].startswith("all 6 episodes failed: ")


def test_a_finished_run_with_failed_episodes_is_no_success_later(shell: Shell) -> None:
    """There is nothing to resume, but something to ask again."""
    run(configured(SMALL), out="run", model=Failing())
    said = shell.billp("resume", "run")
    assert (said.status, said.out) == (3, "")
    assert said.err.startswith("run is finished: there is nothing to resume\n")
    assert last_words(said) == (
        "1 of 6 episodes failed: 1 × a call of the reflector's (server)",
        "ask failed calls again: billp resume run --retry-failed",
    )


def test_a_resumed_run_tells_of_what_had_failed_before(tmp_path: Path) -> None:
    """By the journal: what the service said is not asked again."""
    out = tmp_path / "run"

    @dataclass
    class Mortal(Failing):
        asked: int = 0

        async def reply(self, request: ChatRequest) -> ChatReply:
            self.asked += 1
            if self.asked > 60:
                raise ServiceError("the service is gone")
            try:
                return await super().reply(request)
            except CallFailedError as error:
                raise CallFailedError(str(error), kind=error.kind, said="Ouch.") from error

    with pytest.raises(ServiceError):
        run(configured(SMALL), out=out, model=Mortal())
    summary = resume(out)
    assert summary is not None
    (failure,) = summary.failures
    assert (failure.episodes, failure.first, failure.said) == (1, 1, "Ouch.")


def test_a_fork_tells_of_what_failed_in_its_parent(tmp_path: Path) -> None:
    """It has the episode as well."""
    run(configured(SMALL), out=tmp_path / "run", model=Failing())
    forked = fork(tmp_path / "run", (3, 0), settings=[{"quit": {"window": 2}}], out=tmp_path / "f")
    assert (forked.failed_episodes, forked.failures[0].role) == (1, "reflector")


def test_forks_have_the_status_as_well(shell: Shell) -> None:
    run(configured(SMALL), out="run", model=Failing())
    said = shell.billp("fork", "run", "--at", "3:0", "--set", "quit.window=2", "--out", "f")
    assert said.status == 3
    assert last_words(said)[1] == "ask failed calls again: billp resume f --retry-failed"


def test_failed_episodes_replay(shell: Shell) -> None:
    """All agrees: status 0."""
    run(configured(SMALL), out="run", model=Failing())
    assert "run agrees to the byte." in shell.fine("replay", "run")
    assert replay("run").agrees


def test_a_text_without_a_vector_is_a_reason(tmp_path: Path) -> None:
    """It leaves no message of its own; the reason is the embedding's."""
    summary = run(configured(EMBEDDING), out=tmp_path / "run", model=Service(ill=True))
    assert summary.failed_episodes
    assert {failure.role for failure in summary.failures} == {"embedding"}


# -- reasons


def told(*messages: tuple[int | None, Any]) -> tuple[Failure, ...]:
    """Return the reasons of episodes, given as (cause, message)."""
    follower = FailuresFollower({(7, 0, 2, "actor", 0): "Too hot."})
    episode = -1
    for n, (cause, message) in enumerate(messages):
        episode += isinstance(message, EpisodeStarted)
        follower(Envelope(episode=episode, n=n, cause=cause, time=0, message=message))
    return follower.result()


STARTED = EpisodeStarted(user=7, session=0, arrival=0, history=(), memories=())
FAILED = EpisodeFailed(why="nobody answered")


def call(role: str, kind: str = "timeout") -> ModelFailed:
    return ModelFailed(step=2, role=role, occurrence=0, request="", error=kind)


def raised(handler: str, error: str = "CallFailedError") -> HandlerFailed:
    return HandlerFailed(handler=handler, error=error)


def test_a_reason_is_the_call_of_the_handler_that_failed_first() -> None:
    """Not one that failed beside it, under another message."""
    (reason,) = told(
        *((None, STARTED), (4, call("critic")), (3, call("actor")), (3, raised("Actor.act"))),
        *((4, raised("Critic.judge")), (0, FAILED)),
    )
    assert reason == Failure(
        episodes=1,
        first=0,
        handler="Actor.act",
        error="CallFailedError",
        role="actor",
        kind="timeout",
        said="Too hot.",
    )


def test_other_errors_are_reasons_by_handler_and_class() -> None:
    """A failed call that a handler could do without is none."""
    bug = [(None, STARTED), (3, call("actor")), (3, raised("Actor.act", "KeyError")), (0, FAILED)]
    silent = [(None, STARTED), (0, FAILED)]
    reasons = told(*silent, *bug, *bug)
    assert [(r.episodes, r.first, r.handler, r.error, r.role) for r in reasons] == [
        (2, 1, "Actor.act", "KeyError", ""),
        (1, 0, "", "nobody answered", ""),
    ]
    assert in_words(3, 3, reasons) == (
        "all 3 episodes failed: 2 × Actor.act raised KeyError; 1 × nobody answered"
    )


def test_a_sentence_names_the_most_frequent_reasons() -> None:
    """However many there are, and however much the service said."""
    reasons = [
        Failure(episodes=9 - n, first=n, handler="h", error="e", role="actor", kind=f"k{n}")
        for n in range(5)
    ]
    reasons[0] = Failure(
        episodes=9, first=0, handler="h", error="e", role="actor", kind="k", said="word " * 100
    )
    sentence = in_words(35, 40, reasons)
    assert sentence.startswith("35 of 40 episodes failed: 9 × a call of the actor's (k: word word")
    assert sentence.endswith("; 11 × other reasons")
    assert len(sentence) < 300


def test_a_bug_is_not_asked_again() -> None:
    """Where no call failed there is nothing to ask again, but something to look at."""
    bug = Failure(episodes=1, first=4, handler="Actor.act", error="KeyError")
    with pytest.raises(FailedEpisodesError, match="1 of 10 episodes failed") as caught:
        check_failed(Path("a run"), 9, [bug])
    assert caught.value.hint == "see what happened: billp show 'a run' 4"


# -- a service that says "later"

LATER = [
    pytest.param(429, {"retry-after": "7200"}, "asks to wait for 2 hours", id="429 with a time"),
    pytest.param(503, {"retry-after": "7200"}, "asks to wait for 2 hours", id="503 with a time"),
    pytest.param(429, {}, "said 'later' to 2 attempts", id="429 and nothing else"),
]


@pytest.mark.parametrize(("status", "headers", "words"), LATER)
def test_a_service_that_says_later_stops_a_run(
    status: int, headers: dict[str, str], words: str, shell: Shell
) -> None:
    """Status 2 and one sentence; no call has failed. Later it goes on to the undisturbed end."""
    plain = run(configured(SMALL), out="plain")
    limited = Ill(since=30 + PROBES, status=status, said="Limit reached.", headers=headers)
    with served(limited) as service:
        how = ("--set", "attempts=2", "--set", "concurrency=4", "--quiet", "--out", "run")
        said = shell.billp("run", *FEW, *service.words, *how)
        ends = read_journal(RunDirectory(Path("run")).journal)
        limited.well = True
        finished = resume("run")
    assert (said.status, said.out, len(said.err.splitlines())) == (2, "", 2)
    sentence, hint = last_words(said)
    assert sentence.startswith(f"the service {words}")
    assert sentence.endswith(f"answered {status}: Limit reached.")
    assert hint.endswith("; then: billp resume run")
    assert (len(ends), {ended.error for ended in ends.values()}) == (30, {None})
    assert finished is not None
    assert finished.digest == plain.digest
    assert service.answered == plain.calls + 2 * PROBES  # those before each


# -- a service that is gone


@contextmanager
def mortal(replies: int) -> Iterator[str]:
    """Serve the embedded model until so many replies were given; then nobody listens any more."""

    @dataclass
    class Last:
        asked: int = 0
        model: EmbeddedModel = field(default_factory=EmbeddedModel)

        async def reply(self, request: ChatRequest) -> ChatReply:
            self.asked += 1
            if self.asked > replies:
                await server.__aexit__(None, None, None)
            return await self.model.reply(request)

    server = Server(Last())
    with start_blocking_portal() as portal:
        yield portal.call(server.__aenter__)
        portal.call(server.__aexit__, None, None, None)


def test_a_service_that_is_gone_stops_a_run(shell: Shell) -> None:
    """Nobody waits for one episode after the other to fail; later it goes on."""
    plain = run(configured(SMALL), out="plain")
    with mortal(30) as url:
        how = ("--set", "attempts=2", "--quiet", "--out", "run")
        said = shell.billp("run", *FEW, "--model", "openai/embedded", "--base-url", url, *how)
    ends = read_journal(RunDirectory(Path("run")).journal)
    assert (said.status, len(said.err.splitlines())) == (2, 2), said
    sentence, hint = last_words(said)
    assert sentence == f"{url} cannot be reached: connection refused"
    assert hint == "see that the service is running; then: billp resume run"
    assert {ended.error for ended in ends.values()} == {None}
    with served() as service:
        finished = resume("run", settings=[{"base_url": service.url}])
    assert finished is not None
    assert finished.digest == plain.digest


# -- experiments

TINY = ["--episodes", "4", "--test-episodes", "3", "--set", "limit=4", "--set", "prompts=false"]


def experiment(service: Served) -> list[str]:
    remote = ["--set", "model=openai/embedded", "--set", f"base_url={service.url}"]
    how = ["--set", "attempts=1", "--set", "concurrency=1", "--jobs", "1", "--out", "e"]
    return ["experiment", "--agents", "act-only", "--seeds", "1,2", *TINY, *remote, *how]


def test_an_experiment_goes_on_without_failed_episodes(shell: Shell) -> None:
    """All its runs are run and compared; it says where, and ends with 3 until that is mended."""
    with served(Ill(since=10, until=12)) as service:
        words = experiment(service)
        first, again = shell.billp(*words), shell.billp(*words)
        shell.fine("resume", "e/act-only-seed=1", "--retry-failed", "--quiet")
        shell.fine(*words)
    assert (first.status, again.status) == (3, 3)
    assert "R_traj" in first.out
    assert "episodes failed, and the visits in common are compared" in first.out
    assert last_words(again) == last_words(first)
    assert last_words(first) == (
        "episodes failed in 1 of 2 runs: act-only-seed=1 (2 of 7)",
        "ask failed calls again: billp resume e/act-only-seed=1 --retry-failed; "
        "then the same again",
    )
    assert "2 of 2 done" in first.err
    assert "act-only-seed=1: failed, some of its episodes" in first.err


def test_an_experiment_compares_no_run_without_a_visit(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nothing to compare: no table; what the other run cost is there."""
    monkeypatch.setattr("sim.experiments.experiment._process", forked)
    with served(Ill(since=PROBES, until=PROBES + 7)) as service:
        said = shell.billp(*experiment(service))
    assert (said.status, said.out) == (3, "")
    assert last_words(said)[0] == "episodes failed in 1 of 2 runs: act-only-seed=1 (7 of 7)"
    assert RunDirectory(Path("e/act-only-seed=2")).read_summary()["failed_episodes"] == 0
