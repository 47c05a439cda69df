"""Runs, environments and reports at addresses, as in `s3://bucket/runs/first`: put and fetched."""

import os
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from engine.errors import ConfigError
from sim.runs.loop import check_no_loop, in_event_loop, in_their_loop
from storage.objects import pulling, pushing
from storage.objects.addresses import Address, parse_address
from storage.objects.manifests import Transfer
from storage.objects.store import Store
from storage.parts import of_extra


def push(what: PathLike[str] | str, address: str, *, replace: bool = False) -> Transfer:
    """Put a finished run, an environment or a report below an *address*, by its own name.

    What is there already is not sent again; the manifest is sent last, and without one nothing is
    there. If something else is there, it is left alone, unless it is to be *replaced*: then all is
    sent anew, also what was altered. Credentials are those of the environment. Raises
    TransferError, ConfigError without the extra `objects`, and what says that it is not whole.
    Where an event loop runs, await `push_async`.
    """
    check_no_loop("push_async")
    return in_event_loop(partial(_push, what, address, replace=replace), twin="push_async")


async def push_async(what: PathLike[str] | str, address: str, *, replace: bool = False) -> Transfer:
    """Do what `push` does, inside an event loop that runs already."""
    with in_their_loop():
        return await _push(what, address, replace=replace)


def pull(address: str, directory: PathLike[str] | str | None = None) -> Transfer:
    """Fetch what stands at an *address* to a *directory*, or to the cache, and return what it was.

    Its `path` is where it is. Every file is compared with its digest, and the directory gets its
    name when all are there. The cache is by the digest of the manifest: what was fetched is fetched
    once, and never altered. Raises TransferError, and ConfigError without the extra `objects`, or
    if there is something at *directory*. Where an event loop runs, await `pull_async`.
    """
    return in_event_loop(partial(_pull, address, directory), twin="pull_async")


async def pull_async(address: str, directory: PathLike[str] | str | None = None) -> Transfer:
    """Do what `pull` does, inside an event loop that runs already."""
    with in_their_loop():
        return await _pull(address, directory)


async def _push(what: PathLike[str] | str, address: str, *, replace: bool) -> Transfer:
    place = _place(what, address)
    return await pushing.push(_opened(place), Path(what), place, replace=replace)


def _place(what: PathLike[str] | str, address: str) -> Address:
    """Return where *what* goes below an *address*; raises ConfigError."""
    return parse_address(f"{address.rstrip('/')}/{os.path.basename(os.path.abspath(what))}")


async def _pull(address: str, directory: PathLike[str] | str | None) -> Transfer:
    place = parse_address(address)
    if not place.parts:
        hint = f"such as {place}/NAME; billp push tells the address that it used"
        raise ConfigError(f"{address}: names no run, environment or report", hint=hint)
    return await pulling.pull(_opened(place), place, None if directory is None else Path(directory))


def _opened(address: Address) -> Store:
    services: Any = of_extra("storage.objects.services", "objects", f"{address.scheme}://")
    store: Store = services.Service.open(address)
    return store
