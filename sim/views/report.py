"""What a finished run says: the metrics, the digest, the path, and what to type next."""

from collections.abc import Sequence
from shlex import quote

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from engine.text import counted
from sim.metrics.metrics import CurvePoint
from sim.metrics.summary import CAUTION, Summary
from sim.metrics.told import beside_test
from sim.metrics.toll import Toll


def report(summary: Summary) -> Group:
    """Return the table of a run, that of its learning curve, and what comes below them."""
    # Paths and commands stay whole, to be copied.
    below = [Text(line, no_wrap=True, overflow="ignore") for line in _below(summary)]
    if not summary.all_episodes and summary.failed_episodes:
        return Group(*below)  # a table would look like results
    return Group(_numbers(summary), *_curve(summary.curve), *below)


def _numbers(summary: Summary) -> Table:
    table = Table(title=summary.title, title_justify="left")
    table.add_column("metric")
    table.add_column("value", justify="right")
    beside = beside_test(summary.train)
    if beside:
        table.add_column("training", justify="right")
    table.add_column("meaning", style="dim")
    for name, value, meaning in summary.rows:
        table.add_row(name, value, *([beside.get(name, "")] if beside else []), meaning)
    return table


def _curve(points: Sequence[CurvePoint]) -> list[RenderableType]:
    if not points:
        return []
    table = Table(title="learning curve: tests in between", title_justify="left")
    for name in ("trained", "episodes", "Len", "R_each", "R_traj"):
        table.add_column(name, justify="right")
    for point in points:
        values = f"{point.len:.2f}", f"{point.r_each:.3f}", f"{point.r_traj:.2f}"
        table.add_row(f"{point.trained:,}", f"{point.episodes:,}", *values)
    return [table]


def _below(summary: Summary) -> list[str]:
    path = quote(summary.run)
    return [
        *_effort(summary),
        "",
        f"digest    {summary.digest}",
        *([f"manifest  {summary.manifest}"] if summary.manifest else []),
        f"run       {summary.run}",
        "",
        "Next:",
        f"  billp show {path} 0   what happened in episode 0",
        f"  billp replay {path}   the same run again, compared byte by byte",
    ]


def _effort(summary: Summary) -> list[str]:
    steps = summary.all_steps
    cached = f" ({summary.cached_calls:,} from the cache)" if summary.cached_calls else ""
    refused = f", {summary.refused_calls:,} refused by the model" if summary.refused_calls else ""
    calls = f"{counted(summary.calls, 'model call')}{cached}{refused}, {_tokens(summary)}"
    pace = f"{steps / max(summary.seconds, 1e-9):,.0f} steps/s"
    lines = [
        f"{counted(steps, 'step')}, {counted(summary.messages, 'message')}, {calls}",
        f"{summary.seconds:.1f} s, {pace} · items shown before: {summary.repeats}",
    ]
    if summary.calls and summary.all_episodes:
        lines.append(_expense(summary))
    lines += [*access_lines(summary.access), *_losses(summary)]
    if summary.model == "embedded" and summary.calls:
        lines.append(CAUTION)
    return lines


def access_lines(toll: Toll) -> list[str]:
    """Return what it took to get replies, if it took more than to ask."""
    lines, limits = [], _limits(toll)
    if toll.failures:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(toll.failed.items()))
        retries = f"{toll.retries:,} retried after {toll.pause_seconds:,.1f} s"
        lines.append(f"{toll.failures:,} of {toll.attempts:,} attempts failed: {kinds} · {retries}")
    if limits and toll.wait_seconds >= 1:
        lines.append(f"calls waited {toll.wait_seconds:,.0f} s in all for a slot or {limits}")
    return lines


def _limits(toll: Toll) -> str:
    limits = ((toll.requests_per_minute, "calls"), (toll.tokens_per_minute, "tokens"))
    return ", ".join(f"{limit:,.0f} {what} a minute" for limit, what in limits if limit)


def _losses(summary: Summary) -> list[str]:
    """Return who did not hear the whole run."""
    dropped = [f"{name} was dropped: {why}" for name, why in summary.dropped.items()]
    missed = {name: counted(count, "message") for name, count in summary.missed.items()}
    return [*dropped, *(f"{name} missed {messages}" for name, messages in missed.items())]


def _tokens(summary: Summary) -> str:
    known = summary.cached_tokens / max(summary.prompt_tokens, 1)
    told = f" ({known:.0%} of the prompts' known to the service)" if known else ""
    return f"{summary.tokens:,} tokens{told}"


def _expense(summary: Summary) -> str:
    """Return what an episode came to, and a unit of R_traj."""
    parts = [
        f"an episode: {summary.calls_per_episode:,.1f} calls",
        *_amounts(summary.tokens_per_episode, summary.cost_per_episode),
    ]
    reward = _amounts(summary.tokens_per_reward, summary.cost_per_reward)
    return ", ".join(parts) + " · 1 of R_traj: " + (", ".join(reward) or "–")


def _amounts(tokens: float | None, cost: float | None) -> list[str]:
    told = [] if tokens is None else [f"{tokens:,.0f} tokens"]
    return [*told, f"cost {cost:.3g}"] if cost else told
