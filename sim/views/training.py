"""A training as it is shown: progress while it goes on, and a table in the end."""

from collections.abc import Iterator
from contextlib import contextmanager
from shlex import quote

from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from engine.text import counted
from sim.training.results import CurvePoint, Told, Trained

ORACLE = "what no agent could know: the true nearness of items"
"""What is said wherever a privileged policy is spoken of."""


@contextmanager
def progress(console: Console, updates: int) -> Iterator[Told]:
    """Yield what shows how a training goes: a bar on a terminal, else a line for each look."""
    if not console.is_terminal:
        yield lambda done, point: _say(console, done, updates, point)
        return
    columns = (
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("updates · {task.description}"),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console, transient=True) as shown:
        task = shown.add_task("no look yet", total=updates)

        def told(done: int, point: CurvePoint | None) -> None:
            shown.update(task, completed=done)
            if point is not None:
                shown.update(task, description=_facts(point))

        yield told


def _say(console: Console, done: int, updates: int, point: CurvePoint | None) -> None:
    if point is not None:
        line = f"{done:,} of {updates:,} updates · {_facts(point)}"
        console.print(line, markup=False, soft_wrap=True)


def _facts(point: CurvePoint) -> str:
    users = point.users
    return f"training users: R_traj {users.r_traj:.2f}, Len {users.len:.1f}"


def training_page(trained: Trained) -> Group:
    """Return what a finished training says."""
    below = [Text(line, no_wrap=True, overflow="ignore") for line in _below(trained)]
    return Group(*_numbers(trained), *below)


def _numbers(trained: Trained) -> list[RenderableType]:
    found = trained.test
    if found is None:
        return []
    told = " told " + "+".join(trained.privileged) if trained.privileged else ""
    title = f"{trained.algorithm}{told} in {trained.environment}: {found.users:,} test users"
    table = Table(title=title, title_justify="left")
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column("meaning", style="dim")
    table.add_row("R_traj", f"{found.r_traj:.2f}", "sum of rewards per episode")
    table.add_row("Len", f"{found.len:.2f}", "recommendations per episode")
    table.add_row("sequences", f"{found.sequences:,}", "different ones, of all users")
    table.add_row("beginnings", f"{found.beginnings:,}", "different first three items")
    return [table]


def _below(trained: Trained) -> list[str]:
    from_log = f"{counted(trained.episodes, 'random episode')} of {counted(trained.logged, 'step')}"
    lived = counted(trained.steps, "step")
    learned = " · ".join(
        [*([from_log] if trained.episodes else []), *([lived] if trained.steps else [])]
    )
    policy = quote(trained.policy)
    return [
        f"{counted(trained.updates, 'update')} · {learned} · {trained.seconds:.1f} s",
        *([f"privileged: it is told {ORACLE}"] if trained.privileged else []),
        "",
        f"digest    {trained.digest}",
        f"policy    {trained.policy}",
        "",
        "Next:",
        f"  billp run --agent rl:{policy} --set users=test   play it to test users",
    ]
