"""Limits shared by runs that are processes of their own, on one host or on many, without a daemon.

Each run that asks models holds a lease in a directory (`storage.leases`) and takes one n-th of the
requests and tokens a minute while n leases live. Nobody ever takes more than all: a run announces
itself and then waits for two beats before it asks anything, and by then all others have seen it
and take less; a share grows only when a lease was given back or has died.
"""

import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import anyio

from agents.models.guards.limiter import Limiter, Limits
from engine.errors import FileError
from sim.runs.loop import plain_errors
from storage.leases import Leases

BEAT = 5.0
"""Seconds between two looks at the directory."""

EXPIRY = 6
"""Beats after which a lease that stood still is that of a dead run."""

_FIRST = 2  # beats that a run waits before it asks anything
_FAULTS = 3  # beats without a look at the directory, as when a file server starts anew


@asynccontextmanager
async def sharing(
    directory: str, limiters: Iterable[Limiter], beat: float = BEAT
) -> AsyncIterator[None]:
    """Let *limiters* keep a fair share of their limits, with all who name the same *directory*.

    Without one their limits are their own. Raises FileError where leases cannot be kept: others
    would take our share.
    """
    if not directory:
        yield
        return
    make = partial(Leases, Path(directory), expiry=EXPIRY * beat, clock=time.monotonic)
    with closing(await anyio.to_thread.run_sync(make)) as leases, plain_errors():
        shares = Shares([*limiters])
        for _ in range(_FIRST):
            await anyio.to_thread.run_sync(leases.renew)
            await anyio.sleep(beat)
        shares.divide(await anyio.to_thread.run_sync(leases.renew))
        async with anyio.create_task_group() as group:
            group.start_soon(_keep, leases, shares, beat)
            yield
            group.cancel_scope.cancel()


async def _keep(leases: Leases, shares: "Shares", beat: float) -> None:
    """Renew our lease and heed those of others, beat for beat: files wake nobody."""
    faults = 0
    while True:
        await anyio.sleep(beat)
        try:
            alive = await anyio.to_thread.run_sync(leases.renew)
        except FileError:
            faults += 1
            if faults >= _FAULTS:
                raise
            continue
        faults = 0
        shares.divide(alive)


@dataclass(eq=False)
class Shares:
    """The shares of *limiters*: what they were told at first, divided.

    Limits that somebody else has set meanwhile, who watches the run, stay.
    """

    limiters: list[Limiter]
    whole: list[Limits] = field(init=False)
    given: list[Limits] = field(init=False)

    def __post_init__(self) -> None:
        self.whole = [limiter.limits for limiter in self.limiters]
        self.given = [*self.whole]

    def divide(self, among: int) -> None:
        """Let each limiter keep one of so many shares."""
        for place, (limiter, whole) in enumerate(zip(self.limiters, self.whole, strict=True)):
            share = _share(whole, among)
            if limiter.limits == self.given[place] != share:
                limiter.change(share)
                self.given[place] = share


def _share(whole: Limits, among: int) -> Limits:
    requests, tokens = whole.requests_per_minute, whole.tokens_per_minute
    return replace(
        whole,
        requests_per_minute=None if requests is None else requests / among,
        tokens_per_minute=None if tokens is None else tokens / among,
    )
