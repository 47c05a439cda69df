"""`billp view`: runs in a browser."""

import signal
import webbrowser
from pathlib import Path
from typing import Annotated, Any

import anyio
import typer

from sim.commands.browser import web_pages
from sim.commands.located import all_located
from sim.views.console import plain
from storage.runs import RUNS


def view(
    paths: Annotated[
        list[Path] | None,
        all_located("[RUN…|FOLDER]", "Runs, their addresses, or a folder of runs."),
    ] = None,
    host: Annotated[
        str,
        typer.Option(help="The address to listen at; elsewhere than here a token is needed."),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="The port; 0 takes a free one.")
    ] = 8050,
    browser: Annotated[bool, typer.Option("--open", help="Open a browser there.")] = False,
) -> None:
    """Look at runs in a browser: their episodes step by step, memories, comparisons.

    They may be finished, under way or stopped. Nothing is written, and nothing of them executed.

    Example: billp view traces/runs
    """
    web = web_pages("billp view")
    folder = web.folder_of(paths or [RUNS])
    anyio.run(_serve, web, folder, web.Gate.at(host), port, browser)


async def _serve(web: Any, folder: Any, gate: Any, port: int, browser: bool) -> None:
    console = plain(folding=False)
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with web.served(web.site_of(folder, gate), port) as url:
            console.print(f"Look at {url} until Ctrl-C.")
            if browser:
                await anyio.to_thread.run_sync(webbrowser.open, url)
            await anext(aiter(signals))
    console.print()
