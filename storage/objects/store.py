"""What is asked of object storage, whoever offers it; and how several files are moved at once."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Protocol, TypeVar

import anyio

from engine.errors import TransferError

T = TypeVar("T")

PIECE = 8 << 20
"""Bytes that are moved in one request, and held in memory, at most."""

AT_ONCE = 4
"""Files that are moved at once."""


class MissingError(TransferError):
    """Raised when there is no such object, or less of it than is asked for."""


class Store(Protocol):
    """Objects below an address, by key; every method raises TransferError."""

    async def small(self, key: str, most: int) -> bytes:
        """Return an object of *most* bytes at most; raises MissingError."""
        ...

    async def piece(self, key: str, start: int, size: int) -> bytes:
        """Return *size* bytes of an object, from *start* on; raises MissingError."""
        ...

    async def sizes(self, key: str) -> dict[str, int]:
        """Return the sizes of the objects right below *key*, by their last names."""
        ...

    async def rooms(self, key: str) -> list[str]:
        """Return the names right below *key* below which there are objects."""
        ...

    async def put(self, key: str, pieces: AsyncIterator[bytes], size: int) -> None:
        """Let an object be what *pieces* of *size* bytes hold; nothing if they raise an error."""
        ...


async def each(work: Callable[[T], Awaitable[None]], things: Iterable[T]) -> None:
    """Do *work* with each of *things*, so many at once; the first error ends all of it."""
    waiting = iter(things)

    async def one_by_one() -> None:
        for thing in waiting:
            await work(thing)

    async with anyio.create_task_group() as group:
        for _ in range(AT_ONCE):
            group.start_soon(one_by_one)
