"""The files that a run writes while it runs, and the list of them when it is over."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

import msgspec

from sim.config.run import RunConfig
from sim.metrics.summary import Summary
from storage.files import AppendOnly, HeldBack
from storage.journal import Journal
from storage.manifest import write_manifest
from storage.prompt_texts import PromptTexts
from storage.runs import RunDirectory
from storage.traces import TraceWriter, survey
from storage.vectors import VectorFile


@dataclass(frozen=True)
class Files:
    """What is written while a run runs."""

    journal: Journal
    vectors: VectorFile | None
    trace: TraceWriter
    prompts: PromptTexts | None


@contextmanager
def written_in(
    directory: RunDirectory, config: RunConfig, *, journaled: int = 0, forgotten: int = 0
) -> Iterator[Files]:
    """Open the files of a run, after *journaled* bytes of its journal and all whole lines.

    Vectors that failed within the first *forgotten* bytes of their file are asked for again. No
    line comes to the trace before the replies and vectors that it depends on are on the disk.
    Whatever happens, all files are closed whole.
    """
    with ExitStack() as opened:
        journal = opened.enter_context(closing(Journal(directory.journal, config.fsync, journaled)))
        before, vectors = [journal.file], None
        if config.embedding_model:
            vectors = VectorFile(directory.vectors, config.fsync, forgotten)
            opened.enter_context(closing(vectors))
            before.append(vectors.file)
        file = AppendOnly(directory.trace, config.fsync, survey(directory.trace).size)
        trace = opened.enter_context(closing(TraceWriter(HeldBack(file, before))))
        prompts = PromptTexts(directory.prompts, resumed=journaled > 0) if config.prompts else None
        if prompts is not None:
            opened.enter_context(closing(prompts))
        yield Files(journal, vectors, trace, prompts)


def listed(directory: RunDirectory, summary: Summary) -> Summary:
    """List the files of a run, which are closed by now, and return its summary with the digest."""
    return msgspec.structs.replace(summary, manifest=write_manifest(directory))
