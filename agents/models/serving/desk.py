"""Batches of calls that a service of our own takes, and answers in its own time.

A file of calls is looked through when a batch is made of it; after a while its calls are answered
one by one, as any other, faults included: each has a line in the file of replies, or in that of
errors. A batch that is told to expires half-way.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from aiohttp import web
from msgspec.structs import replace

from agents.models.serving.answers import (
    BatchAnswer,
    BatchList,
    BatchProblems,
    Counts,
    json_response,
)
from agents.models.serving.asked import AskedBatch, AskedLine
from agents.models.serving.bodies import decoded, read_body
from agents.models.serving.connections import Bounds
from agents.models.serving.forms import read_form
from agents.models.serving.lines import looked_through, result, undone
from agents.models.serving.places import BATCH, CANCEL, CONTENT, FILE
from agents.models.serving.refusals import (
    DroppedConnectionError,
    RefusedRequestError,
    busy,
    nothing_there,
)
from agents.models.serving.shelf import Shelf

Answering: TypeAlias = Callable[[str, bytes], Awaitable[bytes]]
"""Answers a call, by the place where it would be asked and its body; raises what says no."""

_DAY = 86_400
_LISTED = 20
_MOST_LISTED = 100
_OVER = {"completed", "failed", "expired", "cancelled"}


@dataclass(frozen=True, kw_only=True)
class Unhurried:
    """Batches take *delay* seconds; each expires once *expire_after* of its calls are answered."""

    delay: float = 0.0
    expire_after: int | None = None


@dataclass(eq=False)
class Desk:
    """Takes files and batches; *answer* answers their calls."""

    answer: Answering
    bounds: Bounds
    pace: Unhurried
    shelf: Shelf = field(init=False)
    _batches: dict[str, BatchAnswer] = field(default_factory=dict)
    _tasks: dict[str, "asyncio.Task[None]"] = field(default_factory=dict)
    _count: int = 0

    def __post_init__(self) -> None:
        self.shelf = Shelf(self.bounds.kept)

    async def close(self) -> None:
        """Answer nothing more."""
        tasks = [*self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- files

    async def upload(self, request: web.BaseRequest) -> web.StreamResponse:
        """Keep a file that clients upload."""
        form = await read_form(request, self.bounds)
        if form.get("purpose") != b"batch" or "file" not in form:
            raise RefusedRequestError(400, "expected a form with a file, and the purpose batch")
        return json_response(self.shelf.put(form["file"], "batch"))

    async def file(self, request: web.BaseRequest) -> web.StreamResponse:
        """Tell of a file."""
        return json_response(self.shelf.get(request.path.rpartition(FILE)[2])[0])

    async def content(self, request: web.BaseRequest) -> web.StreamResponse:
        """Give what a file holds."""
        name = request.path.removesuffix(CONTENT).rpartition(FILE)[2]
        _, content = self.shelf.get(name)
        return web.Response(body=content, content_type="application/octet-stream")

    # -- batches

    async def batches(self, request: web.BaseRequest) -> web.StreamResponse:
        """Make a batch, or list those that there are."""
        if request.method != "POST":
            return json_response(self._listed(request.query))
        asked = decoded(await read_body(request, self.bounds), AskedBatch)
        _, content = self.shelf.get(asked.input_file_id)
        return json_response(self._begin(asked, content))

    async def batch(self, request: web.BaseRequest) -> web.StreamResponse:
        """Tell how a batch is doing."""
        return json_response(self._named(request.path.rpartition(BATCH)[2]))

    async def cancel(self, request: web.BaseRequest) -> web.StreamResponse:
        """Cancel a batch: what is answered by then is kept."""
        name = request.path.removesuffix(CANCEL).rpartition(BATCH)[2]
        batch = self._named(name)
        if batch.status not in _OVER:
            self._put(replace(batch, status="cancelling"))
        return json_response(self._named(name))

    def _named(self, name: str) -> BatchAnswer:
        batch = self._batches.get(name)
        if batch is None:
            raise nothing_there("batch", name)
        return batch

    def _put(self, batch: BatchAnswer) -> None:
        self._batches[batch.id] = batch

    def _listed(self, query: Mapping[str, str]) -> BatchList:
        limit, after = query.get("limit", str(_LISTED)), query.get("after")
        if not (limit.isdecimal() and limit.isascii() and 1 <= int(limit[:9]) <= _MOST_LISTED):
            raise RefusedRequestError(400, f"expected a limit from 1 to {_MOST_LISTED}")
        names = [*reversed(self._batches)]
        if after is not None:
            self._named(after)
            names = names[names.index(after) + 1 :]
        listed = tuple(self._batches[name] for name in names[: int(limit)])
        return BatchList(
            data=listed,
            first_id=listed[0].id if listed else None,
            last_id=listed[-1].id if listed else None,
            has_more=len(names) > len(listed),
        )

    # -- answering

    def _begin(self, asked: AskedBatch, content: bytes) -> BatchAnswer:
        self._make_room()
        self._count += 1
        now = int(time.time())
        lines, problems = looked_through(content, asked.endpoint)
        batch = BatchAnswer(
            id=f"batch_{asked.input_file_id[-18:]}_{self._count}",
            endpoint=asked.endpoint,
            input_file_id=asked.input_file_id,
            status="failed" if problems else "in_progress",
            created_at=now,
            expires_at=now + _DAY,
            errors=BatchProblems(problems) if problems else None,
            request_counts=Counts(total=len(lines)),
            metadata=asked.metadata,
        )
        self._put(batch)
        if not problems:
            task = asyncio.create_task(self._work(batch.id, lines))
            self._tasks[batch.id] = task
            task.add_done_callback(lambda _: self._tasks.pop(batch.id))
        return batch

    def _make_room(self) -> None:
        """Forget the oldest batch that is over, if there are too many."""
        if len(self._batches) < self.bounds.batches:
            return
        over = next((name for name, one in self._batches.items() if one.status in _OVER), None)
        if over is None:
            raise busy("batches")
        del self._batches[over]

    async def _work(self, name: str, lines: Sequence[AskedLine]) -> None:
        """Answer the calls of a batch, until it is cancelled or expires."""
        await asyncio.sleep(self.pace.delay)
        replies, errors = bytearray(), bytearray()
        done = failed = 0
        expired = False
        for number, line in enumerate(lines):
            expired = expired or number == self.pace.expire_after
            if expired or self._named(name).status == "cancelling":
                errors += undone(line, "batch_expired" if expired else "batch_cancelled")
                continue
            good, said = await self._line(line)
            done, failed = done + good, failed + (not good)
            (replies if good else errors).extend(said)
            self._put(replace(self._named(name), request_counts=Counts(len(lines), done, failed)))
            await asyncio.sleep(0)  # others have their turn
        status = "cancelled" if self._named(name).status == "cancelling" else "completed"
        self._put(
            replace(
                self._named(name),
                status="expired" if expired else status,
                output_file_id=self._kept(replies),
                error_file_id=self._kept(errors),
            )
        )

    def _kept(self, lines: bytearray) -> str | None:
        return self.shelf.put(bytes(lines), "batch_output").id if lines else None

    async def _line(self, line: AskedLine) -> tuple[bool, bytes]:
        """Return whether a call got a reply, and its line in one of the files."""
        try:
            body = await self.answer(line.url.removeprefix("/v1"), bytes(line.body))
        except RefusedRequestError as refusal:
            return False, result(line, *refusal.line())
        except DroppedConnectionError:
            return False, undone(line, "request_timeout")
        return True, result(line, 200, body)
