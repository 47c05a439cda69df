"""Fetching what stands at an address, whole or not at all.

Files come to a directory beside that where they are to be, which nobody else may enter; each is
compared with its digest; when all are there, and on the disk, that directory gets its name. Who is
stopped before goes on by the same command, and fetches what is missing.
"""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

from anyio import to_thread
from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from engine.errors import ConfigError, TransferError
from storage.files import force, make_directory
from storage.manifest import look
from storage.names import check_name
from storage.objects.addresses import Address, check_local
from storage.objects.manifests import (
    FILES,
    NAME,
    SIZE,
    StoredFile,
    StoredManifest,
    Transfer,
    decode,
)
from storage.objects.store import PIECE, MissingError, Store, each

_MOMENT = 3.0  # seconds that who fetches the same may take to come to its end
_NOTHING = "nothing was pushed there"
_NAMED = 5  # names in a hint
_KEPT = "what was fetched is kept: the same command goes on from there"


async def pull(store: Store, address: Address, path: Path | None = None) -> Transfer:
    """Fetch what stands at an *address* to *path*, or to this user's cache, and return what it was.

    What is in the cache already is not fetched again. Raises BillpError.
    """
    if path is not None:
        check_free(path)
    data = await _manifest(store, address)
    manifest, digest = decode(data, address), sha256(data).hexdigest()
    place = path or user_cache_path("billp") / "objects" / digest[:32] / address.name
    cached = path is None and place.exists()
    moved = 0 if cached else await _fetch(_Fetching(store, address, manifest), place, digest)
    return Transfer(
        address=str(address),
        path=str(place),
        kind=manifest.kind,
        digest=digest,
        files=len(manifest.files),
        bytes=manifest.size,
        moved=moved,
    )


def check_free(path: Path) -> None:
    """Raise ConfigError if there is something at *path*, or nothing can be there."""
    check_local(path, "fetch to a directory of this disk")
    check_name(path)
    if os.path.lexists(path) and (not path.is_dir() or any(path.iterdir())):
        raise ConfigError(f"{path}: is there already", hint="name another directory")


async def _manifest(store: Store, address: Address) -> bytes:
    try:
        return await store.small(address.below(NAME).key, SIZE)
    except MissingError as error:
        below = await store.rooms(address.key)
        what = "the push of it did not come to its end" if FILES in below else _NOTHING
        hint = "push it again: it goes on" if FILES in below else _hint(below)
        raise TransferError(f"{address}: {what}", hint=hint) from error


def _hint(below: list[str]) -> str:
    """Return where else to look: *below* are the names that there are below an address."""
    if not below:
        return "billp push tells the address that it used"
    more = ", …" if len(below) > _NAMED else ""
    return f"below it there are {', '.join(below[:_NAMED])}{more}"


async def _fetch(fetching: "_Fetching", path: Path, digest: str) -> int:
    """Let *path* be what is fetched, and return how many files had to be."""
    try:
        with _aside(path, digest) as scratch:
            moved = await fetching.fill(scratch)
            await to_thread.run_sync(partial(_settle, fetching.manifest, scratch, path))
    except OSError as error:
        what = f"{error.filename or path}: cannot be written: {error.strerror}"
        raise TransferError(what, hint=_KEPT) from error
    return moved


@contextmanager
def _aside(path: Path, digest: str) -> Iterator[Path]:
    """Give a directory beside *path* that is this process's alone; raises OSError.

    It is there again for who fetches the same to the same place, and goes when *path* is there.
    """
    make_directory(path.parent)
    known = sha256(f"{path.name}\n{digest}".encode()).hexdigest()[:16]
    scratch = path.parent / f".billp-{known}.part"
    scratch.mkdir(mode=0o700, exist_ok=True)
    found = scratch.lstat()
    # Where others may write, one of them may have put something of that name there.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise TransferError(f"{scratch}: is not what billp made", hint="fetch to another directory")
    lock = FileLock(scratch / "lock", thread_local=False)
    try:
        lock.acquire(timeout=_MOMENT)
    except Timeout as error:
        what = f"{path}: another process is fetching this"
        raise TransferError(what, hint="wait for it") from error
    try:
        yield scratch
        shutil.rmtree(scratch)
    finally:
        lock.release()


@dataclass(frozen=True)
class _Fetching:
    """Fetches what a *manifest* at an *address* lists."""

    store: Store
    address: Address
    manifest: StoredManifest

    async def fill(self, scratch: Path) -> int:
        """Let `scratch/new` hold all files and nothing else; return how many had to be fetched."""
        new, files = scratch / "new", self.manifest.files
        kept = await to_thread.run_sync(partial(_kept, new, files), abandon_on_cancel=True)
        lacking = [name for name in files if name not in kept]
        self._check_room(scratch, sum(files[name].size for name in lacking))

        async def fetch(numbered: tuple[int, str]) -> None:
            number, name = numbered
            part = scratch / f"{number}.part"
            await self._fetch(name, part)
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            part.replace(new / name)

        await each(fetch, enumerate(lacking))
        return len(lacking)

    def _check_room(self, scratch: Path, needed: int) -> None:
        free = shutil.disk_usage(scratch).free
        if needed > free:
            what = f"{self.address}: {needed:,} bytes are to be fetched, and {free:,} are free"
            raise TransferError(what, hint="free some space, or fetch to another disk")

    async def _fetch(self, name: str, part: Path) -> None:
        """Fetch a file piece by piece; raises TransferError if it is not what the manifest says."""
        file = self.manifest.files[name]
        key = self.address.below(FILES, file.sha256).key
        whole = sha256()
        with part.open("wb") as out:
            for start in range(0, file.size, PIECE):
                piece = await self._piece(name, key, start, min(PIECE, file.size - start))
                await to_thread.run_sync(whole.update, piece)
                await to_thread.run_sync(out.write, piece)
            if whole.hexdigest() != file.sha256:
                raise self._altered(name, "is not what its manifest says: it was altered")
        await to_thread.run_sync(force, part)

    async def _piece(self, name: str, key: str, start: int, size: int) -> bytes:
        try:
            return await self.store.piece(key, start, size)
        except MissingError as error:
            raise self._altered(name, "is missing, or not whole") from error

    def _altered(self, name: str, what: str) -> TransferError:
        hint = "whoever has it can push it again: billp push --replace"
        return TransferError(f"{self.address}: {name!r} {what}", hint=hint)


def _kept(new: Path, files: dict[str, StoredFile]) -> set[str]:
    """Return which files are there already, and remove whatever else is; raises OSError."""
    new.mkdir(exist_ok=True)
    kept = set()
    for place, _, names in os.walk(new, topdown=False):
        for path in (Path(place, name) for name in names):
            name = path.relative_to(new).as_posix()
            if name in files and _is(path, files[name]):
                kept.add(name)
            else:
                path.unlink()
        # A directory of a name that is a file's is empty by now, or holds what is no file of ours.
        if Path(place) != new and not any(Path(place).iterdir()):
            Path(place).rmdir()
    return kept


def _is(path: Path, file: StoredFile) -> bool:
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode) or found.st_size != file.size:
        return False
    return look(path).sha256 == file.sha256


def _settle(manifest: StoredManifest, scratch: Path, path: Path) -> None:
    """Let what was fetched be at *path*, now that it is on the disk; raises OSError."""
    new = scratch / "new"
    for place, _, _ in os.walk(new):
        force(Path(place))
    check_free(path)
    whole = new / next(iter(manifest.files)) if manifest.kind == "report" else new
    whole.rename(path)
    force(path.parent)
