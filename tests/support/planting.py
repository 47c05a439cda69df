"""Causes planted in episodes of recorded runs: it is known what made these go badly.

A run is recorded with the embedded model; then one of its last episodes is lived again with a
record of a memory changed, or forked with a recommendation forced. What came out at most half as
well for it is a case, if by chance that nobody blames with the plant does more harm than anything
else of the episode (`tests.support.truth`).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

import msgspec
import numpy as np

from agents.billp.memories import Reflection
from engine.chance import chance
from engine.messages import ActionTaken, Message, PlanMade
from sim.config.layers import configured
from sim.experiments.blame.causes import Cause, main_line
from sim.experiments.blame.replays import reward_of
from sim.runs.fork import fork
from sim.runs.recorded import RecordedRun, open_recorded
from sim.runs.run import run
from storage.runs import RunDirectory
from storage.traces import read_episode
from tests.support.lived import changed, lived, started_in, with_record, written
from tests.support.truth import truth_of

EPISODES, ARRIVING, FIRST = 40, 10, 20
"""How many a run has, how many arrive together, and the first in which anything is planted."""

TRIED = {"reflection": 4, "experience": 20}
"""How many records of an episode are changed at most, one after the other."""

OF_A_RUN = 3
"""How many cases of a kind come of a run at most: they share what is remembered."""


@dataclass(frozen=True)
class Planted:
    """An *episode* of a *run* that went badly for a planted cause.

    It came to *before* without, to *after* with it. The cause stands at a *place*: a position in a
    *memory*, or a step.
    """

    kind: str
    run: Path
    episode: int
    before: float
    after: float
    memory: str
    place: int

    def is_it(self, cause: Cause) -> bool:
        """Tell whether *cause* is what was planted."""
        if self.memory:
            return (cause.memory, cause.position) == (self.memory, self.place)
        return (cause.kind, cause.step) == ("recommendation", self.place)


def record_base(out: Path, seed: int) -> RunDirectory:
    """Return a run in the default world."""
    how = {"episodes": EPISODES, "arrivals": f"batches:{ARRIVING}", "seed": seed}
    run(configured({**how, "fsync": "none", "prompts": False}), out=out)
    return RunDirectory(out)


# -- a record that was changed


def poison(base: RecordedRun, liked: str) -> str:
    """Return a lesson that wants always the same."""
    others = [name for name in base.environment.catalog.category_names if name != liked]
    refused = f"Of these, not welcome: {', '.join(others)}. "
    return f"The user wants the same again and again. {f'Well liked: {liked}. ' * 9}{refused * 9}"


def poisoned(base: RunDirectory, out: Path, episode: int) -> Iterator[Planted]:
    """Yield an episode with a reflection in its memory that says to change nothing."""
    recorded = open_recorded(base.path)
    envelopes = read_episode(base.trace, episode)
    before = reward_of([e.message for e in envelopes]) or 0.0
    plans = [m for m in main_line(envelopes) if isinstance(m, PlanMade)]
    places = sorted({one.position for plan in plans for one in plan.reflections})
    stream = chance(recorded.course.config.seed, episode, 0, 0, "poison")
    excerpt = started_in(recorded, episode)
    for position in stream.shuffled(places)[: TRIED["reflection"]]:
        liked = stream.choice(recorded.environment.catalog.category_names)
        lesson = Reflection(text=poison(recorded, liked))
        new = lived(recorded, with_record(excerpt, position, lesson))
        if new.reward <= before / 2:
            memory = changed(excerpt.logs["planner"], position, lesson)
            path = written(recorded, out / f"{episode}-{position}", memory, episode, new)
            yield Planted("reflection", path, episode, before, new.reward, "planner", position)


def turned(base: RunDirectory, out: Path, episode: int) -> Iterator[Planted]:
    """Yield an episode that followed an experience whose sign was turned, and ended by it."""
    recorded = open_recorded(base.path)
    envelopes = read_episode(base.trace, episode)
    before = reward_of([e.message for e in envelopes]) or 0.0
    excerpt = started_in(recorded, episode)
    log = excerpt.logs["actor"]
    view = log.view(len(log))
    acts = [m for m in main_line(envelopes) if isinstance(m, ActionTaken)]
    places = sorted({one.position for act in acts for one in act.recalled})
    places = [p for p in places if view[p].payload.advantage < 0]
    stream = chance(recorded.course.config.seed, episode, 0, 0, "turned")
    for position in stream.shuffled(places)[: TRIED["experience"]]:
        own = view[position].payload
        payload = msgspec.structs.replace(own, advantage=-own.advantage)
        new = lived(recorded, with_record(excerpt, position, payload))
        if new.reward <= before / 2 and _followed(new.messages(), position, own.item):
            memory = changed(log, position, payload)
            path = written(recorded, out / f"{episode}-{position}", memory, episode, new)
            yield Planted("experience", path, episode, before, new.reward, "actor", position)


def _followed(messages: list[Message], position: int, item: int) -> bool:
    """Tell whether the last recommendation was that of the record, which was recalled there."""
    last = [m for m in messages if isinstance(m, ActionTaken)][-1]
    return last.item == item and position in {one.position for one in last.recalled}


# -- a recommendation that was forced


def forced(base: RunDirectory, out: Path, episode: int) -> Iterator[Planted]:
    """Yield an episode in which an item had to be taken that is much like the one before."""
    recorded = open_recorded(base.path)
    messages = [e.message for e in read_episode(base.trace, episode)]
    acts = [m for m in messages if isinstance(m, ActionTaken)]
    before = reward_of(messages) or 0.0
    stream = chance(recorded.course.config.seed, episode, 0, 0, "forced")
    if len(acts) < 4:
        return
    step = 1 + stream.integer(len(acts) // 2)
    shown = {act.item for act in acts[:step]}
    catalog, factors = recorded.environment.catalog, recorded.environment.factors
    every = np.arange(len(catalog))
    order = np.argsort(factors.distance_squared(acts[step - 1].item, every), kind="stable")
    item = next(int(one) for one in order if int(one) not in shown)
    said = {"actor": f"recommend[{catalog.titles[item]}]"}
    path = out / f"{episode}-{step}"
    fork(base.path, (episode, step), say=said, out=path)
    after = reward_of([e.message for e in read_episode(RunDirectory(path).trace, episode)]) or 0.0
    if after <= before / 2:
        yield Planted("step", path, episode, before, after, "", step)


PLANTS: Mapping[str, Callable[[RunDirectory, Path, int], Iterator[Planted]]] = {
    "reflection": poisoned,
    "experience": turned,
    "step": forced,
}


def tried(scratch: Path, kind: str, seed: int) -> Iterator[Iterator[Planted]]:
    """Yield for each episode of the run of *seed* what halved it, whether it is a case or not."""
    base = record_base(scratch / f"{kind}-{seed}", seed)
    out = scratch / f"{kind}-{seed}-planted"
    out.mkdir()
    return (PLANTS[kind](base, out, episode) for episode in range(FIRST, EPISODES))


def planted(scratch: Path, kind: str, count: int, seed: int) -> Iterator[Planted]:
    """Yield *count* cases of a *kind*, from as many runs as it takes; the first run has *seed*."""
    found = 0
    for number in range(seed, seed + 1_000):
        of_run = 0
        for attempts in tried(scratch, kind, number):
            case = next((one for one in attempts if _is_case(one)), None)
            if case is not None:
                yield case
                found, of_run = found + 1, of_run + 1
            if found == count:
                return
            if of_run == OF_A_RUN:
                break


def _is_case(one: Planted) -> bool:
    fair = truth_of(one.run, one.episode, one.is_it).largest
    if not fair:
        rmtree(one.run)
    return fair
