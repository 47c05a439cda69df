"""`billp show`: the visits of a run, an episode of it, or a step, as people read them.

What has not ended is told by the run's journal; or it is made again from that, which takes as long
as a replay. Nothing is written and nothing locked: whoever writes the run goes on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
import typer
from rich.console import Group

from agents.models.model import ChatRequest
from engine.errors import ConfigError, RunDirectoryError
from engine.messages import Envelope, Message
from engine.tree import encode
from sim.analysis.listing import card_of
from sim.analysis.memory.texts import HeldTexts, RecordedTexts
from sim.analysis.visits import Unended, Visited, Visits, is_whole, standing_of, visits_of
from sim.commands.located import RunPath
from sim.commands.logs import log_to_stderr
from sim.commands.options import gathered
from sim.commands.places import parse_place
from sim.config.stages import Point
from sim.runs.recorded import cast_of, check_not_imported, is_imported
from sim.runs.remade import Remade, remade
from sim.runs.replay import prompt_of, request_at
from sim.runs.stopping import resuming
from sim.views.calls import Journaled, call_page, calls_page
from sim.views.console import folded, plain, write, write_json, write_json_line
from sim.views.episode import Remembered, Shown, episode_page, step_page
from sim.views.visits import stands, visits_page
from storage.journal import CallEnded
from storage.runs import RunDirectory, open_run
from storage.traces import find_episode, read_episode, read_head


@dataclass(frozen=True)
class ChoiceOptions:
    """Which visits are listed; for a run without a place."""

    user: Annotated[int | None, typer.Option(help="List the visits of this user.")] = None
    worst: Annotated[
        int | None,
        typer.Option(help="List so many finished visits, the lowest reward first.", min=1),
    ] = None
    best: Annotated[
        int | None,
        typer.Option(help="List so many finished visits, the highest reward first.", min=1),
    ] = None

    def check(self, place: str | None) -> None:
        """Raise ConfigError for what does not go together."""
        if self.worst is not None and self.best is not None:
            raise ConfigError("choose one of --worst and --best")
        if place is not None and (self.user, self.worst, self.best) != (None, None, None):
            hint = f"leave out {place!r}"
            raise ConfigError("--user, --worst and --best choose among all visits", hint=hint)

    def of(self, visits: Visits) -> list[Visited]:
        """Return the visits that are chosen; those to come only of a user who is named."""
        shown = [*visits.ended, *visits.open]
        if self.user is not None:
            shown = [one for one in (*shown, *visits.waiting) if one.user == self.user]
        count = self.worst or self.best
        if count is None:
            return shown
        # What failed came to no end, so the sum of its rewards says nothing of the agent.
        whole = [(one.reward or 0.0, one) for one in shown if one.state == "finished"]
        whole.sort(key=lambda pair: pair[0], reverse=self.best is not None)
        return [one for _, one in whole[:count]]


@dataclass(frozen=True)
class HowOptions:
    """How an episode is shown."""

    json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Envelopes as in the trace, calls as in the journal; a list as one object.",
        ),
    ] = False
    prompt: Annotated[
        str | None,
        typer.Option(help="The whole prompt of a role at that step.", metavar="ROLE"),
    ] = None
    replayed: Annotated[
        bool,
        typer.Option(
            "--replayed",
            help="Make an episode that has not ended again from the journal: with what the user "
            "answered. Takes as long as a replay of all before it.",
        ),
    ] = False

    def check(self, place: str | None) -> None:
        """Raise ConfigError for what needs a place."""
        if place is None and (self.prompt is not None or self.replayed):
            raise ConfigError("--prompt and --replayed need an episode", hint="such as 3:0")


@gathered
def show(
    run: RunPath,
    choice: ChoiceOptions,
    how: HowOptions,
    place: Annotated[
        str | None, typer.Argument(metavar="EPISODE[:STEP]", help="An episode, or a step of it.")
    ] = None,
) -> None:
    """Show the visits of a run, an episode step by step, or all that led to one step.

    The run may be finished, under way or stopped: an episode that has not ended is shown by its
    calls in the journal, or, with --replayed, as it is now. Nothing is written or locked.
    """
    choice.check(place)
    how.check(place)
    directory = open_run(run)
    if place is None:
        _list(directory, choice, as_json=how.json)
        return
    episode, step = parse_place(place)
    looked = _Looked(directory, episode, step, how)
    if how.prompt is not None:
        looked.show_prompt(how.prompt)
    else:
        looked.show()


def _list(directory: RunDirectory, choice: ChoiceOptions, *, as_json: bool) -> None:
    visits = visits_of(directory)
    shown = choice.of(visits)
    card = card_of(directory.path, directory.path.name)
    if not as_json:
        lines = visits_page(card, visits, shown, plain().width)
        write("".join(f"{line}\n" for line in lines))
        return
    facts = {"run": card.path, "standing": visits.standing, "counts": dict(visits.counts())}
    write_json({**facts, "overview": card, "visits": shown})


@dataclass(frozen=True)
class _Looked:
    """An episode of a run that is looked at, or a *step* of it."""

    directory: RunDirectory
    episode: int
    step: int | None
    how: HowOptions

    def show(self) -> None:
        """Show it as its trace has it, or as it can be known without."""
        envelopes = self._written()
        if envelopes:
            self._show(Shown(envelopes, _remembered(self.directory)))
        elif self.how.replayed:
            self._show_remade(self._remade())
        else:
            self._show_calls()

    def _written(self) -> Sequence[Envelope[Message]]:
        """Return its envelopes if the trace has it whole; raises TraceError if it should."""
        if self.directory.finished or is_imported(self.directory):
            return read_episode(self.directory.trace, self.episode)
        found = find_episode(self.directory.trace, self.episode)
        return found if is_whole(found) else ()

    def _show(self, shown: Shown, how: str = "") -> None:
        if self.how.json:
            for envelope in shown.envelopes:
                write_json_line(encode(envelope))
            return
        page = episode_page(shown) if self.step is None else step_page(shown, self.step)
        self._print(page, how)

    def _print(self, page: Group, how: str) -> None:
        """Print a page; of an episode that has not ended first where its run stands, and *how*."""
        if how:
            path, standing = self.directory.path, standing_of(self.directory)
            further = f"Go on with: {resuming(path)}\n" if standing == "stopped" else ""
            text = f"{stands(str(path), standing)}\n{further}{how}\n"
            write("".join(f"{line}\n" for line in folded(text, plain().width)))
        plain().print(page)

    def _remade(self) -> Remade:
        log_to_stderr(level="error")  # what waits for a reply fails here, which is no news
        return remade(self.directory.path, self.episode)

    def _show_remade(self, made: Remade) -> None:
        agent = Unended(self.directory).agent
        how = "it has ended, and waits for others to be written" if made.ended else "so far"
        remembered = Remembered(agent.memories, HeldTexts(made.memories))
        shown = Shown(made.envelopes, remembered, made.awaits)
        self._show(shown, f"Made again from its journal: {how}.")

    def _show_calls(self) -> None:
        run = Unended(self.directory)
        visitor, calls = run.calls(self.episode)
        chosen = [one for one in calls.ended if self.step is None or self._is_here(run, one)]
        if self.how.json:
            for call in chosen:
                write_json_line(msgspec.json.encode(call))
            return
        shown = Journaled(self.episode, visitor, calls, run.agent)
        page = calls_page(shown) if self.step is None else call_page(shown, self.step)
        self._print(page, "This is what its journal has; --replayed makes it again.")

    def _is_here(self, run: Unended, call: CallEnded) -> bool:
        return run.agent.role(call.role).step(call.step) == self.step

    def show_prompt(self, role: str) -> None:
        """Show what a role was asked at the step."""
        if self.step is None:
            raise ConfigError("a prompt belongs to a step", hint=f"such as {self.episode}:0")
        request = self._request((self.episode, self.step), role)
        for message in request.messages:
            write(f"# {message.role}\n\n{message.content}\n\n")
        if request.schema:
            write(f"# schema\n\n{request.schema}\n")

    def _request(self, at: Point, role: str) -> ChatRequest:
        check_not_imported(self.directory)
        if self._written():
            return prompt_of(self.directory.path, at, role)
        return request_at(self._remade().requests, at, role)


def _remembered(directory: RunDirectory) -> Remembered:
    if is_imported(directory):
        return Remembered()
    texts = RecordedTexts(directory)
    try:
        memories = cast_of(directory, read_head(directory.trace)).memories
    except (ConfigError, RunDirectoryError) as error:
        return Remembered(unknown=str(error))
    return Remembered(memories, texts)
