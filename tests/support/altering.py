"""Alterations of a run directory, by chance; and one who makes all checksums again afterwards."""

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tokenize import TokenError
from typing import Any, TypeAlias
from zlib import crc32

import msgspec
import numpy as np

from storage.manifest import write_manifest
from storage.runs import RunDirectory
from storage.sealed import seal

CHECK = len(b',"check":"00000000"}\n')

Chance: TypeAlias = random.Random
Change: TypeAlias = Callable[[Path, Path, Chance], None]
"""Changes a file of a run; the second path is the same file in another run."""


def files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file() and path.name != ".lock")


def tree(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in files(directory)}


def flip(path: Path, _: Path, chance: Chance) -> None:
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def truncate(path: Path, _: Path, chance: Chance) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: chance.randrange(len(content))])


def extend(path: Path, _: Path, chance: Chance) -> None:
    with path.open("ab") as file:
        file.write(chance.choice([b"\n", b"\0", b"{}\n", b"x"]))


def on_lines(change: Callable[[list[bytes], Chance], None]) -> Change:
    def altered(path: Path, _: Path, chance: Chance) -> None:
        lines = path.read_bytes().splitlines(keepends=True)
        change(lines, chance)
        path.write_bytes(b"".join(lines))

    return altered


def _swap(lines: list[bytes], chance: Chance) -> None:
    one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]


def _drop(lines: list[bytes], chance: Chance) -> None:
    del lines[chance.randrange(len(lines))]


def _double(lines: list[bytes], chance: Chance) -> None:
    lines.insert(chance.randrange(len(lines)), chance.choice(lines))


def _number(lines: list[bytes], chance: Chance) -> None:
    """Change a digit somewhere."""
    places = [
        (n, k) for n, line in enumerate(lines) for k, c in enumerate(line) if chr(c).isdigit()
    ]
    if places:
        n, k = chance.choice(places)
        digit = chance.choice([d for d in b"0123456789" if d != lines[n][k]])
        lines[n] = lines[n][:k] + bytes([digit]) + lines[n][k + 1 :]


def delete(path: Path, _: Path, __: Chance) -> None:
    path.unlink()


def add(path: Path, _: Path, chance: Chance) -> None:
    shutil.copy(path, path.with_name(f"more-{chance.randrange(99)}"))


def rename(path: Path, _: Path, __: Chance) -> None:
    path.rename(path.with_name(f"old-{path.name}"))


def exchange(path: Path, other: Path, _: Chance) -> None:
    shutil.copy(other, path)


CHANGES: dict[str, Change] = {
    "flip a bit": flip,
    "truncate": truncate,
    "extend": extend,
    "drop a line": on_lines(_drop),
    "double a line": on_lines(_double),
    "swap lines": on_lines(_swap),
    "change a number": on_lines(_number),
    "delete": delete,
    "add": add,
    "rename": rename,
    "exchange": exchange,
}


@dataclass(frozen=True)
class Alteration:
    """What was done to which file, and all files before and after it."""

    kind: str
    name: str
    before: dict[str, bytes]
    after: dict[str, bytes]

    def told(self, name: str) -> tuple[bytes, bytes]:
        return self.before.get(name, b""), self.after.get(name, b"")


def alter(run: RunDirectory, other: RunDirectory, chance: Chance, *, skip: str = "") -> Alteration:
    """Alter a file of *run*, any but *skip*, until something differs."""
    before = tree(run.path)
    while True:
        path = chance.choice([path for path in files(run.path) if path.name != skip])
        kind = chance.choice(sorted(CHANGES))
        name = str(path.relative_to(run.path))
        CHANGES[kind](path, other.path / name, chance)
        if (after := tree(run.path)) != before:
            return Alteration(kind, name, before, after)


def make_again(run: RunDirectory) -> None:
    """Make all checksums of lines, the digest and the manifest anew, as far as there is a way."""
    for path in (run.journal, run.vectors):
        if path.exists():
            path.write_bytes(b"".join(map(_sealed, path.read_bytes().splitlines(keepends=True))))
    for path in run.memory.glob("*.jsonl"):
        _seal_memory(path)
    if run.summary.exists() and run.trace.exists():
        _tell_digest(run)
    run.manifest.unlink(missing_ok=True)
    write_manifest(run)


def _sealed(line: bytes) -> bytes:
    return seal(line[:-CHECK] + b"}") if line.endswith(b'"}\n') else line


def _seal_memory(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    try:
        keys = np.load(path.with_suffix(".npy"), allow_pickle=False)
    except (OSError, ValueError, EOFError, TokenError):
        return
    for place, (line, key) in enumerate(zip(lines, keys, strict=False)):
        body = line[:-CHECK]
        lines[place] = body + b',"check":"%08x"}\n' % crc32(key.tobytes(), crc32(body))
    path.write_bytes(b"".join(lines))


def _tell_digest(run: RunDirectory) -> None:
    try:
        summary: dict[str, Any] = msgspec.json.decode(run.summary.read_bytes(), type=dict)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return
    digest = sha256(run.trace.read_bytes()).hexdigest()
    if summary.get("digest") != digest:
        run.write_summary({**summary, "digest": digest})
