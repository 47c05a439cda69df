"""Files that a service of our own keeps for its clients, in memory and within bounds."""

import time
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal, TypeAlias

from agents.models.serving.answers import StoredFile
from agents.models.serving.refusals import nothing_there

Purpose: TypeAlias = Literal["batch", "batch_output"]


@dataclass(eq=False)
class Shelf:
    """Files of at most *room* bytes together: the oldest make room for new ones."""

    room: int
    _files: dict[str, tuple[StoredFile, bytes]] = field(default_factory=dict)
    _count: int = 0
    _held: int = 0

    def put(self, content: bytes, purpose: Purpose) -> StoredFile:
        """Keep a file; return what is known of it."""
        self._count += 1
        # No other service names a file like this one: a run may be resumed with another.
        digest = blake2b(content, digest_size=6).hexdigest()
        stored = StoredFile(
            id=f"file-{digest}{self._count:06d}",
            bytes=len(content),
            created_at=int(time.time()),
            filename=f"{purpose}.jsonl",
            purpose=purpose,
        )
        self._files[stored.id] = stored, content
        self._held += len(content)
        self._make_room(stored.id)
        return stored

    def get(self, name: str) -> tuple[StoredFile, bytes]:
        """Return a file; raises RefusedRequestError if there is none of that name."""
        found = self._files.get(name)
        if found is None:
            raise nothing_there("file", name)
        return found

    def _make_room(self, newest: str) -> None:
        while self._held > self.room and next(iter(self._files)) != newest:
            _, content = self._files.pop(next(iter(self._files)))
            self._held -= len(content)
