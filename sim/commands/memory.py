"""`billp memory`: what a run's memories hold, what was recalled of them, and whether it paid."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import msgspec
import typer
from rich.console import RenderableType

from engine.errors import ConfigError
from sim.analysis.memory.facts import CAUTION
from sim.analysis.memory.recorded import RecordedMemories, open_memories
from sim.commands.located import RunPath
from sim.commands.options import gathered
from sim.commands.places import parse_point
from sim.views.console import plain, write_json
from sim.views.memory import asked_page, entries_page, facts_page, found_page, map_page
from sim.views.memory_map import FORMS, MemoryMap

Answer: TypeAlias = tuple[RenderableType, dict[str, Any]]
"""What people see, and what --json writes."""


@dataclass(frozen=True)
class LookOptions:
    """What is looked at; nothing stands for the numbers of all memories."""

    list: Annotated[
        str | None,
        typer.Option("--list", help="Records of a memory, such as actor.", metavar="NAME"),
    ] = None
    like: Annotated[
        str | None,
        typer.Option(help="Records with keys like a text, of all memories or that of --list."),
    ] = None
    limit: Annotated[int, typer.Option(help="How many records at most.", min=1)] = 20
    episode: Annotated[
        str | None,
        typer.Option(help="What was recalled at a step: 12:0.", metavar="EPISODE:STEP"),
    ] = None
    map: Annotated[
        Path | None,
        typer.Option(
            help="Draw states and reflections, by likeness: .csv, .png, .svg or .pdf.",
            metavar="FILE",
        ),
    ] = None

    def check(self) -> None:
        """Raise ConfigError for what does not go together, or a file of no known kind."""
        listing = self.list is not None or self.like is not None
        if sum((listing, self.episode is not None, self.map is not None)) > 1:
            hint = "only --list and --like go together"
            raise ConfigError("choose one of --list, --like, --episode and --map", hint=hint)
        if self.map is not None and self.map.suffix not in FORMS:
            hint = f"--map memories{FORMS[0]}"
            raise ConfigError(f"a map ends in {', '.join(FORMS)}, got {self.map.name!r}", hint=hint)


@gathered
def memory(
    run: RunPath,
    look: LookOptions,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object and nothing else.")
    ] = False,
) -> None:
    """Tell what a run's memories hold, how they were recalled, and whether following them paid.

    Without options: the numbers, from the trace. They tell what was observed, not what caused it.
    Of a run that is not finished its trace tells, as far as it has come, and --list and --episode
    with it; --like and --map need the keys, which are saved at the end.
    """
    look.check()
    page, facts = _answer(open_memories(run), look)
    if as_json:
        write_json({"run": str(run), **facts})
    else:
        plain().print(page, crop=False)


def _answer(memories: RecordedMemories, look: LookOptions) -> Answer:
    if look.map is not None:
        return _map(memories, look.map)
    if look.episode is not None:
        return _recalled(memories, look.episode)
    if look.like is not None:
        return _alike(memories, look.like, look)
    if look.list is not None:
        return _listed(memories, look.list, look.limit)
    facts = memories.facts()
    about = {"agent": memories.head.agent, "finished": memories.finished}
    return facts_page(memories, facts), {**about, **msgspec.structs.asdict(facts), "note": CAUTION}


def _listed(memories: RecordedMemories, name: str, limit: int) -> Answer:
    records = memories.records(name)
    entries = records.first(limit)
    facts = {"memory": name, "records": len(records), "shown": entries}
    return entries_page(entries, len(records), finished=memories.finished), facts


def _alike(memories: RecordedMemories, text: str, look: LookOptions) -> Answer:
    names = [name.name for name in memories.memories] if look.list is None else [look.list]
    found = memories.like(text, names, look.limit)
    return found_page(text, found, memories.memories), {"text": text, "found": found}


def _recalled(memories: RecordedMemories, place: str) -> Answer:
    episode, step = parse_point(place)
    asked = memories.asked_at((episode, step))
    facts = {"episode": episode, "step": step, "asked": asked}
    return asked_page(asked, memories.head.agent), facts


def _map(memories: RecordedMemories, path: Path) -> Answer:
    title = f"Memories of {memories.directory.path.name} ({memories.head.agent})"
    panels = MemoryMap(memories.every()).write(path, title)
    return map_page(str(path), panels), {"map": str(path), "panels": panels}
