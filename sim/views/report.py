"""What a finished run says: the metrics, the digest, the path, and what to type next."""

from shlex import quote

from rich.console import Group
from rich.table import Table
from rich.text import Text

from sim.metrics import Metrics
from sim.summary import Summary


def report(summary: Summary) -> Group:
    """Return the table of a run and what comes below it."""
    table = Table(title=f"{summary.agent} in {summary.environment}", title_justify="left")
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column("meaning", style="dim")
    for name, value, meaning in _rows(summary.metrics):
        table.add_row(name, value, meaning)
    # Paths and commands stay whole, to be copied.
    below = [Text(line, no_wrap=True, overflow="ignore") for line in _below(summary)]
    return Group(table, *below)


def _rows(metrics: Metrics) -> list[tuple[str, str, str]]:
    reasons = {"similar": "too much alike", "reward": "low reward", "limit": "stayed to the limit"}
    quits = ", ".join(f"{count} {reasons[why]}" for why, count in metrics.quits.items())
    if not metrics.episodes:
        return [("failed", f"{metrics.failed:,}", "episodes, which are all there were")]
    rows = [
        ("Len", f"{metrics.len:.2f}", "recommendations per episode"),
        ("R_each", f"{metrics.r_each:.3f}", "reward per recommendation"),
        ("R_traj", f"{metrics.r_traj:.2f}", "sum of rewards per episode"),
        ("coverage", f"{metrics.coverage:.1%}", "of all categories, per episode"),
        ("entropy", f"{metrics.entropy:.2f}", "of the categories recommended, bits"),
        ("repeats", f"{metrics.repeats:.1%}", "of recommendations"),
        ("distinct items", f"{metrics.distinct_items:,}", "recommended in the run"),
        ("episodes", f"{metrics.episodes:,}", f"why they ended: {quits or 'none did'}"),
    ]
    if metrics.failed:
        rows.append(("failed", f"{metrics.failed:,}", "episodes, in none of the above"))
    if metrics.unreadable:
        chosen = f"{metrics.fallbacks:,} times grounding chose instead"
        rows.append(("unreadable", f"{metrics.unreadable:,}", f"replies; {chosen}"))
    return rows


def _below(summary: Summary) -> list[str]:
    path = quote(summary.run)
    steps = summary.metrics.steps
    calls = f"{summary.calls:,} model calls, {summary.tokens:,} tokens"
    pace = f"{steps / max(summary.seconds, 1e-9):,.0f} steps/s"
    stand_in = summary.model == "embedded" and summary.calls > 0
    about = [
        f"{steps:,} steps, {summary.messages:,} messages, {calls}",
        f"{summary.seconds:.1f} s, {pace} · items shown before: {summary.repeats}",
    ]
    if stand_in:
        about.append(
            "The embedded model is a stand-in: its numbers say nothing of language models."
        )
    return [
        *about,
        "",
        f"digest  {summary.digest}",
        f"run     {summary.run}",
        "",
        "Next:",
        f"  billp show {path} 0   what happened in episode 0",
        f"  billp replay {path}   the same run again, compared byte by byte",
    ]
