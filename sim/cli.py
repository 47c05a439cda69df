"""`billp`: the command line. An error is one sentence and a hint; `--debug` shows where it was."""

import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer
from typer.exceptions import TyperException

from engine.errors import BillpError, InterruptedRunError, OutputError
from engine.text import visible
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
from sim.commands.logs import log_to_stderr
from sim.commands.streams import open_closed, show_traceback, standard_streams
from sim.runs.loop import first_error
from sim.views.console import plain
from storage.names import check_name

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
    open_closed()
    with standard_streams() as (out, err):
        log_to_stderr()
        status = _status(words, debug=debug)
        try:
            out.flush()
        except OutputError as error:
            status = _said(error)
        err.flush()
        status = status or int(err.lost is not None)
    sys.exit(status)


def _status(words: list[str], *, debug: bool) -> int:
    """Run the command that *words* name, tell what went wrong, and return the exit status."""
    try:
        for word in words:
            check_name(word)
        # Typer returns the status of a command that ended early, and None of one that did not.
        status: int | None = app(words, prog_name="billp", standalone_mode=False)
    except (BillpError, BaseExceptionGroup, MemoryError) as error:
        first = _plain(first_error(error))
        if debug or first is None:
            raise
        return _said(first)
    except TyperException as error:
        return _misused(error)
    except typer.Abort:
        return _said(InterruptedRunError("interrupted"))
    finally:
        sys.excepthook = show_traceback  # Typer put its own there
    if status == InterruptedRunError.exit_status:  # so Typer tells of a KeyboardInterrupt
        return _said(InterruptedRunError("interrupted"))
    return status or 0


def _plain(error: BaseException) -> BillpError | None:
    """Return what can be said of *error* in a sentence."""
    if isinstance(error, MemoryError):
        return BillpError("memory ran out", hint="ulimit -v, or a container, may bound it")
    return error if isinstance(error, BillpError) else None


def _misused(error: TyperException) -> int:
    """Tell how a command was called wrongly; without words there is none, and help was shown."""
    said = error.format_message()
    if said:
        where = getattr(error, "ctx", None)
        command = "billp" if where is None else where.command_path
        refusal = BillpError(said[:1].lower() + said[1:].rstrip("."), hint=f"see {command} --help")
        _said(refusal)
    return error.exit_code


def _said(error: BillpError) -> int:
    """Tell what went wrong and return the exit status; who left is told nothing."""
    if isinstance(error.__cause__, BrokenPipeError):
        return error.exit_status
    console = plain(stderr=True, folding=False)
    console.print(f"billp: {visible(str(error))}")
    if error.hint:
        console.print(f"  {visible(error.hint)}")
    return error.exit_status
