"""`billp`: the command line. An error is one sentence and a hint; `--debug` shows where it was."""

import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer

from engine.errors import BillpError, InterruptedRunError
from sim.commands import (
    cache,
    compare,
    critic,
    diff,
    env,
    experiment,
    fork,
    memory,
    replay,
    resume,
    run,
    serve,
    show,
    trace,
    verify,
)
from sim.commands.import_trajectories import import_trajectories
from sim.logs import log_to_stderr
from sim.loop import first_error
from sim.views.console import plain

app = typer.Typer(
    name="billp",
    help=(
        "Simulate agents that plan long-term recommendation. Every run leaves a trace that is the "
        "same bytes whatever the concurrency. The model 'embedded' is a stand-in that needs no "
        "key; it is not a language model."
    ),
    epilog="With --debug, any command shows where an error was raised.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command(name="run")(run.run)
app.command(name="show")(show.show)
app.command(name="replay")(replay.replay)
app.command(name="resume")(resume.resume)
app.command(name="fork")(fork.fork)
app.command(name="diff")(diff.diff)
app.command(name="compare")(compare.compare)
app.command(name="critic")(critic.critic)
app.command(name="experiment")(experiment.experiment)
app.command(name="import-trajectories")(import_trajectories)
app.command(name="memory")(memory.memory)
app.command(name="verify")(verify.verify)
app.command(name="serve")(serve.serve)
app.add_typer(trace.app, name="trace")
app.add_typer(env.app, name="env")
app.add_typer(cache.app, name="cache")

_DEBUG = "--debug"


def _tell_version(wanted: bool) -> None:
    if wanted:
        plain().print(f"billp {version('billp')}")
        raise typer.Exit


@app.callback()
def _options(
    tell: Annotated[
        bool,
        typer.Option("--version", callback=_tell_version, is_eager=True, help="Tell the version."),
    ] = False,
) -> None:
    """Take the options that come before a command."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = _DEBUG in words
    words = [word for word in words if word != _DEBUG]
    log_to_stderr()
    try:
        app(words, prog_name="billp")
    except KeyboardInterrupt:
        sys.exit(_said(InterruptedRunError("interrupted")))
    except (BillpError, BaseExceptionGroup) as error:
        first = first_error(error)
        if debug or not isinstance(first, BillpError):
            raise
        sys.exit(_said(first))


def _said(error: BillpError) -> int:
    """Tell what went wrong and return the exit status."""
    console = plain(stderr=True, folding=False)
    console.print(f"billp: {error}")
    if error.hint:
        console.print(f"  {error.hint}")
    return error.exit_status
