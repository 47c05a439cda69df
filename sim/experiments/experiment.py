"""Experiments: agents, seeds and settings by a protocol, each a run of its own, side by side.

Every run is a process with a directory under the experiment's; what is there already is resumed or
left as it is, so an experiment that was stopped goes on when it is started again.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from math import inf
from pathlib import Path
from subprocess import PIPE
from typing import Any, Literal, TypeAlias, get_args, get_origin

import anyio
import msgspec
import tomli_w
from anyio.abc import Process

from agents.roster import agent_of
from engine.errors import (
    BillpError,
    ConfigError,
    FailedEpisodesError,
    InterruptedRunError,
    RunDirectoryError,
)
from sim.analysis.leaks import check_leaks
from sim.analysis.seeds import FEW
from sim.config.layers import configured, merged, parse_set
from sim.config.run import RunConfig, Settings
from sim.config.stages import read_course
from sim.runs.scenario import check_runnable
from sim.runs.trust import reaching
from storage.datasets import open_environment
from storage.environments import Environment
from storage.objects.addresses import check_out
from storage.runs import RunDirectory, write_whole

ProtocolName: TypeAlias = Literal["frozen", "paper", "curve"]

PROTOCOLS: dict[str, Settings] = {
    "frozen": {"episodes": 100, "test_episodes": 100, "test_memory": "frozen"},
    "paper": {
        "episodes": 100,
        "test_episodes": 100,
        "test_memory": "learning",
        "arrivals": "batches:10",
        "repeats": "allow",
        "quit_rule": "billp",
        "rewards": {"satiation": [0.0, 0.0]},
    },
    "curve": {"episodes": 300, "test_episodes": 100, "test_every": 50, "test_memory": "frozen"},
}
"""What each protocol sets, unless it is set otherwise.

`frozen`: memories are fixed when the test begins. `paper`: as in arXiv 2403.00843, training in
batches of 10, memories that go on learning in the test, repeats allowed, and users who leave by its
rule and are never sated. `curve`: a test with fixed memories before, between and after the training
episodes.
"""


CONFIGS = "configs"
"""Where the configurations of an experiment's runs are, within its directory."""


class Experiment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is run: every agent with every seed, and with every combination of swept values.

    *settings* are those of runs, over those of the *protocol*; *sweep* holds lists of values by
    dotted name. Neither can hold an agent or a seed.

    *until* decided, seeds are added one by one, after the last of *seeds* the numbers that follow:
    until of every pair it is known who gets more, or that the difference is within ± *effect*, or
    there are *most_seeds*.
    """

    agents: tuple[str, ...] = ("billp", "reflexion", "random")
    seeds: tuple[int, ...] = tuple(range(1, 11))
    protocol: ProtocolName = "frozen"
    settings: dict[str, Any] = {}
    sweep: dict[str, list[Any]] = {}
    until: Literal["decided"] | None = None
    effect: float | None = None
    most_seeds: int = 30

    @property
    def every_seed(self) -> tuple[int, ...]:
        """The seeds that may be run, in their order."""
        if self.until is None:
            return self.seeds
        more = range(max(self.seeds) + 1, max(self.seeds) + 1 + self.most_seeds)
        return (*self.seeds, *more)[: self.most_seeds]


@dataclass(frozen=True)
class Planned:
    """A run of an experiment: what it is called, and its configuration."""

    name: str
    config: RunConfig


def experiment_from(*layers: Settings) -> Experiment:
    """Return the experiment that *layers* of settings make; raises ConfigError."""
    settings = merged(*layers)
    known = {field.name for field in msgspec.structs.fields(Experiment)}
    for name in settings:
        if name not in known:
            raise ConfigError(
                f"there is no setting {name!r} of experiments",
                hint=f"there are {', '.join(sorted(known))}; those of runs go into [settings]",
            )
    made = Experiment(**{name: _value(name, value) for name, value in settings.items()})
    _check_lists(made)
    _check_own(made)
    _check_until(made)
    return made


def _value(name: str, value: object) -> Any:
    """Return the *value* of one setting; raises ConfigError: what may stand there, what came."""
    kind = next(one.type for one in msgspec.structs.fields(Experiment) if one.name == name)
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        expected = str(error).partition(" - at ")[0].partition(", got")[0].replace("`", "")
        choices = _choices(kind)
        if choices:
            expected = f"expected one of {', '.join(choices)}"
        usual = getattr(Experiment(), name) or next(iter(choices), None)
        usual = [*usual] if isinstance(usual, tuple) else usual
        hint = f"such as {name} = {usual!r}" if usual else ""
        what = f"{expected[:1].lower()}{expected[1:]}, got {value!r:.80}"
        raise ConfigError(f"{name}: {what}", hint=hint) from error


def _choices(kind: Any) -> tuple[str, ...]:
    """Return the words that a *kind* of setting may be; none where it may be others."""
    if get_origin(kind) is Literal:
        return get_args(kind)
    return tuple(word for one in get_args(kind) for word in _choices(one))


def _check_lists(experiment: Experiment) -> None:
    for name, given in (("agents", experiment.agents), ("seeds", experiment.seeds)):
        if not given:
            raise ConfigError(f"an experiment needs {name}")
        if len(set(given)) < len(given):
            raise ConfigError(f"{name} name something twice: {', '.join(map(str, given))}")
    for name, values in experiment.sweep.items():
        if not values:
            raise ConfigError(f"nothing to sweep: {name!r} has no values")


def _check_own(experiment: Experiment) -> None:
    """Raise ConfigError for settings that are each run's own, and would not count."""
    for part, names in (("settings", experiment.settings), ("sweep", experiment.sweep)):
        for name in ("agent", "seed"):
            if name in names:
                raise ConfigError(
                    f"an experiment has {name}s of its own, got {name!r} in its {part}",
                    hint=f"--{name}s, or {name}s at the head of the file",
                )


def _check_until(experiment: Experiment) -> None:
    if experiment.effect is not None and not 0 < experiment.effect < inf:
        raise ConfigError(f"an effect is a number above 0, got {experiment.effect!r}")
    if experiment.most_seeds < FEW:
        raise ConfigError(f"fewer than {FEW} seeds decide nothing, got {experiment.most_seeds!r}")
    if experiment.until is None and experiment.effect is not None:
        raise ConfigError("an effect is for experiments until decided", hint="--until decided")
    if experiment.until and not (experiment.agents[1:] or experiment.sweep):
        raise ConfigError("nothing to decide: there is one agent", hint="name two --agents")


def plan(experiment: Experiment) -> tuple[Planned, ...]:
    """Return the runs of an experiment, the seeds of an agent together.

    Raises ConfigError for an agent or a setting that does not exist, or if nobody is tested.
    """
    for agent in experiment.agents:
        agent_of(agent)
    combinations = [*product(*experiment.sweep.values())]
    runs = [
        _planned(experiment, agent, dict(zip(experiment.sweep, values, strict=True)), seed)
        for agent, values, seed in product(experiment.agents, combinations, experiment.every_seed)
    ]
    for run in runs:
        if not run.config.test_episodes:
            raise ConfigError("an experiment without test users says nothing of learning")
    return tuple(runs)


def _planned(experiment: Experiment, agent: str, swept: Settings, seed: int) -> Planned:
    layers = [parse_set(f"{name}={_written(value)}") for name, value in swept.items()]
    settings = merged(PROTOCOLS[experiment.protocol], experiment.settings, *layers)
    own = {*agent_of(agent).settings.__struct_fields__}
    others = {n for a in experiment.agents for n in agent_of(a).settings.__struct_fields__}
    # What another agent of the experiment is told is no mistake; what none knows is one.
    asked = {name: value for name, value in settings.items() if name not in others - own}
    config = configured(asked, {"agent": agent, "seed": seed})
    parts = [agent, *(f"{name}={value}" for name, value in swept.items()), f"seed={seed}"]
    return Planned(" ".join(parts).replace("/", "-").replace(":", "-").replace(" ", "-"), config)


def _written(value: Any) -> str:
    """Return *value* as TOML."""
    return tomli_w.dumps({"x": value}).partition("=")[2].strip()


def prepare(runs: Sequence[Planned], out: Path) -> Environment:
    """Make *out* and return the environment of *runs*; raises BillpErrors before any of them."""
    check_out(out)
    names = {run.config.environment for run in runs}
    if len(names) > 1:
        raise ConfigError(f"runs in different environments: {', '.join(sorted(names))}")
    environment = open_environment(names.pop())
    for run in runs:
        check_runnable(run.config, environment)
    try:
        (out / CONFIGS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunDirectoryError(f"{out}: cannot be made: {error.strerror}") from error
    return environment


Told: TypeAlias = Callable[[Planned, str], None]
"""Is told of a run that it *began*, was *resumed*, is *done* or was *there* already.

A run of which episodes *failed* is done as well.
"""


async def run_all(runs: Sequence[Planned], out: Path, jobs: int, told: Told) -> None:
    """Run what is not there yet, *jobs* at a time; the first run that stops stops all of them."""
    slots = anyio.CapacityLimiter(jobs)
    async with anyio.create_task_group() as group:
        for run in runs:
            group.start_soon(_run, run, out, slots, told)


async def _run(run: Planned, out: Path, slots: anyio.CapacityLimiter, told: Told) -> None:
    directory = RunDirectory(out / run.name)
    words, state = _words(run, directory)
    if not words:
        told(run, state)
        return
    async with slots:
        told(run, state)
        told(run, "done" if await _process(words) else "failed")


def _words(run: Planned, directory: RunDirectory) -> tuple[list[str], str]:
    """Return what makes a process do what is missing of a run, and what that is."""
    if directory.config.exists():
        _check_same(run, directory)
        if directory.finished and directory.manifest.exists():
            return [], "there"
        # Whoever plans the experiment names what its runs reach out by, also where nothing tells
        # that they were made here.
        named = [f"{name}={_written(value)}" for name, value in reaching(run.config)]
        given = [word for setting in named for word in ("--set", setting)]
        return ["resume", str(directory.path), *given], "resumed"
    config = directory.path.parent / CONFIGS / f"{run.name}.toml"
    write_whole(config, tomli_w.dumps(run.config.settings()).encode())
    return ["run", "--config", str(config), "--out", str(directory.path)], "began"


def missing(run: Planned, directory: RunDirectory) -> list[str]:
    """Return the words of the command line that do what is missing of a run; none if it is done.

    Raises RunDirectoryError if the directory holds a run of other settings.
    """
    return _words(run, directory)[0]


def _check_same(run: Planned, directory: RunDirectory) -> None:
    settings, proven = directory.read_proven()
    there = read_course(settings, proven=proven).config
    if there.differences(run.config):
        raise RunDirectoryError(
            f"{directory.path}: holds a run of other settings", hint="choose another --out"
        )


_START = "from sim.child import child; child()"


async def _process(words: Sequence[str]) -> bool:
    """Let billp work in a process of its own; raises what it says if it fails.

    Tells whether all went well: a run that came to its end may lack episodes that failed.
    """
    # -P: what lies in the current directory is not to be taken for our packages.
    command = [sys.executable, "-P", "-c", _START, *words, "--quiet"]
    async with await anyio.open_process(command, stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
        try:
            said = await _last_words(process)
            await process.wait()
        except BaseException:
            with anyio.CancelScope(shield=True):
                process.terminate()  # it stops cleanly, and can be resumed
                await process.wait()
            raise
    if process.returncode in {0, FailedEpisodesError.exit_status}:
        return process.returncode == 0
    raise _failure(said, process.returncode or 0)


async def _last_words(process: Process) -> str:
    heard = b""
    if process.stderr is not None:
        async for part in process.stderr:
            heard = (heard + part)[-10_000:]
    return heard.decode(errors="replace")


def _failure(said: str, status: int) -> BillpError:
    lines = [line for line in said.splitlines() if line.strip()]
    sentence = next((line for line in reversed(lines) if line.startswith("billp: ")), "")
    if not sentence:
        what = lines[-1] if lines else "it said nothing"
        return InterruptedRunError(f"a run ended with status {status}: {what}")
    hint = lines[lines.index(sentence) + 1].strip() if sentence != lines[-1] else ""
    error = BillpError(sentence.removeprefix("billp: "), hint=hint)
    error.exit_status = status
    return error


def check_all(runs: Sequence[Planned], out: Path, environment: Environment) -> int:
    """Check finished runs for leaks; return how many records were looked at, or raise LeakError."""
    return sum(check_leaks(RunDirectory(out / run.name), environment) for run in runs)
