"""A trace as tables: everything that is in the messages, typed the same whatever they hold."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from msgspec.structs import asdict

from engine.errors import DataError, TraceError
from engine.messages import Evidence, PlanMade
from sim.runs.fork import fork
from storage import tables
from storage.runs import RunDirectory
from storage.trace_tables import export_trace
from tests.support.small import Failing, Trace, only, recorded, synthetic, trace_of

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def forked(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run with all that there can be: recalled records, tools, a failure, a fork."""
    directory = tmp_path_factory.mktemp("forked")
    recorded(directory / "parent", Failing())
    out = directory / "fork"
    say = {"planner": "Take Puzzle."}
    fork(directory / "parent", (4, 0), say=say, out=out, environment=synthetic())
    return RunDirectory(directory / "fork")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run in which nobody recalls anything, and nobody leaves."""
    settings: dict[str, Any] = {"lowest": 0.0, "window": 0}
    out = tmp_path_factory.mktemp("plain") / "run"
    return recorded(out, arrivals="all", quit=settings, limit=2)


def exported(run: RunDirectory, directory: Path) -> dict[str, pl.DataFrame]:
    export_trace(run.trace, directory)
    return {path.stem: pl.read_parquet(path) for path in directory.iterdir()}


def by_type(trace: Trace) -> dict[str, Rows]:
    """Return the rows that the tables of a trace should have."""
    rows: dict[str, Rows] = defaultdict(list)
    for envelope in trace:
        place = {name: getattr(envelope, name) for name in ("episode", "n", "cause", "time")}
        fields = asdict(envelope.message)
        row = {name: plain_value(name, value) for name, value in fields.items()}
        rows[type(envelope.message).__name__].append(place | row)
    return rows


def plain_value(name: str, value: Any) -> Any:
    if name == "settings":
        return [{"name": key, "value": str(setting)} for key, setting in value]
    if name == "forks":
        return [{**asdict(fork), "said": [list(words) for words in fork.said]} for fork in value]
    if isinstance(value, tuple):
        return [asdict(part) for part in value]
    return asdict(value) if isinstance(value, Evidence) else value


def test_tables_hold_what_the_messages_say(forked: RunDirectory, tmp_path: Path) -> None:
    """All of them, in canonical order; parts of nested fields have their names."""
    found = {name: table.to_dicts() for name, table in exported(forked, tmp_path).items()}
    assert found == by_type(trace_of(forked))
    assert found.keys() >= {"RunStarted", "EpisodeFailed", "ModelFailed", "ActionTaken"}
    assert any(row["reflections"] for row in found["PlanMade"])


def test_nothing_recalled_is_an_empty_list(plain: RunDirectory, tmp_path: Path) -> None:
    """Not null; though there is no record in the whole run."""
    table = exported(plain, tmp_path)["PlanMade"]
    assert table["reflections"].to_list() == [[]] * len(only(trace_of(plain), PlanMade))


def test_types_do_not_depend_on_what_a_run_came_to_hold(
    plain: RunDirectory, forked: RunDirectory, tmp_path: Path
) -> None:
    """The tables of several runs can be read as one."""
    one, other = exported(plain, tmp_path / "one"), exported(forked, tmp_path / "other")
    for name in one.keys() & other.keys() - {"RunStarted"}:
        assert one[name].schema == other[name].schema
        assert pl.Null not in {kind.base_type() for kind in one[name].schema.values()}


def test_settings_are_text(plain: RunDirectory, tmp_path: Path) -> None:
    """They are of several types, which a column cannot be."""
    (row,) = exported(plain, tmp_path)["RunStarted"].to_dicts()
    values = {setting["name"]: setting["value"] for setting in row["settings"]}
    assert (values["limit"], values["quit.lowest"], values["users"]) == ("2", "0.0", "train")


def test_a_long_trace_is_taken_in_parts(
    forked: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing of that is to be seen: the first parts hold empty lists alone."""
    whole = exported(forked, tmp_path / "whole")
    monkeypatch.setattr(tables, "ROWS", 3)
    parts = exported(forked, tmp_path / "parts")
    assert parts.keys() == whole.keys()
    assert all(parts[name].equals(table) for name, table in whole.items())
    assert all(parts[name].schema == table.schema for name, table in whole.items())


def test_the_rows_of_each_table_are_told(forked: RunDirectory, tmp_path: Path) -> None:
    """By path, in order of the names."""
    told = export_trace(forked.trace, tmp_path / "a" / "b")
    assert list(told) == sorted((tmp_path / "a" / "b").iterdir())
    assert sum(told.values()) == len(trace_of(forked))


def test_a_directory_that_is_not_empty_is_left_alone(plain: RunDirectory, tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    for place in (tmp_path, tmp_path / "mine"):
        with pytest.raises(DataError, match="exists and is not empty"):
            export_trace(plain.trace, place)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_directory_that_cannot_be_made(plain: RunDirectory, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written: Not a directory"):
        export_trace(plain.trace, tmp_path / "file" / "tables")


def test_a_trace_that_cannot_be_read_leaves_nothing(plain: RunDirectory, tmp_path: Path) -> None:
    """The line is named before anything is written."""
    trace = tmp_path / "trace.jsonl"
    trace.write_bytes(plain.trace.read_bytes() + b"{}\n")
    with pytest.raises(TraceError, match=r"trace\.jsonl:\d+: not an envelope"):
        export_trace(trace, tmp_path / "tables")
    assert not (tmp_path / "tables").exists()
