"""Which runs can be compared, and which are one group: those that differ by their seeds only."""

from collections.abc import Sequence
from shlex import quote

from engine.errors import ConfigError
from engine.messages import RunStarted, Setting
from sim.analysis.outcomes import RunOutcomes


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
    """Return the runs by the label of their group and their seed."""
    deciding = [_deciding(run.head) for run in read]
    names = {name for settings in deciding for name in settings}
    differing = {n for n in names if len({settings.get(n) for settings in deciding}) > 1}
    groups: dict[str, dict[int, RunOutcomes]] = {}
    for run, settings in zip(read, deciding, strict=True):
        own = [run.head.agent, *(f"{name}={settings.get(name)}" for name in sorted(differing))]
        members = groups.setdefault(" ".join(own), {})
        if run.head.seed in members:
            raise ConfigError(
                f"{run.path}: {run.head.agent} with seed {run.head.seed} is there twice",
                hint="runs of a group must have seeds of their own",
            )
        members[run.head.seed] = run
    return groups


def _deciding(head: RunStarted) -> dict[str, Setting]:
    forks = {"forks": str(head.forks)} if head.forks else {}
    return {"model": head.model, **dict(head.settings), **forks}
