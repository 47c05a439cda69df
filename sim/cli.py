"""`billp`: the command line. An error is one sentence and a hint; `--debug` shows where it was."""

import sys
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException
from typer.main import get_group

from engine.errors import BillpError, InterruptedRunError, OutputError
from engine.text import visible
from sim.commands.examples import EXAMPLES
from sim.commands.logs import log_to_stderr
from sim.commands.streams import open_closed, show_traceback, standard_streams
from sim.runs.loop import first_error
from sim.views.console import plain
from storage.names import check_name

COMMANDS = {
    "run": ("run:run", "Run episodes and record them."),
    "runs": ("runs:runs", "List the runs of a folder, and what came of them."),
    "show": (
        "show:show",
        "Show the visits of a run, an episode step by step, or all that led to one step.",
    ),
    "view": (
        "view:view",
        "Look at runs in a browser: their episodes step by step, memories, comparisons.",
    ),
    "replay": (
        "replay:replay",
        "Run a recorded run again and compare all of it; nobody is called.",
    ),
    "resume": (
        "resume:resume",
        "Finish a run after Ctrl-C, a crash or a spent budget; no recorded call is made again.",
    ),
    "fork": (
        "fork:fork",
        "Live a recorded run again up to a step, then on with something changed.",
    ),
    "diff": (
        "diff:diff",
        "Show where two runs part, and what that did to each user's Len and R_traj.",
    ),
    "compare": (
        "compare:compare",
        "Compare agents by recorded runs: the same users under the same seeds, pair by pair.",
    ),
    "report": (
        "report:report",
        "Write a report on runs: one file that works from a disk, and needs no network.",
    ),
    "critic": (
        "critic:critic",
        "Compare the critic's values of sampled states with returns rolled out from them.",
    ),
    "blame": (
        "blame:blame",
        "Tell which thought, item or remembered record made an episode go as it went.",
    ),
    "experiment": (
        "experiment:experiment",
        "Train and test agents with several seeds, look for leaks, and compare them.",
    ),
    "train": (
        "train:train",
        "Train a rival that learns by gradient; run its policy by --agent rl:PATH.",
    ),
    "import-trajectories": (
        "import_trajectories:import_trajectories",
        "Make a run of a file that the code of BiLLP's authors wrote, to look at as at any other.",
    ),
    "memory": (
        "memory:memory",
        "Tell what a run's memories hold, how they were recalled, and whether following them paid.",
    ),
    "push": (
        "push:push",
        "Put a run, an environment or a report to object storage; send what is not there already.",
    ),
    "pull": (
        "pull:pull",
        "Fetch a run, an environment or a report from object storage, whole or not at all.",
    ),
    "verify": ("verify:verify", "Read everything in a run directory and compare it; offline."),
    "models": (
        "models:models",
        "List the models that are at hand: built in, packaged, GGUF files, what a service offers.",
    ),
    "probe": (
        "probe:probe",
        "Tell whether a model says the same again: a certificate of determinism.",
    ),
    "serve": (
        "serve:serve",
        "Serve a model by the OpenAI protocol, with faults if you want them.",
    ),
    "bench": (
        "bench:bench",
        "Measure what billp costs on this machine, beside yardsticks in the same run.",
    ),
    "trace": ("trace:app", "Read, count and export the messages of a run."),
    "env": ("env:app", "Build environments from data, look at them, calibrate and list them."),
    "cache": ("cache:app", "Look into a cache of replies, and prune it."),
}
"""Each command: its module in sim.commands and what it is called there; its help's first line."""


class Commands(TyperGroup):
    """The commands; one is imported when it is called, so that a list of all costs nothing."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, (_, summary) in COMMANDS.items():
            self.add_command(TyperCommand(name, callback=None, help=summary))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the name of the command that is called, the command, and its own arguments."""
        name, listed, rest = super().resolve_command(ctx, args)
        return name, listed and command_named(listed.name or ""), rest


@cache  # its options are made ready one by one, which takes longer than to look at a run
def command_named(name: str) -> Any:
    """Return the command called *name*, or the group of commands, imported when first asked for."""
    module, _, attribute = COMMANDS[name][0].partition(":")
    found = getattr(import_module(f"sim.commands.{module}"), attribute)
    holder = typer.Typer(add_completion=False)
    if isinstance(found, typer.Typer):
        holder.add_typer(found, name=name)
    else:
        holder.command(name)(found)
    command = get_group(holder).commands[name]
    for path, one in _each(name, command):
        one.epilog = f"Example:  {EXAMPLES[path]}"
    return command


def _each(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Yield a command by its name, or those of a group of commands by both names."""
    if not isinstance(command, TyperGroup):
        yield name, command
        return
    for own, one in command.commands.items():
        yield f"{name} {own}", one


app = typer.Typer(
    name="billp",
    cls=Commands,
    help=(
        "Simulate agents that plan long-term recommendation. Every run leaves a trace that is the "
        "same bytes whatever the concurrency. The model 'embedded' is a stand-in that needs no "
        "key; it is not a language model."
    ),
    epilog="With --debug, any command shows where an error was raised.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)

_DEBUG = "--debug"

_NUMBER = "Input should be a valid {}, unable to parse string as {}"
_WORDS = {
    "Value error, ": "",
    _NUMBER.format("integer", "an integer"): "expected a whole number",
    _NUMBER.format("number", "a number"): "expected a number",
}
"""Words of those who read options for us, and what we say instead."""


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
    for words, ours in _WORDS.items():
        said = said.replace(words, ours)
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
