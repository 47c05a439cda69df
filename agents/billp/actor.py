"""The actor: micro-learning. It turns a thought into an item.

Its prompt, in order: task and grammar (system); the user's history, the recent recommendations with
their rewards, what the tools say (categories of the last 10 items, categories not yet tried, the
user's taste, candidates that fit the thought), what was worth recommending in like states and what
was not, the thought, the question: what stays the same comes first, so that a service that keeps
what it has read need not read it again. Beside candidates stands what others rated them, and how
they surprised earlier visitors. A structured answer is one of the items that are listed.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from agents.asking import ask
from agents.billp.advice import Advice, Adviser, Surprise, Surprises
from agents.billp.grounding import Grounded, Grounder
from agents.billp.memories import EXPECTED, EXPERIENCES, experiences, recalled
from agents.billp.states import WINDOW, state_lines, states
from agents.billp.taste import NO_TASTE, Taste, Taster
from agents.billp.tools import CandidateSearch, category_counts, untried
from agents.billp.values import Judge, judged_steps
from agents.grammar import Grammar, structured
from agents.models.model import Prompt
from agents.prompts import (
    OPENINGS,
    SEPARATOR,
    Histories,
    histories,
    item_line,
    recent_lines,
    section,
)
from agents.settings import ActorSettings, Repeats
from agents.trajectory import Delivery, Trajectory
from engine.errors import UnreadableReplyError
from engine.messages import (
    ActionTaken,
    EpisodeSettled,
    PlanMade,
    PlanRequested,
    ToolResult,
    number,
)
from storage.catalog import Catalog

ROLE = "actor"
_REMEMBERED = 65_536  # items' lines
_NOTHING = Advice()
_UNKNOWN: Mapping[int, Surprise] = {}


def task(
    *,
    thinking: bool = True,
    tools: bool = True,
    recalling: bool = True,
    taste: bool = True,
    surprises: bool = True,
) -> str:
    """Return the task of an actor: it is promised nothing that it does not get."""
    follow = ", following the thought of a planner" if thinking else ""
    what = "one of the candidates or any other item" if tools else "any item"
    learned = "Prefer what was encouraged in like states, leave what was discouraged, and mind"
    rated = "Beside an item stands what others rated it, and how many did" if taste else ""
    beside = ", and how much better than expected it pleased earlier visitors" if surprises else ""
    told = f"{rated}{beside}. " if rated else ""
    return (
        f"{OPENINGS[ROLE]} for a user{follow}. You may take {what} that you know to be in "
        f"the catalog. {told}{learned if recalling else 'Mind'} that the user leaves when an item "
        "is too much like recent ones."
    )


TASK = task()

# A title may hold brackets in pairs; if they do not pair, it ends with the last of its line.
_ACTION = re.compile(
    r"recommend\s*\[((?:[^\[\]]|\[[^\[\]]*\])+)\]|recommend\s*\[(.+)\]",
    re.I,
)


def read_action(text: str) -> str:
    """Return the title of a reply in the grammar `recommend[title]`: the first there is."""
    found = _ACTION.search(text)
    title = (found.group(1) or found.group(2)).strip() if found else ""
    if not title:
        raise UnreadableReplyError(f"expected recommend[title], got {text[:60]!r}")
    if title.casefold() == "title":
        raise UnreadableReplyError(f"expected recommend[title] with a title, got {text[:60]!r}")
    return title


def read_title(text: str) -> str:
    """Return a title that stands alone."""
    title = text.strip()
    if not title:
        raise UnreadableReplyError("expected a title, got nothing")
    return title


# No worked example: small models copy it, title and all.
PLAIN = Grammar(
    "Answer with recommend[title] and nothing else, the title written as it is listed.", read_action
)
STRUCTURED = structured(
    "title",
    {"type": "string"},
    'Its one field, "title", is the title of the item, written as it is listed.',
    read_title,
    read_action,
)


@dataclass(frozen=True)
class Actor:
    """Recommends an item for each thought; *repeats* says what becomes of items shown before.

    *judge* says afterwards what each step of an episode was worth. Not *recalling* its prompt has
    nothing of earlier visits, without *tools* no help from the catalog, without a *taster* nothing
    of what others rated, nor of what the user's taste is.
    """

    catalog: Catalog
    search: CandidateSearch
    grounder: Grounder
    settings: ActorSettings
    task: str = TASK
    repeats: Repeats = "forbid"
    judge: Judge = judged_steps
    grammar: Grammar[str] = PLAIN
    recalling: bool = True
    tools: bool = True
    taster: Taster | None = None

    @cached_property
    def adviser(self) -> Adviser:
        """What asks the actor's memory."""
        return Adviser(self.settings)

    @cached_property
    def surprises(self) -> Surprises:
        """What knows how items surprised."""
        return Surprises()

    async def act(self, delivery: Delivery[PlanMade] | Delivery[PlanRequested]) -> None:
        """Answer `PlanMade`, or `PlanRequested` where nobody thinks, with `ActionTaken`."""
        trajectory = delivery.trajectory
        step = delivery.message.step
        shown = {done.item for done in trajectory.steps()}
        advice = await self._advice(delivery, () if self.repeats == "allow" else shown)
        candidates = self._candidates(delivery, shown) if self.tools else []
        taste = NO_TASTE if self.taster is None else self.taster.taste(trajectory)
        known = self._surprises(delivery)
        tools = self.consult(trajectory, candidates, known) if self.tools else ()
        among = (*candidates, *advice.encouraged)
        prompt = self.prompt(trajectory, tools, advice, taste, known, among)
        words, text = await ask(delivery, prompt, self.grammar.read)
        forbidden = shown if self.repeats == "forbid" else ()
        grounded = self._ground(words, text, candidates, forbidden)
        delivery.publish(
            ActionTaken(
                step=step,
                item=grounded.item,
                title=self.catalog.titles[grounded.item],
                words=words or text,
                grounding=grounded.kind,
                distance=grounded.distance,
                recalled=recalled(advice.found),
                tools=(*tools, *self._expected(taste, grounded.item)),
            )
        )

    def _expected(self, taste: Taste, item: int) -> tuple[ToolResult, ...]:
        if self.taster is None:
            return ()
        worth = number(self.taster.expected(taste, item))
        return (ToolResult(tool=EXPECTED, text=f"{worth:g}"),)

    def _surprises(self, delivery: Delivery[Any]) -> Mapping[int, Surprise]:
        if not (self.recalling and self.settings.surprises):
            return {}
        return self.surprises.of(delivery.view(EXPERIENCES))

    async def _advice(
        self, delivery: Delivery[PlanMade] | Delivery[PlanRequested], spent: Collection[int]
    ) -> Advice:
        if not (self.recalling and self.settings.recall_count):
            return Advice()
        key = await delivery.embed(state_lines(delivery.trajectory))
        return self.adviser.advise(delivery.view(EXPERIENCES), key, spent)

    def _candidates(
        self, delivery: Delivery[PlanMade] | Delivery[PlanRequested], shown: Collection[int]
    ) -> list[int]:
        return self.search.search(
            delivery.trajectory.thought,
            count=self.settings.candidates,
            taken=() if self.repeats == "allow" else shown,
            stream=delivery.chance("candidates", delivery.message.step),
        )

    def _ground(
        self, words: str | None, text: str, candidates: list[int], forbidden: Collection[int]
    ) -> Grounded:
        if words is not None:
            return self.grounder.ground(words, forbidden)
        among = candidates or range(len(self.catalog))
        nearest = self.grounder.nearest(text, among, forbidden)
        return Grounded(nearest.item, "fallback", nearest.distance)

    def consult(
        self,
        trajectory: Trajectory,
        candidates: list[int],
        known: Mapping[int, Surprise] = _UNKNOWN,
    ) -> tuple[ToolResult, ...]:
        """Return what the tools say at this point; *known* is how items surprised."""
        recent = trajectory.recent(WINDOW)
        counts = ", ".join(f"{name} {count}" for name, count in category_counts(recent))
        fresh = ", ".join(untried(self.catalog, list(trajectory.steps()), WINDOW))
        lines = self._told(candidates, known)
        return (
            ToolResult(tool="categories", text=counts),
            ToolResult(tool="untried", text=fresh),
            ToolResult(tool="candidates", text="\n".join(lines)),
        )

    def _told(self, items: Collection[int], known: Mapping[int, Surprise]) -> list[str]:
        """Return the lines of *items*, with what others rated them and how they surprised."""
        lines = []
        for item in items:
            line = self._lines(item)
            if item in known:
                line += f"{SEPARATOR}surprise {known[item].mean:+.2f} in {known[item].count}"
            lines.append(line)
        return lines

    @cached_property
    def _lines(self) -> Callable[[int], str]:
        return lru_cache(_REMEMBERED)(self._line)

    def _line(self, item: int) -> str:
        """Return what is told of *item* whoever visits."""
        line = item_line(self.catalog.titles[item], self.catalog.categories[item])
        if self.taster is None:
            return line
        standing = self.taster.standing
        return f"{line}{SEPARATOR}rated {standing.means[item]:.2f} by {standing.counts[item]}"

    @cached_property
    def _history(self) -> Histories:
        return histories(self.catalog)

    def prompt(
        self,
        trajectory: Trajectory,
        tools: tuple[ToolResult, ...],
        advice: Advice = _NOTHING,
        taste: Taste = NO_TASTE,
        known: Mapping[int, Surprise] = _UNKNOWN,
        among: Collection[int] = (),
    ) -> Prompt:
        """Return the question for the item of a step; one of those *among* which it is listed."""
        said = {result.tool: result.text for result in tools}
        text = self._history(trajectory.history)
        text += section("Recent recommendations", recent_lines(trajectory, WINDOW))
        text += section("Categories of the recent recommendations", [said.get("categories", "")])
        text += section("Categories not yet tried", [said.get("untried", "")])
        text += taste.section
        text += section("Candidates", [said.get("candidates", "")])
        text += section("Encouraged in like states", self._told(advice.encouraged, known))
        text += section("Discouraged in like states", self._told(advice.discouraged, known))
        text += section("Thought", [trajectory.thought])
        text += f"## Question\nWhich item is recommended at step {trajectory.step}?"
        system = f"{self.task}\n{self.grammar.words}"
        schema = self.grammar.schema(self.catalog.titles[item] for item in among)
        return Prompt(role=ROLE, step=trajectory.step, system=system, text=text, schema=schema)

    async def remember(self, delivery: Delivery[EpisodeSettled]) -> None:
        """Keep what each item was worth under the state in which it was recommended."""
        episode = delivery.episode
        texts = states(delivery.trajectory)
        advantages = {step.step: step.advantage for step in self.judge(episode)}
        kept = experiences(episode, advantages)
        entries = [(await delivery.embed(texts[step]), worth) for step, worth in kept.items()]
        delivery.remember(EXPERIENCES, entries)
