"""The chapters of what several processors are worth, beside what this machine's are."""

import os
import time
from statistics import median

import msgspec
import numpy as np

from sim.bench.children import Job, Measurer, job
from sim.bench.cost import typical
from sim.bench.figures import Chapter, waited

_LOOP = "for number in range(5_000_000): pass"
_HALVES = 8  # loops, of which half are done by each of two
_FAR = 1 << 23  # numbers, 64 MB: more than caches hold


def cores() -> int:
    """Return how many processors this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def far_read() -> float:
    """Return the nanoseconds of a processor that a number takes that may be anywhere in 64 MB."""
    numbers = np.arange(_FAR)
    anywhere = np.random.default_rng(0).permutation(numbers)
    before = time.process_time()
    numbers[anywhere].sum()
    return round(1e9 * (time.process_time() - before) / _FAR, 1)


def workers(measurer: Measurer) -> Chapter:
    """Measure one run, by one process and by two workers."""
    episodes = 2 * measurer.sizes.episodes
    one, two = (
        job("runs", "embedded", episodes=episodes, arrivals="all", workers=workers)
        for workers in (1, 2)
    )
    return _halved(
        measurer,
        Chapter(
            name="workers",
            title="Two workers",
            how=f"{episodes:,} episodes, arrivals all, 64 calls in flight.",
            figures=(),
        ),
        {"one process": one, "two workers": two},
    )


def experiments(measurer: Measurer) -> Chapter:
    """Measure an experiment, whose runs are done one after the other, and two at a time."""
    seeds, episodes = 4, max(10, measurer.sizes.episodes // 5)
    one, two = (
        job("runs", "conducted", seeds=seeds, episodes=episodes, jobs=jobs) for jobs in (1, 2)
    )
    return _halved(
        measurer,
        Chapter(
            name="experiments",
            title="Two runs of an experiment at a time",
            how=f"{seeds} seeds of BiLLP with the stand-in, {episodes:,} episodes each, arrivals "
            "batches:10; to look for leaks and to compare included.",
            figures=(),
        ),
        {"one at a time": one, "two at a time": two},
    )


def _halved(measurer: Measurer, chapter: Chapter, ways: dict[str, Job]) -> Chapter:
    """Return a *chapter* on two *ways*, of which the second has two processors at work.

    Two processors may be one that is shared: what plain loops gain is what there is to be had.
    """
    how = f"{chapter.how} On {cores()} processors; by the wall, to start processes included."
    if cores() < 2:
        note = "There is one processor here: it was left out."
        return msgspec.structs.replace(chapter, how=how, notes=(note,))
    loops = (
        job("starts", "loops", code=_LOOP, count=_HALVES, processes=processes)
        for processes in (1, 2)
    )
    one, two, bare, shared = measurer.turns(*ways.values(), *loops)
    gain, most = (
        median(single.wall / double.wall for single, double in zip(before, after, strict=True))
        for before, after in ((one, two), (bare, shared))
    )
    alone, both = ways
    return msgspec.structs.replace(
        chapter,
        how=how,
        figures=(waited(both, typical(two), 1 / gain, alone), waited(alone, typical(one))),
        notes=(
            f"Two are {gain:.2f} times as fast as one; of loops of plain Python, which share "
            f"nothing, two are {most:.2f} times as fast here.",
        ),
    )
