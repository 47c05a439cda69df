"""Trust: whose word counts where a run reaches out, to services, for keys and into a cache.

A run directory is data. What it says of services and keys counts only if it was written here
(`storage.origin`), or if the user names or confirms it.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.models.providers import names_file
from engine.errors import ConfigError
from sim.config.layers import merged
from sim.config.run import RunConfig, Settings, flat
from sim.config.stages import read_course
from sim.runs.recorded import check_not_imported
from storage.origin import unprovable
from storage.runs import RunDirectory, open_run

REACHING = frozenset({"base_url", "key_file", "azure_version", "cache", "share_limits", "cluster"})
"""Settings by which a run reaches out; roles have their own of that name."""

_SHOWN = 80  # characters of a value


def reaching(config: RunConfig) -> Iterator[tuple[str, str]]:
    """Yield all settings of *config* by which it reaches out, by dotted name.

    A model's file is read by a library that trusts it: whose file it is, is for the user to say.
    """
    for name, value in flat(config.settings()):
        last = name.rpartition(".")[2]
        if last in REACHING or (last == "model" and names_file(str(value))):
            yield name, str(value)


def check_reach(
    path: Path,
    config: RunConfig,
    *,
    proven: bool,
    named: Sequence[Mapping[str, Any]],
) -> None:
    """Raise ConfigError if *config* reaches out by what only the file at *path* says.

    It may if that is *proven* to be written here, or if the user has *named* the settings, one by
    one or all by `confirmed`. Settings that are in no use count as well: they would be taken for
    the user's own once the run was.
    """
    if proven:
        return
    own = {name for name, _ in flat(merged(*named))}
    asked = [(name, value) for name, value in reaching(config) if value and name not in own]
    if asked:
        raise ConfigError(_foreign(path, asked), hint=_hint(asked[0][0]))


def _foreign(path: Path, asked: Sequence[tuple[str, str]]) -> str:
    wanted = ", ".join(f"{name} {_shown(value)}" for name, value in asked)
    reason = unprovable()
    why = "was not written here, or altered since"
    if reason:
        why = f"cannot be known to be written here ({reason})"
    return f"{path}: {why}, and would reach out by {wanted}"


def _shown(value: str) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _hint(name: str) -> str:
    return f"name what is yours (--set {name}=…), or confirm all of it with --trust"


def confirmed(run: Path) -> Settings:
    """Return the settings by which the run in a directory reaches out: to name them all.

    Raises RunDirectoryError or ConfigError.
    """
    directory = open_run(run)
    check_not_imported(directory)
    settings, proven = directory.read_proven()
    config = read_course(settings, proven=proven).config
    found: Settings = {}
    for name, value in reaching(config):
        role, _, setting = name.rpartition(".")
        part = found.setdefault(role, {}) if role else found
        part[setting] = value
    return found


def check_config(path: Path, config: RunConfig, *, named: Sequence[Mapping[str, Any]]) -> None:
    """Raise ConfigError if a file of settings at *path* lies in a run directory from elsewhere.

    A file that lies anywhere else is the user's who names it.
    """
    run = RunDirectory(path.parent)
    if run.config.exists() and (run.trace.exists() or run.journal.exists()):
        _, proven = run.read_proven()
        check_reach(path, config, proven=proven, named=named)
