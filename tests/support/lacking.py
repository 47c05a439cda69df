"""An installation that lacks an extra: modules that were imported are, for a test, not there."""

import sys

import pytest


def without(monkeypatch: pytest.MonkeyPatch, ours: str, *missing: str) -> None:
    """Let the *missing* modules be not installed, and those below *ours* be imported anew."""
    for name in [name for name in sys.modules if f"{name}.".startswith(f"{ours}.")]:
        monkeypatch.delitem(sys.modules, name)
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
