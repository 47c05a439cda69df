"""Which runs can be compared, and which are one group: those that differ by their seeds only."""

from collections.abc import Collection, Mapping, Sequence
from shlex import quote

import msgspec

from agents.making import DIGEST, PRIVILEGED
from agents.roster import AGENTS
from engine.errors import ConfigError
from engine.messages import RunStarted, Setting
from sim.analysis.outcomes import RunOutcomes
from sim.config.run import flat


def check_comparable(read: Sequence[RunOutcomes]) -> None:
    """Raise ConfigError if the runs are not of one environment, or nothing can be said of one."""
    if not read:
        raise ConfigError("nothing to compare", hint="name at least one run directory")
    first = read[0]
    for other in read[1:]:
        if other.head.environment != first.head.environment:
            one, two = first.head.environment[:12], other.head.environment[:12]
            raise ConfigError(
                f"runs in different environments cannot be compared: {first.path} is in {one}, "
                f"{other.path} in {two}"
            )
    for run in read:
        if not run.judged and run.failed:
            raise ConfigError(
                f"{run.path}: all episodes by which it would be judged failed",
                hint=f"billp resume {quote(str(run.path))} --retry-failed",
            )
        if not run.judged:
            raise ConfigError(f"{run.path}: no episode of it has ended")
    tested = {bool(run.tests) for run in read}
    if len(tested) > 1:
        raise ConfigError(
            "runs with test users and runs without cannot be compared",
            hint="set test_episodes in all of them",
        )


def grouped(read: Sequence[RunOutcomes]) -> dict[str, dict[int, RunOutcomes]]:
    """Return the runs by the label of their group and their seed.

    An agent that is made of files may have one of its own for each seed: only where that leaves two
    runs of one seed in a group do the files' digests tell groups apart.
    """
    labels = _labels(read, apart=False)
    if len({(label, run.head.seed) for label, run in zip(labels, read, strict=True)}) < len(read):
        labels = _labels(read, apart=True)
    groups: dict[str, dict[int, RunOutcomes]] = {}
    for label, run in zip(labels, read, strict=True):
        members = groups.setdefault(label, {})
        if run.head.seed in members:
            raise ConfigError(
                f"{run.path}: {run.head.agent} with seed {run.head.seed} is there twice",
                hint="runs of a group must have seeds of their own",
            )
        members[run.head.seed] = run
    return groups


def _labels(read: Sequence[RunOutcomes], *, apart: bool) -> list[str]:
    """Return for each run its agent, what it is told that no agent knows, and what differs."""
    deciding = [_deciding(run.head) for run in read]
    names = {name for settings in deciding for name in settings}
    differing = {
        n
        for n in names
        if len({settings.get(n) for settings in deciding}) > 1 and (apart or not n.endswith(DIGEST))
    }
    return [
        " ".join([run.head.agent, *_own(settings, differing - _usual(run.head.agent, read))])
        for run, settings in zip(read, deciding, strict=True)
    ]


def _usual(agent: str, read: Sequence[RunOutcomes]) -> set[str]:
    """Return the settings in which all runs of *agent* are as it is by itself.

    The name says them: agents differ in what suits them. Of an agent that is none of ours nothing
    is known without importing it.
    """
    if agent not in AGENTS.own:
        return set()
    usual = dict(flat(msgspec.to_builtins(AGENTS.named(agent).settings())))
    runs = [dict(run.head.settings) for run in read if run.head.agent == agent]
    return {n for n, value in usual.items() if all(run.get(n) == value for run in runs)}


def _own(settings: Mapping[str, Setting], differing: Collection[str]) -> list[str]:
    told = {n for n, value in settings.items() if n.endswith(PRIVILEGED) and value}
    shown = told.union(n for n in differing if settings.get(n, "") != "")
    return [f"{name}={settings[name]}" for name in sorted(shown)]


def _deciding(head: RunStarted) -> dict[str, Setting]:
    forks = {"forks": str(head.forks)} if head.forks else {}
    return {"model": head.model, **dict(head.settings), **forks}
