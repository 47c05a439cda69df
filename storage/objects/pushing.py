"""Putting a run, an environment or a report to an address.

Files are sent under the digests of what they hold, those that are there already are not sent again,
and the manifest comes last: who is stopped at any place leaves nothing that looks whole, what was
there before stays as it was, and going on sends what is missing.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from anyio import to_thread

from engine.errors import ConfigError, FileError, RunDirectoryError, TransferError
from storage.datasets.directories import HEAD, read_head
from storage.manifest import FoundFile, Inventory, difference, look, read_manifest, take_inventory
from storage.objects.addresses import Address, check_local
from storage.objects.manifests import (
    FILES,
    NAME,
    SIZE,
    Kind,
    StoredFile,
    StoredManifest,
    Transfer,
    encode,
    manifest_of,
)
from storage.objects.store import PIECE, MissingError, Store, each
from storage.reading import open_regular
from storage.runs import RunDirectory, open_run

_PUSHED = "a run that came to its end, an environment, or a report, FILE.html"


@dataclass(frozen=True)
class Parcel:
    """What is to be sent: the *files* of a *kind*, by name, within *directory*."""

    kind: Kind
    directory: Path
    files: dict[str, FoundFile]

    @property
    def manifest(self) -> StoredManifest:
        """The manifest of it; raises TransferError for what cannot be listed."""
        files = {
            name: StoredFile(sha256=found.sha256, size=found.size)
            for name, found in self.files.items()
        }
        return manifest_of(self.kind, files)


def kind_of(path: Path) -> Kind:
    """Return what is at *path*; raises ConfigError if it is nothing that can be sent."""
    check_local(path, "push what is on this disk, or fetch it first: billp pull")
    if (path / "run.toml").exists():
        return "run"
    if (path / HEAD).exists():
        return "environment"
    if path.suffix.casefold() == ".html" and path.is_file():
        return "report"
    what, hint = "which is not there", "billp runs lists the runs that there are"
    if path.exists():
        what, hint = "which is something else", "of a folder of runs, push each by itself"
    raise ConfigError(f"expected {_PUSHED}, got {str(path)!r}, {what}", hint=hint)


def packed(path: Path) -> Parcel:
    """Look at what is to be sent; raises BillpError for what is not, or is not whole."""
    match kind_of(path):
        case "run":
            return _packed_run(open_run(path))
        case "environment":
            read_head(path)
            return Parcel("environment", path, _inventory(path).files)
        case "report":
            return Parcel("report", path.parent, {path.name: _look(path)})


def _packed_run(run: RunDirectory) -> Parcel:
    if run.busy:
        raise RunDirectoryError(f"{run.path}: a process is writing here", hint="push it afterwards")
    if not run.finished:
        hint = f"finish it first: billp resume {run.path}"
        raise RunDirectoryError(f"{run.path}: the run has not come to its end", hint=hint)
    inventory = _inventory(run.path)
    listed = {}
    if run.manifest.exists():
        fault = difference(read_manifest(run)[0], inventory)
        if fault:
            hint = f"see what it is: billp verify {run.path}"
            raise RunDirectoryError(f"{run.path}: is not as it was left: {fault}", hint=hint)
        listed = {run.manifest.name: _look(run.manifest)}
    return Parcel("run", run.path, inventory.files | listed)


def _inventory(directory: Path) -> Inventory:
    inventory = take_inventory(directory)
    if inventory.odd:
        what = f"{directory / inventory.odd[0]}: is neither a file nor a directory"
        raise RunDirectoryError(what, hint="put the file itself into its place")
    return inventory


def _look(path: Path) -> FoundFile:
    try:
        return look(path)
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror}") from error


async def push(store: Store, path: Path, address: Address, *, replace: bool = False) -> Transfer:
    """Put what is at *path* to an *address*, and return what was sent.

    What else is there already is left alone, unless it is to be *replaced*: then all is sent anew.
    Raises BillpError.
    """
    kind_of(path)  # before anybody is asked
    before = await _stands(store, address)
    parcel = await to_thread.run_sync(packed, path, abandon_on_cancel=True)
    manifest = parcel.manifest
    data = encode(manifest)
    if before not in {None, data} and not replace:
        hint = "push to another address, or exchange what is there: --replace"
        raise TransferError(f"{address}: holds something else already", hint=hint)
    files = address.below(FILES)
    there = {} if replace else await store.sizes(files.key)
    lacking = {
        file.sha256: name
        for name, file in manifest.files.items()
        if there.get(file.sha256) != file.size
    }

    async def send(name: str) -> None:
        file = manifest.files[name]
        key = files.below(file.sha256).key
        await store.put(key, _pieces(parcel.directory / name, file), file.size)

    await each(send, lacking.values())
    await store.put(address.below(NAME).key, _once(data), len(data))
    return Transfer(
        address=str(address),
        path=str(path),
        kind=manifest.kind,
        digest=sha256(data).hexdigest(),
        files=len(manifest.files),
        bytes=manifest.size,
        moved=len(lacking),
    )


async def _stands(store: Store, address: Address) -> bytes | None:
    """Return the manifest that stands at an address; None if there is none."""
    try:
        return await store.small(address.below(NAME).key, SIZE)
    except MissingError:
        return None


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def _pieces(path: Path, expected: StoredFile) -> AsyncIterator[bytes]:
    """Yield what a file holds; raises FileError, at the end, if that is not what is *expected*."""
    whole, size = sha256(), 0
    try:
        with await to_thread.run_sync(open_regular, path) as file:
            while size <= expected.size and (piece := await to_thread.run_sync(file.read, PIECE)):
                size += len(piece)
                await to_thread.run_sync(whole.update, piece)
                yield piece
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror}") from error
    if (whole.hexdigest(), size) != (expected.sha256, expected.size):
        raise FileError(f"{path}: was altered while it was sent", hint="push it when it is at rest")
