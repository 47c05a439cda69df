"""An installation that lacks an extra: modules that were imported are, for a while, not there."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


@contextmanager
def without(ours: str, *missing: str) -> Iterator[None]:
    """Let the *missing* modules be not installed, and those below *ours* be imported anew.

    Afterwards everything is as it was: no module is there twice.
    """
    known = _below(ours)
    there = {name: sys.modules[name] for name in missing if name in sys.modules}
    _forget(known)
    absent: dict[str, Any] = dict.fromkeys(missing)  # None: whoever imports it is told so
    sys.modules.update(absent)
    try:
        yield
    finally:
        _forget(_below(ours))
        _forget(missing)
        sys.modules.update(there)
        for name, module in known.items():
            _remember(name, module)


def _below(ours: str) -> dict[str, ModuleType]:
    return {name: one for name, one in sys.modules.items() if f"{name}.".startswith(f"{ours}.")}


def _forget(names: Iterable[str]) -> None:
    for name in list(names):
        sys.modules.pop(name, None)


def _remember(name: str, module: ModuleType) -> None:
    parent, _, own = name.rpartition(".")
    sys.modules[name] = module
    setattr(sys.modules[parent], own, module)
