"""What the calls of an episode asked, word for word: as the run kept it, or made again."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import islice
from typing import Literal, TypeAlias

import msgspec

from agents.models.access import prompt_text
from agents.models.model import ChatMessage, call_seed, request_digest
from engine.calls import Call
from engine.errors import BillpError
from sim.config.stages import Course
from sim.runs.models import samplings
from sim.runs.recorded import is_imported
from sim.runs.replay import requests_of
from storage.environments import Environment
from storage.prompt_texts import PromptText, find_prompts
from storage.runs import RunDirectory

Change: TypeAlias = Literal["same", "added", "removed", "skipped"]

_AROUND = 2  # lines that stay around a change
_MOST_LINES = 4_000  # beyond that nobody reads a diff, and it takes long
_FEW = 200  # episodes that are made again for one that comes after them


class DiffLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a text beside another; of those *skipped* the text says how many they are."""

    change: Change
    text: str


@dataclass(frozen=True)
class Prompts:
    """The *texts* of an episode's requests by digest; *unknown* says why some are not there.

    Those that were made *again* have the digests of the trace, so they are what was asked.
    """

    texts: Mapping[str, PromptText] = field(default_factory=dict)
    again: bool = False
    unknown: str = ""


def prompts_of(
    directory: RunDirectory,
    episode: int,
    wanted: frozenset[str],
    world: Environment | None,
    why_not: str,
) -> Prompts:
    """Return the prompts *wanted* of an episode: those kept, else all of them made again.

    Without its *world* (*why_not*) nothing is made again. Raises FileError for damage.
    """
    kept = find_prompts(directory.prompts, wanted)
    if len(kept) == len(wanted):
        return Prompts(kept)
    if is_imported(directory):
        return Prompts(kept, unknown="the run was imported, without prompts")
    if world is None:
        return Prompts(kept, unknown=f"the run kept none, and its world is not here: {why_not}")
    if not (directory.finished and directory.memory.exists()) and episode > _FEW:
        what = f"the run kept no memories, so {episode:,} episodes would be made again for it"
        return Prompts(kept, unknown=f"{what}: billp show --prompt does so")
    try:
        made = requests_of(directory.path, episode, environment=world)
    except BillpError as error:
        return Prompts(kept, unknown=str(error))
    texts = {request.digest: prompt_text(request, request.digest) for request in made}
    found = {digest: texts[digest] for digest in wanted if digest in texts}
    lacking = "" if len(found) == len(wanted) else "made again it is another: so is the code"
    return Prompts(kept | found, again=True, unknown=lacking)


def is_exact(text: PromptText, call: Call, course: Course) -> bool:
    """Tell whether *text* is what was asked: then its digest, made of it anew, is the call's."""
    if call.role not in course.config.roles:
        return False
    messages = (
        ChatMessage(role="system", content=text.system),
        ChatMessage(role="user", content=text.text),
    )
    seed = call_seed(course.config.seed, call)
    return request_digest(samplings(course)(call), messages, seed, text.schema) == text.request


def whole(text: PromptText) -> str:
    """Return a request's text as one."""
    schema = f"\n\n# schema\n\n{text.schema}" if text.schema else ""
    return f"# system\n\n{text.system}\n\n# user\n\n{text.text}{schema}"


def diff_lines(old: str, new: str) -> tuple[DiffLine, ...] | None:
    """Return *new* beside *old*, line by line; None if they are too long for that."""
    before, after = old.splitlines(), new.splitlines()
    if max(len(before), len(after)) > _MOST_LINES:
        return None
    return tuple(_lines(before, after))


def _lines(before: Sequence[str], after: Sequence[str]) -> Iterator[DiffLine]:
    # Lines that are there again and again anchor nothing: of them alone it would take for ever.
    changes = SequenceMatcher(None, before, after, autojunk=True).get_opcodes()
    for place, (tag, i, j, k, m) in enumerate(changes):
        if tag == "equal":
            yield from _same(after[k:m], first=place == 0, last=place == len(changes) - 1)
            continue
        yield from (DiffLine(change="removed", text=line) for line in before[i:j])
        yield from (DiffLine(change="added", text=line) for line in after[k:m])


def _same(lines: Sequence[str], *, first: bool, last: bool) -> Iterator[DiffLine]:
    """Yield what is alike: of many lines those next to what is not."""
    head, tail = (0 if first else _AROUND), (0 if last else _AROUND)
    if len(lines) <= head + tail + 1:
        yield from (DiffLine(change="same", text=line) for line in lines)
        return
    yield from (DiffLine(change="same", text=line) for line in islice(lines, head))
    skipped = len(lines) - head - tail
    yield DiffLine(change="skipped", text=f"{skipped:,} lines alike")
    yield from (DiffLine(change="same", text=line) for line in lines[len(lines) - tail :])
