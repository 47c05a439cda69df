"""The manifest at an address: what is there, and which files it is made of.

It comes from elsewhere, so nothing in it is believed before it is looked at: a name may lead out of
the directory that it is fetched to, a number may be larger than any disk.
"""

import unicodedata
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Annotated, Literal, TypeAlias

import msgspec

from engine.errors import TransferError
from engine.text import visible

NAME = "manifest.json"
"""The object that holds the manifest."""

FILES = "files"
"""Below an address, the objects that hold files, by digest."""

SIZE = 32 << 20
"""Bytes that a manifest has at most."""

_FORMAT = 1
_MOST = 100_000  # files
_LARGEST = 1 << 43  # bytes of a file, or of all of them
_LONGEST_NAME = 1_000
_LONGEST_PART = 250  # bytes: file systems end at 255
_DEEPEST = 16

Kind: TypeAlias = Literal["run", "environment", "report"]
"""What can be put to an address."""

Digest: TypeAlias = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Size: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=_LARGEST)]


class StoredFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file, as it was when it was sent."""

    sha256: Digest
    size: Size


class StoredManifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is at an address, of a *format* of ours: the files of a *kind*, by their names."""

    format: int
    kind: Kind
    files: dict[str, StoredFile]

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(file.size for file in self.files.values())


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """What was put to an address or fetched from it; *moved* of its *files* had to be, of *bytes*.

    *digest* is that of the manifest: the same for the same files.
    """

    address: str
    path: str
    kind: Kind
    digest: str
    files: int
    bytes: int
    moved: int


_decode = msgspec.json.Decoder(StoredManifest).decode


def manifest_of(kind: Kind, files: dict[str, StoredFile]) -> StoredManifest:
    """Return the manifest of *files*; raises TransferError for what cannot be listed."""
    manifest = StoredManifest(format=_FORMAT, kind=kind, files=files)
    fault = _fault(manifest)
    if fault:
        raise TransferError(f"this {kind} cannot be sent: {fault}")
    return manifest


def encode(manifest: StoredManifest) -> bytes:
    """Return the bytes of a manifest: the same for the same files."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=1) + b"\n"


def digest_of(manifest: StoredManifest) -> str:
    """Return the sha256 of the bytes of a manifest."""
    return sha256(encode(manifest)).hexdigest()


def decode(data: bytes, place: object) -> StoredManifest:
    """Return the manifest that *data* from a *place* is; raises TransferError."""
    try:
        manifest = _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise TransferError(f"{place}: holds no manifest of billp: {error}") from error
    if manifest.format != _FORMAT:
        what = f"expected a manifest of format {_FORMAT}, got {manifest.format}"
        raise TransferError(f"{place}: {what}", hint="another version of billp may have sent it")
    fault = _fault(manifest)
    # A name that stands twice could tell two readers two things.
    if not fault and encode(manifest) != data:
        fault = "it is not as billp writes it"
    if fault:
        raise TransferError(f"{place}: its manifest is not believed: {fault}")
    return manifest


def _fault(manifest: StoredManifest) -> str:
    """Return why a manifest is not to be believed; empty if it is."""
    files = manifest.files
    if not 0 < len(files) <= _MOST:
        return f"it names {len(files):,} files, and 1 to {_MOST:,} are expected"
    if manifest.kind == "report" and len(files) != 1:
        return "it names several files, and a report is one"
    if manifest.size > _LARGEST:
        return f"its files are larger than {_LARGEST:,} bytes"
    return next((f"{name!r} {fault}" for name, fault in _odd_names(files)), "")


def _odd_names(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield names that cannot be names of files within a directory, and why."""
    known: dict[str, str] = {}
    for name in names:
        if fault := _name_fault(name):
            yield name, fault
        known[_folded(name)] = name
    for name in names:
        # Where a system takes large and small letters for the same, one would replace the other.
        if known[_folded(name)] != name:
            yield name, "differs from another name in letters that some systems take for the same"
        above = PurePosixPath(_folded(name)).parents
        if any(str(directory) in known for directory in above):
            yield name, "lies in another file"


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _name_fault(name: str) -> str:
    parts = name.split("/")
    if any(part in {"", ".", ".."} for part in parts):
        return "is no name of a file within a directory"
    if visible(name) != name or "\\" in name:
        return "has characters that names of files should not have"
    long = len(name.encode()) > _LONGEST_NAME or len(parts) > _DEEPEST
    if long or any(len(part.encode()) > _LONGEST_PART for part in parts):
        return "is too long or too deep"
    return ""
