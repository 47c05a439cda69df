"""`billp trace`: read, count and export the messages of a run."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from engine.text import counted
from sim.analysis.visits import standing_of
from sim.commands.located import RunPath
from sim.runs.recorded import check_head
from sim.views.console import plain, write_json, write_json_line
from sim.views.visits import stands
from storage.runs import RunDirectory, open_run
from storage.traces import decode_line, head_of, kind_named, opening, read_lines

app = typer.Typer(help="Read, count and export the messages of a run.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object and nothing else.")]


@app.command()
def cat(
    run: RunPath,
    episode: Annotated[int | None, typer.Option(help="Of this episode alone.")] = None,
    type_: Annotated[
        str | None, typer.Option("--type", help="Messages of this type.", metavar="TYPE")
    ] = None,
    step: Annotated[int | None, typer.Option(help="Messages of this step.")] = None,
) -> None:
    """Write the envelopes of a run, one a line, as in its trace; control characters as escapes.

    Of a run that is not finished those that are written: of episodes that ended.
    """
    if type_ is not None:
        kind_named(type_)
    directory = open_run(run)
    trace = directory.trace
    check_head(trace)
    _tell_unfinished(directory)
    for line in _chosen(trace, episode, type_, step):
        write_json_line(line)


def _chosen(
    trace: Path, episode: int | None, kind: str | None, step: int | None
) -> Iterator[bytes]:
    own = b"" if episode is None else opening(episode)
    for number, line in read_lines(trace):
        if line.startswith(own) and kind in {None, head_of(line).kind}:
            message = decode_line(trace, number, line).message
            if step is None or getattr(message, "step", None) == step:
                yield line


def _tell_unfinished(directory: RunDirectory) -> None:
    """Say on standard error that a run is not finished; what is told is told all the same."""
    standing = standing_of(directory)
    if standing != "finished":
        told = f"{stands(str(directory.path), standing)} This is its trace so far."
        plain(stderr=True).print(told)


@app.command()
def stats(run: RunPath, as_json: AsJson = False) -> None:
    """Count the messages of a run, by type, and their bytes; so far, if it is not finished."""
    directory = open_run(run)
    trace = directory.trace
    check_head(trace)
    _tell_unfinished(directory)
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for number, line in read_lines(trace):
        kind = type(decode_line(trace, number, line).message).__name__
        counts[kind] += 1
        sizes[kind] += len(line) + 1
    if as_json:
        rows = {kind: {"count": counts[kind], "bytes": sizes[kind]} for kind in counts}
        total = {"count": counts.total(), "bytes": sizes.total()}
        write_json({"types": rows, "total": total})
        return
    plain().print(_table(counts, sizes))


def _table(counts: Counter[str], sizes: Counter[str]) -> Table:
    table = Table(show_footer=True)
    table.add_column("message", "all")
    rows = [("count", counts.total()), ("bytes", sizes.total())]
    for name, total in rows:
        table.add_column(name, f"{total:,}", justify="right")
    mean = sizes.total() / max(1, counts.total())
    table.add_column("bytes each", f"{mean:,.0f}", justify="right")
    for kind, size in sizes.most_common():
        table.add_row(kind, f"{counts[kind]:,}", f"{size:,}", f"{size / counts[kind]:,.0f}")
    return table


@app.command()
def export(
    run: RunPath,
    parquet: Annotated[
        Path,
        typer.Option(help="The directory to write, one table a type.", show_default=False),
    ],
) -> None:
    """Write a table for each message type, for polars, pandas or DuckDB."""
    from storage.trace_tables import export_trace

    directory = open_run(run)
    check_head(directory.trace)
    _tell_unfinished(directory)
    for path, rows in export_trace(directory.trace, parquet).items():
        plain(folding=False).print(f"{path}: {counted(rows, 'row')}")
