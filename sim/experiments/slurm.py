"""Experiments on Slurm: array jobs whose scripts are plain, and cells that are runs like any other.

A cell is one run of an experiment. Its task execs the command line, `run` or `resume`, whatever is
missing of it: so a task that was preempted, killed or out of time goes on where it was when it is
submitted again, and one whose cell is done ends at once. Tasks know nothing of each other; a cell
that fails, fails alone. All that they share is the experiment's directory.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote

import msgspec
import tomli_w

from engine.errors import BillpError, ConfigError, RunDirectoryError
from sim.config.layers import configured, read_config
from sim.config.run import RunConfig
from sim.experiments.experiment import CONFIGS, Experiment, Planned, missing, plan, prepare
from sim.verification.verify import verify
from storage.runs import RunDirectory, write_whole

PLACE = "slurm"
"""Where scripts, lists of cells and what tasks say are, within an experiment's directory."""

LEASES = "leases"
"""Where the leases are of cells that share limits, within an experiment's directory."""

MOST = 1_000
"""Tasks of an array: Slurm allows 1,001 unless it is told otherwise."""

_GRACE = 60  # seconds between the signal to stop cleanly and the end of a task's time
_NAMED = 5  # runs in a sentence
_UNQUOTABLE = '"\\%\n\r'  # sbatch reads them otherwise within a line of its own


@dataclass(frozen=True)
class Submitted:
    """What was submitted: so many *cells*, as *jobs*; others were done *already*."""

    cells: int
    jobs: tuple[str, ...]
    already: int


def shared(runs: Sequence[Planned], out: Path) -> tuple[Planned, ...]:
    """Return *runs* that keep their limits a minute together, unless they name how themselves."""
    return tuple(replace(run, config=_shared(run.config, out / LEASES)) for run in runs)


def _shared(config: RunConfig, leases: Path) -> RunConfig:
    paced = config.requests_per_minute or config.tokens_per_minute
    if config.share_limits or not paced:
        return config
    return msgspec.structs.replace(config, share_limits=str(leases.resolve()))


def submit(
    experiment: Experiment, out: Path, at_once: int | None, options: Sequence[str]
) -> Submitted:
    """Submit what is not done yet of an experiment, *at_once* tasks at most; return what that was.

    *options* are those of sbatch, as `--partition=cpu`. Raises ConfigError without Slurm, for what
    cannot be run and for options that cannot stand in a script; BillpError, with its words, if
    sbatch refuses.
    """
    sbatch = shutil.which("sbatch")
    if sbatch is None:
        raise ConfigError(
            "there is no sbatch here, so no Slurm",
            hint="go where jobs are submitted, or leave out --slurm",
        )
    if experiment.until:
        raise ConfigError(
            "how many runs it takes until decided is not known, and --slurm submits all at once",
            hint="name its --seeds",
        )
    runs = shared(plan(experiment), out)
    prepare(runs, out)
    cells = [run for run in runs if missing(run, RunDirectory(out / run.name))]
    parts = [cells[start : start + MOST] for start in range(0, len(cells), MOST)]
    scripts = [_write(part, out, place, at_once, options) for place, part in enumerate(parts)]
    jobs = tuple(_sent(sbatch, script) for script in scripts)
    return Submitted(len(cells), jobs, len(runs) - len(cells))


def _write(
    cells: Sequence[Planned], out: Path, place: int, at_once: int | None, options: Sequence[str]
) -> Path:
    """Write the configurations of *cells*, their list and the script of their array job."""
    folder = out.resolve() / PLACE
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise RunDirectoryError(f"{folder}: cannot be made: {error.strerror}") from error
    for cell in cells:
        config = out / CONFIGS / f"{cell.name}.toml"
        write_whole(config, tomli_w.dumps(cell.config.settings()).encode())
    # Tasks of an earlier submission may still read the list that they were given.
    number = place + sum(1 for _ in folder.glob("cells-*.txt"))
    listed, script = folder / f"cells-{number}.txt", folder / f"array-{number}.sh"
    write_whole(listed, "".join(f"{cell.name}\n" for cell in cells).encode())
    write_whole(script, script_of(out, listed, len(cells), at_once, options).encode())
    return script


def script_of(
    out: Path, listed: Path, count: int, at_once: int | None, options: Sequence[str]
) -> str:
    """Return the script of an array of *count* tasks, for the cells *listed* in a file.

    Raises ConfigError for a path or an option that cannot stand in one.
    """
    limit = "" if at_once is None else f"%{at_once}"
    told = [
        ("job-name", f"billp-{out.resolve().name}"),
        ("chdir", str(Path.cwd())),
    ]
    lines = [f'#SBATCH --{name}="{_quotable(value)}"' for name, value in told]
    log = f"{_quotable(str(listed.parent))}/{listed.stem}-%a.log"
    python = quote(sys.executable)
    return "\n".join(
        [
            "#!/bin/sh",
            *lines,
            f'#SBATCH --output="{log}"',
            "#SBATCH --open-mode=append",
            "#SBATCH --requeue",
            f"#SBATCH --signal=B:TERM@{_GRACE}",
            f"#SBATCH --array=0-{count - 1}{limit}",
            *(f"#SBATCH {_option(option)}" for option in options),
            # Line 1 is that of task 0.
            f'cell=$(sed -n "$((SLURM_ARRAY_TASK_ID + 1))p" {quote(str(listed))}) || exit 2',
            # -P: what lies in the current directory is not to be taken for our packages.
            # exec: the signal to stop cleanly is sent to this process alone.
            f"exec {python} -P -c 'from sim.cli import main; main()' \\",
            f'    experiment --out {quote(str(out))} --cell "$cell"',
            "",
        ]
    )


def _quotable(text: str) -> str:
    found = [sign for sign in _UNQUOTABLE if sign in text]
    if found:
        raise ConfigError(f"{text!r} cannot stand in a script for sbatch: it has {found[0]!r}")
    return text


def _option(option: str) -> str:
    if not option.startswith("-") or not option.isprintable():
        hint = "such as --sbatch=--partition=cpu, each on its own"
        raise ConfigError(f"an option of sbatch begins with a dash, got {option!r}", hint=hint)
    if option.startswith(("--array", "-a")):
        raise ConfigError("the array is for billp to choose", hint="--jobs says how many at a time")
    return option


def _sent(sbatch: str, script: Path) -> str:
    """Submit a *script*; return the job's number, or raise BillpError with what sbatch says."""
    said = subprocess.run(
        [sbatch, "--parsable", str(script)], capture_output=True, text=True, check=False
    )
    number = said.stdout.strip().partition(";")[0]
    if said.returncode or not number:
        words = (said.stderr or said.stdout).strip().splitlines() or ["it said nothing"]
        raise BillpError(
            f"sbatch refused {script}: {words[-1]}",
            hint="give options by --sbatch; the same command submits again what is not done",
        )
    return number


def enter(out: Path, name: str) -> None:
    """Become the process that does what is missing of a cell, called *name*; return if nothing is.

    Raises ConfigError for a name that is no cell's.
    """
    file = out / CONFIGS / f"{name}.toml"
    if Path(name).name != name or not file.is_file():
        hint = f"the cells are listed in {out / PLACE}"
        raise ConfigError(f"{out}: there is no cell {name!r}", hint=hint)
    words = missing(Planned(name, configured(read_config(file))), RunDirectory(out / name))
    if words:
        start = [sys.executable, "-P", "-c", "from sim.cli import main; main()"]
        os.execv(start[0], [*start, *words, "--quiet"])


def check_cells(runs: Sequence[Planned], out: Path) -> None:
    """Read all that there is of *runs*; raise RunDirectoryError unless each is done and whole."""
    lacking = [run.name for run in runs if missing(run, RunDirectory(out / run.name))]
    if lacking:
        raise RunDirectoryError(
            f"{len(lacking):,} of {len(runs):,} runs are not done: {_some(lacking)}",
            hint=f"the same with --slurm goes on with them; what they said is in {out / PLACE}",
        )
    damaged = [(run.name, fault) for run in runs for fault in _faults(out / run.name)]
    if damaged:
        name, fault = damaged[0]
        names = [*dict.fromkeys(name for name, _ in damaged)]
        raise RunDirectoryError(
            f"{len(names):,} of {len(runs):,} runs are damaged: {_some(names)} ({fault})",
            hint=f"look with billp verify {quote(str(out / name))}; remove it, and submit again",
        )


def _faults(path: Path) -> Iterator[str]:
    return (check.fault for check in verify(path) if check.fault)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
