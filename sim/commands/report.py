"""`billp report`: runs in one file, for whoever has nothing but a browser."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from engine.errors import ConfigError
from sim.commands.browser import web_pages
from sim.commands.located import all_located
from sim.commands.options import gathered
from sim.views.console import plain
from storage.runs import write_whole


@dataclass(frozen=True)
class WhereOptions:
    """Where a report goes, and what beside it."""

    out: Annotated[Path, typer.Option(help="The report.", metavar="FILE.html")] = Path(
        "report.html"
    )
    plots: Annotated[
        Path | None,
        typer.Option(help="All charts as SVG and PNG as well, in this directory.", metavar="DIR"),
    ] = None
    pdf: Annotated[
        Path | None,
        typer.Option(help="On paper as well; takes a Chromium on the PATH.", metavar="FILE.pdf"),
    ] = None

    def check(self) -> None:
        """Raise ConfigError, before anything is read, for files that cannot be written."""
        for name, path, ending in (("--out", self.out, ".html"), ("--pdf", self.pdf, ".pdf")):
            if path is None:
                continue
            if path.suffix.casefold() != ending:
                raise ConfigError(f"{name}: expected a file named {ending}, got {str(path)!r}")
            if not path.parent.is_dir():
                raise ConfigError(f"{name}: there is no directory {str(path.parent)!r}")


@gathered
def report(
    runs: Annotated[
        list[Path], all_located("RUN…|FOLDER", "Runs, their addresses, or a folder of runs.")
    ],
    where: WhereOptions,
    episodes: Annotated[
        int, typer.Option(min=0, help="Episodes of each run: worst, best, and some evenly.")
    ] = 6,
) -> None:
    """Write a report on runs: one file that works from a disk, and needs no network.

    Summary, comparison, curves, categories, memory, cost, configuration, digests, and episodes step
    by step. It holds what models and users said; nothing in it can be executed.
    """
    web = web_pages("billp report")
    where.check()
    if where.pdf is not None:
        web.printer()
    facts = web.report(web.folder_of(runs), episodes)
    write_whole(where.out, web.report_html(facts).encode())
    written = [where.out]
    if where.plots is not None:
        written += web.write_plots(facts, where.plots)
    if where.pdf is not None:
        web.print_pdf(web.report_html(web.unfolded(facts)), where.pdf)
        written.append(where.pdf)
    for path in written:
        plain(folding=False).print(str(path), markup=False, highlight=False)
