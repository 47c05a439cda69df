"""`billp bench`: what billp costs on this machine, beside yardsticks of the same run."""

from pathlib import Path
from typing import Annotated

import typer

from engine.errors import ConfigError
from sim.bench.book import measured
from sim.bench.children import LONG, Sizes
from sim.views.bench import bench_markdown, bench_view
from sim.views.console import plain, write_json
from storage.runs import write_whole


def bench(
    only: Annotated[
        list[str] | None,
        typer.Option(help="A chapter, not all: start, bus, kernel, all, batches, calls, …"),
    ] = None,
    long: Annotated[
        bool, typer.Option("--long", help="Up to 100,000 episodes: half an hour, not minutes.")
    ] = False,
    rivals: Annotated[
        bool,
        typer.Option(
            "--rivals", help="And others that do alike, installed by pip and thrown away."
        ),
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Write it as Markdown, too.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object and nothing else.")
    ] = False,
) -> None:
    """Measure what billp costs on this machine, beside yardsticks in the same run.

    Processor time, medians of rounds in turns, each in a process of its own. It takes five minutes
    of two processors in quiet, and twenty where others use their caches; then ratios to yardsticks
    are what to go by.
    """
    if out is not None and not out.absolute().parent.is_dir():
        raise ConfigError(f"--out: there is no directory {str(out.parent)!r}")
    console = plain(stderr=True)
    sizes = LONG if long else Sizes()
    book = measured(only or [], console.print, sizes=sizes, against=rivals)
    if out is not None:
        write_whole(out, bench_markdown(book).encode())
    if as_json:
        write_json(book)
    else:
        plain().print(bench_view(book))
