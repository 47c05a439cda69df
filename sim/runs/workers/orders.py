"""What goes between a run and the foreman of its workers in a cluster."""

from typing import TypeAlias

import msgspec

from sim.runs.workers.frames import Broke, Logged

LOCAL = "local"
"""The address of a cluster that is begun for a run, and ends with it."""


class Hello(msgspec.Struct, frozen=True):
    """What a worker must know, and be, before it begins: of that *version* and *source* of billp.

    It is to work in *place*, if there is that directory, in the *environment* of a *digest*.
    """

    version: str
    source: str
    place: str
    environment: str
    digest: str


class Join(msgspec.Struct, frozen=True):
    """Join the cluster at *address*, or begin a local one in *scratch*, with a CPU for each worker.

    Room for a worker is waited for *patience* seconds.
    """

    address: str
    workers: int
    patience: float
    scratch: str
    hello: Hello


class Hire(msgspec.Struct, frozen=True, tag=True):
    """Start a worker, called *number*."""

    number: int


class Dismiss(msgspec.Struct, frozen=True, tag=True):
    """End a worker at once."""

    number: int


class Part(msgspec.Struct, frozen=True, tag=True):
    """Bytes to a worker, or from it."""

    number: int
    data: bytes


class Supply(msgspec.Struct, frozen=True, tag=True):
    """The environment lies packed in the file *path*."""

    path: str


class Joined(msgspec.Struct, frozen=True, tag=True):
    """The cluster is joined."""


class Hired(msgspec.Struct, frozen=True, tag=True):
    """A worker is there, and fit."""

    number: int


class Gone(msgspec.Struct, frozen=True, tag=True):
    """A worker is dead; *how* says why."""

    number: int
    how: str


class Wanted(msgspec.Struct, frozen=True, tag=True):
    """A node has not the environment."""


ToForeman: TypeAlias = Hire | Dismiss | Part | Supply
FromForeman: TypeAlias = Joined | Hired | Gone | Part | Wanted | Logged | Broke
