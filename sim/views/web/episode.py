"""The page of an episode: what led to each step, and why it ended."""

from dataclasses import dataclass
from functools import partial
from shlex import quote

from engine.errors import BillpError
from engine.messages import Envelope, EpisodeStarted, Message, Setting
from sim.analysis.leaving import Leaving, leaving
from sim.analysis.ledger import Row
from sim.analysis.memory.recalls import bare_recalls, recalls_of
from sim.analysis.memory.texts import RecordedTexts
from sim.analysis.steps import AFTER, Recalls, StepTold, Told, told
from sim.analysis.visits import Standing, Unended
from sim.runs.recorded import cast_of
from sim.runs.stopping import resuming
from sim.views.web.opened import Opened
from sim.views.web.page import Asked, Page
from sim.views.web.strip import Strip, hues_of, strip_of
from sim.world.quitting import QUIT_RULES, names_of, reasons_of
from storage.environments import Environment
from storage.journal import AttemptFailed, CallEnded

_AROUND = 40  # steps that stand in a page before and after the one that is looked at
_LARGE = 64 << 20  # bytes of a trace that is not read through for the texts of memories


@dataclass(frozen=True)
class EpisodeFacts:
    """An episode: its *row*, all that was *told* of it, and what makes it a picture.

    *step* is the one that is looked at, *marked* the envelope that is pointed to, if one is. The
    steps that stand in the page are those from *first* to *last*. *untold* and *unknown* say why
    there are no texts of memories, and no categories, if there are none. *forks* begins the command
    that forks here.
    """

    run: str
    episode: int
    total: int
    row: Row
    started: EpisodeStarted
    told: Told
    step: int
    marked: int | None
    first: int
    last: int
    strip: Strip
    hues: dict[str, int]
    leaving: Leaving | None
    categories: dict[int, tuple[str, ...]]
    discount: float | None
    meaning: str
    untold: str
    unknown: str
    imported: bool
    finished: bool
    forks: str

    @property
    def steps(self) -> tuple[StepTold, ...]:
        """The steps that stand in the page."""
        return tuple(one for one in self.told.steps if self.first <= one.step <= self.last)


@dataclass(frozen=True)
class OpenFacts:
    """An episode that is not written yet, by the calls that the journal has, each with its step.

    *tried* are calls that have failed so far, and are tried again.
    """

    run: str
    episode: int
    user: int
    session: int
    standing: Standing
    calls: tuple[tuple[int, CallEnded], ...]
    tried: tuple[AttemptFailed, ...]
    resume: str


@dataclass(frozen=True)
class EnvelopesFacts:
    """The envelopes of an episode as they stand in the trace; *marked* is pointed to."""

    run: str
    episode: int
    marked: int | None
    envelopes: tuple[Envelope[Message], ...]


def episode_page(asked: Asked) -> Page:
    """Return the page of an episode."""
    opened, episode = Opened(asked.directory), asked.number("k")
    ledger = asked.ledger
    if episode >= len(ledger) and opened.standing != "finished":
        return Page("open.html", _open(asked, opened, episode))
    return Page("episode.html", _facts(asked, opened, ledger.read(episode)))


def envelopes_page(asked: Asked) -> Page:
    """Return the page of an episode's envelopes."""
    episode = asked.number("k")
    envelopes = tuple(asked.ledger.read(episode))
    marked = asked.number("n") if asked.text("n") else None
    return Page("envelopes.html", EnvelopesFacts(asked.run, episode, marked, envelopes))


def _facts(asked: Asked, opened: Opened, envelopes: list[Envelope[Message]]) -> EpisodeFacts:
    episode, ledger = asked.number("k"), asked.ledger
    world, why = opened.world_kept(asked.kept)
    recalls, untold = _recalls(opened, [envelope.message for envelope in envelopes])
    found = told(envelopes, recalls, partial(_categories, world))
    settings = _settings(opened)
    marked = asked.number("n") if asked.text("n") else None
    step = _step(asked, found, marked)
    started = envelopes[0].message
    if not isinstance(started, EpisodeStarted):
        raise TypeError(f"expected EpisodeStarted, got {started!r}")
    hues = hues_of(found.steps)
    return EpisodeFacts(
        run=asked.run,
        episode=episode,
        total=len(ledger),
        row=ledger[episode],
        started=started,
        told=found,
        step=step,
        marked=marked,
        first=max(step, 0) - _AROUND,
        last=max(step, 0) + _AROUND,
        strip=strip_of(found.steps, hues),
        hues=hues,
        leaving=leaving(found, settings, world, why),
        categories={rated.item: _categories(world, rated.item) for rated in started.history},
        discount=_number(settings.get("critic.discount")),
        meaning=_meaning(settings, ledger[episode].reason),
        untold=untold,
        unknown=why,
        imported=opened.imported,
        finished=opened.standing == "finished",
        forks=f"billp fork {quote(str(opened.directory.path))} --at {episode}:",
    )


def _step(asked: Asked, found: Told, marked: int | None) -> int:
    """Return which step is looked at: that of the envelope that is pointed to, or the first."""
    known = [step.step for step in found.steps]
    place = found.places.get(marked) if marked is not None else None
    if marked is not None and place is not None:
        return place
    wanted = asked.number("step", known[0] if known else AFTER)
    return wanted if wanted in known else AFTER


def _settings(opened: Opened) -> dict[str, Setting]:
    return dict(opened.head.settings) if opened.head else {}


def _number(value: Setting | None) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _meaning(settings: dict[str, Setting], reason: str) -> str:
    """Return what a reason means; a rule from outside is not imported to say it."""
    if reason == "limit":
        return "the visit was cut short"
    name = str(settings.get("quit_rule", ""))
    ours = {*names_of(name)} <= {*QUIT_RULES.own}
    known = reasons_of(name) if ours else {}
    return known.get(reason, "the user left" if reason else "")


def _categories(world: Environment | None, item: int) -> tuple[str, ...]:
    known = world is not None and 0 <= item < len(world.catalog)
    return world.catalog.categories[item] if world and known else ()


def _recalls(opened: Opened, messages: list[Message]) -> tuple[Recalls, str]:
    """Return what tells what was recalled, and why it does not tell all, if it does not."""
    directory = opened.directory
    if opened.imported or opened.head is None:
        return bare_recalls, ""
    try:
        memories = cast_of(directory, opened.head).memories
        if not directory.memory.exists() and directory.trace.stat().st_size > _LARGE:
            why = "they are read once the run has come to its end and saved its memories"
            return recalls_of(messages, memories, lambda _, __: {}), why
        return recalls_of(messages, memories, RecordedTexts(directory)), ""
    except BillpError as error:
        return bare_recalls, str(error)


def _open(asked: Asked, opened: Opened, episode: int) -> OpenFacts:
    """Return what the journal knows of an episode; raises ConfigError if that is nothing."""
    world, why = opened.world_kept(asked.kept)
    if world is None:
        raise BillpError(
            f"episode {episode} is not written yet, and whose it is is not known: {why}"
        )
    run = Unended(opened.directory)
    (user, session), calls = run.calls(episode)
    placed = [(run.agent.role(call.role).step(call.step), call) for call in calls.ended]
    path = opened.directory.path
    return OpenFacts(
        run=asked.run,
        episode=episode,
        user=user,
        session=session,
        standing=opened.standing,
        calls=tuple(sorted(placed, key=lambda pair: pair[0])),
        tried=calls.tried,
        resume=resuming(path) if opened.standing == "stopped" else "",
    )
