"""Resuming: what is recorded is replayed, then the run goes live."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Unpack

from agents.models.recorded import Recorded, Resumed, Spoken
from engine.attempt import log
from engine.messages import RunEnded
from sim.metrics.summary import Summary
from sim.runs.divergence import EndOfRecordError, TraceCheck
from sim.runs.fork import forked_calls
from sim.runs.live import Live, listed
from sim.runs.loop import check_no_loop, in_event_loop, in_their_loop
from sim.runs.models import noted
from sim.runs.past import past_of
from sim.runs.recorded import RecordedRun, check_not_imported, open_recorded
from sim.runs.scenario import Given, scenario
from sim.runs.stopping import stopping
from sim.runs.trust import check_reach
from storage.batches import open_batches
from storage.checkpoints import forget
from storage.files import AppendOnly, remove
from storage.journal import Journal, RetryStarted, read_journal
from storage.manifest import write_manifest
from storage.provenance import Process, last_sign, read_provenance, this_process, written
from storage.runs import RunDirectory, open_run, written_in
from storage.traces import Survey, TraceWriter, head_of, survey, whole_size
from storage.vectors import read_vectors


@dataclass(eq=False)
class ContinuedTrace:
    """Compares a run with what its trace holds already, and writes on from there.

    *recorded* says where its episodes begin.
    """

    writer: TraceWriter
    check: TraceCheck
    recorded: Survey
    _continuing: bool = False
    _dropped: int | None = None

    def write(self, lines: bytes) -> None:
        """Compare or append the lines of an episode, or of the run itself."""
        if self._continuing:
            self.writer.write(lines)
            return
        try:
            self.check.write(lines)
        except EndOfRecordError as end:
            self._continuing = True
            self.writer.write(lines, written=end.size)
        else:
            self.writer.write(lines, written=len(lines))
            if head_of(lines).kind == RunEnded.__name__:
                self.check.end()

    def drop(self, episode: int) -> None:
        """Drop what is recorded from an *episode* on: a call of it is to be asked anew.

        So no journaled reply explains what is recorded: a crash of the machine cost the journal
        more than the trace. The new reply may be another one, and a resume after it must not find
        the old lines.
        """
        place = self.recorded.place_of(episode)
        if place is None or (self._dropped is not None and self._dropped <= episode):
            return
        self._dropped = episode
        self.writer.cut(place)
        self.check.look_again()
        log(
            "warning",
            "recorded lines dropped: what the model had said to them is not in the journal",
            path=str(self.check.path),
            episode=episode,
            bytes=self.recorded.size - place,
        )


def resume(
    run: PathLike[str] | str,
    *,
    retry_failed: bool = False,
    settings: Sequence[Mapping[str, Any]] = (),
    **given: Unpack[Given],
) -> Summary | None:
    """Finish the run in directory *run* and return what came of it; None if it was finished.

    Calls in its journal are not made again, except, with *retry_failed*, those that failed.
    *settings* that leave no mark on a trace, such as max_calls, may change; for what is *given* see
    `Given`. Raises ConfigError if a run from elsewhere would reach out by others than those
    (`sim.runs.trust`), DivergenceError if code or data are no longer those of the run; else what
    `sim.runs.run.run` raises. Where an event loop runs, await `resume_async`.
    """
    check_no_loop("resume_async")
    with _unfinished(run, retry_failed, settings, given) as recorded:
        if recorded is None:
            return None
        return in_event_loop(partial(_resume, recorded, retry_failed, given))


async def resume_async(
    run: PathLike[str] | str,
    *,
    retry_failed: bool = False,
    settings: Sequence[Mapping[str, Any]] = (),
    **given: Unpack[Given],
) -> Summary | None:
    """Do what `resume` does, inside an event loop that runs already."""
    with _unfinished(run, retry_failed, settings, given) as recorded, in_their_loop():
        if recorded is None:
            return None
        return await _resume(recorded, retry_failed, given)


@contextmanager
def _unfinished(
    run: PathLike[str] | str,
    retry_failed: bool,
    settings: Sequence[Mapping[str, Any]],
    given: Given,
) -> Iterator[RecordedRun | None]:
    """Yield a run that is to go on, its directory locked; None if there is nothing to do."""
    directory = open_run(Path(run))
    check_not_imported(directory)
    if directory.finished and directory.manifest.exists() and not retry_failed:
        yield None
        return
    with directory.locked():
        # Read under the lock: who held it until now may have gone further.
        if directory.finished and not retry_failed:
            _list_late(directory)
            yield None
            return
        processes = _earlier(directory)
        if not directory.finished:
            _cut_torn(directory)
        recorded = open_recorded(run, given.get("environment"))
        course = recorded.course.operated(settings)
        recorded = replace(recorded, course=course, processes=processes)
        config = recorded.course.config
        check_reach(directory.config, config, proven=recorded.proven, named=settings)
        if not config.batched:
            _tell_of_batches(directory)
        with stopping(directory):
            yield recorded


def _earlier(directory: RunDirectory) -> tuple[Process, ...]:
    """Return who has worked on the run; the last one did until it last wrote something."""
    told = read_provenance(directory.read_config())
    ended = last_sign([directory.trace, directory.journal])
    if ended is None or not told or told[-1].ended:
        return told
    return (*told[:-1], told[-1].over(ended))


def _tell_of_batches(directory: RunDirectory) -> None:
    """Say which batches are paid for, and will not be collected by a run that sends none."""
    for left in open_batches(directory.batches):
        what = "a batch is left where it is: no calls go in batches any more"
        log("warning", what, batch=left.batch, url=left.url)


def _list_late(directory: RunDirectory) -> None:
    """List the files of a run that was killed between its summary and its manifest."""
    if not directory.manifest.exists():
        forget(directory.checkpoint)
        write_manifest(directory)
        what = "manifest written now: what the files were before, nobody knows"
        log("warning", what, path=str(directory.manifest))


def _cut_torn(directory: RunDirectory) -> None:
    """Cut off what a crash left half, or never on the disk, at the end of journal and trace."""
    if not (directory.journal.exists() or whole_size(directory.trace)):
        # Killed before its first line: it has made no calls.
        AppendOnly(directory.journal).close()
        _cut(directory.trace, 0)
        return
    if directory.journal.exists():
        _cut(directory.journal, read_journal(directory.journal).size)
    _cut(directory.trace, survey(directory.trace).size)


def _cut(path: Path, size: int) -> None:
    if path.exists() and path.stat().st_size > size:
        lost = path.stat().st_size - size
        AppendOnly(path, start=size).close()
        log("warning", "torn end cut off", path=str(path), size=size, bytes=lost)


async def _resume(recorded: RecordedRun, retry_failed: bool, given: Given) -> Summary:
    course, directory = recorded.course, recorded.directory
    unfinished = scenario(course, given, recorded.environment)
    kept = unfinished.kept
    async with unfinished.doors() as doors:
        forgotten = recorded.recording.vectors
        if retry_failed:
            _, forgotten = read_vectors(directory.vectors)
        remove(directory.manifest)  # before anything is touched that it tells of
        processes = (*recorded.processes, this_process())
        directory.write_config(noted(course, doors).settings() | written(processes))
        if retry_failed:
            remove(directory.summary)
            remove(directory.trace)
            remove(directory.checkpoint)
        ends = survey(directory.trace)
        past, checked = past_of(recorded, ends)
        journaled = recorded.recording.size
        with (
            written_in(
                directory, kept, journaled=journaled, forgotten=forgotten, checked=checked
            ) as files,
            closing(TraceCheck(directory.trace)) as check,
        ):
            if retry_failed:
                files.journal.append(RetryStarted(vectors=forgotten))
            trace = ContinuedTrace(files.trace, check, ends)
            before = recorded.recording.entries()
            live = Live(
                unfinished,
                directory,
                before=before,
                asking=trace.drop,
                processes=processes,
                past=past,
            )
            calls = _known(recorded, retry_failed, files.journal)
            summary = await live.run(doors, files, calls, [trace])
        return listed(directory, summary)


def _known(recorded: RecordedRun, retry_failed: bool, journal: Journal) -> Recorded:
    """Return what the run knows of its calls."""
    ends, course = recorded.recording, recorded.course
    if not retry_failed and not ends.retried:
        return forked_calls(ends, course, journal) if ends.forked else Resumed(ends)
    again = Resumed(ends, again=retry_failed, changing=True)
    return Spoken(again, ends, course.said, journal.append)
