"""Environments on their way to other machines: packed into bytes there, kept by digest here.

A pack is the files of the environment's directory by name. It is data like any other: what is
unpacked is read, checked and compared with the digest that was asked for.
"""

import tempfile
from contextlib import suppress
from pathlib import Path

import msgspec
from filelock import FileLock

from engine.errors import DataError
from storage.datasets.directories import load, save
from storage.environments import Environment

_decode = msgspec.msgpack.Decoder(dict[str, bytes]).decode


def packed(environment: Environment) -> bytes:
    """Return all of *environment*, as `unpacked` takes it; raises DataError."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch, "environment")
        save(environment, directory)
        return msgspec.msgpack.encode({one.name: one.read_bytes() for one in directory.iterdir()})


def unpacked(pack: bytes) -> Environment:
    """Return the environment in a *pack*; raises DataError for what is none."""
    try:
        files = _decode(pack)
    except msgspec.DecodeError as error:
        raise DataError(f"a packed environment cannot be read: {error}") from error
    with tempfile.TemporaryDirectory() as scratch:
        for name, content in files.items():
            if Path(name).name != name:
                raise DataError(f"a packed environment has a file {name!r}")
            Path(scratch, name).write_bytes(content)
        return load(Path(scratch))


def kept(digest: str, cache: Path) -> Environment | None:
    """Return the environment of a *digest* that `keep` put into *cache*, if it is there, whole."""
    with suppress(DataError):
        environment = load(cache / digest)
        if environment.head.digest == digest:
            return environment
    return None


def keep(environment: Environment, cache: Path) -> None:
    """Put *environment* into *cache*, whole or not at all, whoever else does; raises DataError."""
    digest = environment.head.digest
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / f"{digest}.lock"):
            if kept(digest, cache) is None:
                save(environment, cache / digest, replace=True)
    except OSError as error:
        raise DataError(f"{cache}: cannot be written: {error.strerror or error}") from error
