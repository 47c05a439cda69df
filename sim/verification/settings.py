"""run.toml against the head of the trace: all that decides a run stands in both."""

from collections.abc import Mapping
from typing import Any

import msgspec

from engine.errors import RunDirectoryError
from engine.messages import RunStarted
from sim.config.stages import Course
from sim.runs.assembly import head_in
from sim.runs.recorded import IMPORTED
from storage.runs import RunDirectory
from storage.traces import read_head, whole_size

NOTHING = "(nothing)"


def check_settings(directory: RunDirectory, course: Course) -> str:
    """Compare what decides the run; raises RunDirectoryError, or TraceError for the head."""
    if not whole_size(directory.trace):  # killed before its first line
        return "not yet in a trace"
    head = read_head(directory.trace)
    own = head_in(course, head.environment)
    _compare(directory, _facts(own), _facts(head))
    return f"{len(own.settings)} that decide the run, as in the head of its trace"


def check_import(directory: RunDirectory) -> str:
    """Compare what an imported run was made of; raises as `check_settings`."""
    found = directory.read_config().get(IMPORTED)
    told = found if isinstance(found, dict) else {}
    head = read_head(directory.trace)
    own = {"sha256": told.get("sha256"), "format": told.get("format")}
    form = dict(head.settings).get(IMPORTED)
    _compare(directory, own, {"sha256": head.environment, "format": form})
    return "those of an import, as in the head of its trace"


def _facts(head: RunStarted) -> dict[str, Any]:
    values: dict[str, Any] = msgspec.to_builtins(head)
    forks = {f"forks.{place}": fork for place, fork in enumerate(values.pop("forks", ()))}
    settings = dict(values.pop("settings"))
    return {**values, **forks, **settings}


def _compare(directory: RunDirectory, own: Mapping[str, Any], traced: Mapping[str, Any]) -> None:
    """Raise RunDirectoryError for the first fact that differs, be it only `3` from `3.0`."""
    for name in [*own, *(name for name in traced if name not in own)]:
        one, other = own.get(name, NOTHING), traced.get(name, NOTHING)
        if msgspec.json.encode(one) != msgspec.json.encode(other):
            what = f"{name} is {one!r}, in the head of the trace {other!r}"
            raise RunDirectoryError(f"{directory.config}: {what}")
