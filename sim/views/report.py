"""What a finished run says: the metrics, the digest, the path, and what to type next."""

from collections.abc import Mapping, Sequence
from shlex import quote

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sim.metrics.metrics import CurvePoint, Metrics
from sim.metrics.summary import Summary
from sim.world.quitting import QUIT_RULES

_BILLP = "billp"


def report(summary: Summary) -> Group:
    """Return the table of a run, that of its learning curve, and what comes below them."""
    # Paths and commands stay whole, to be copied.
    below = [Text(line, no_wrap=True, overflow="ignore") for line in _below(summary)]
    if not summary.all_episodes and summary.failed_episodes:
        return Group(*below)  # a table would look like results
    return Group(_numbers(summary), *_curve(summary.curve), *below)


def _numbers(summary: Summary) -> Table:
    table = Table(title=_title(summary), title_justify="left")
    table.add_column("metric")
    table.add_column("value", justify="right")
    beside = _beside(summary.train)
    if beside:
        table.add_column("training", justify="right")
    table.add_column("meaning", style="dim")
    for name, value, meaning in [*_rows(summary.metrics, _reasons(summary)), *_own(summary)]:
        table.add_row(name, value, *([beside.get(name, "")] if beside else []), meaning)
    return table


def _title(summary: Summary) -> str:
    """Return whose numbers they are, and of which phase."""
    run = f"{summary.agent} in {summary.environment}"
    if summary.train is None:
        return run
    metrics, trained = summary.metrics, summary.train.episodes + summary.train.failed
    tested = f"{metrics.users:,} test users"
    if metrics.episodes != metrics.users:
        tested = f"{metrics.episodes:,} test episodes of {metrics.users:,} users"
    return f"{run}\n{tested}, memory {summary.test_memory}, after {trained:,} training episodes"


def _main_rows(metrics: Metrics) -> list[tuple[str, str, str]]:
    return [
        ("Len", f"{metrics.len:.2f}", "recommendations per episode"),
        ("R_each", f"{metrics.r_each:.3f}", "reward per recommendation"),
        ("R_traj", f"{metrics.r_traj:.2f}", "sum of rewards per episode"),
    ]


def _beside(train: Metrics | None) -> dict[str, str]:
    """Return what stands beside the numbers of a test: those of the training before."""
    if train is None:
        return {}
    return {
        **{name: value for name, value, _ in _main_rows(train)},
        "episodes": f"{train.episodes:,}",
        "failed": f"{train.failed:,}",
    }


def _reasons(summary: Summary) -> dict[str, str]:
    """Return why episodes end, in words, by the words of the quit rule."""
    return {**QUIT_RULES.named(summary.quit_rule or _BILLP).reasons, "limit": "stayed to the limit"}


def _own(summary: Summary) -> list[tuple[str, str, str]]:
    return [
        (one.column, "–" if one.mean is None else f"{one.mean:.4g}", one.error or one.meaning)
        for one in summary.own_metrics.values()
    ]


def _rows(metrics: Metrics, reasons: Mapping[str, str]) -> list[tuple[str, str, str]]:
    if not metrics.episodes:
        return [("failed", f"{metrics.failed:,}", "episodes, which are all there were")]
    quits = ", ".join(f"{count} {reasons.get(why, why)}" for why, count in metrics.quits.items())
    items = f"of the catalog: {metrics.distinct_items:,} items were recommended"
    rows = [
        *_main_rows(metrics),
        ("coverage", f"{metrics.coverage:.1%}", "of all categories, per episode"),
        ("entropy", f"{metrics.entropy:.2f}", "of the categories recommended, bits"),
        ("ILD", f"{metrics.ild:.3f}", "unlikeness of an episode's items"),
        ("repeats", f"{metrics.repeats_share:.1%}", "of recommendations"),
        ("CV", f"{metrics.items_coverage:.1%}", items),
        ("Gini", f"{metrics.gini:.3f}", "of the items' shares; 0 if all are equal"),
        ("MCD", f"{metrics.mcd:.1%}", "of recommendations, from dominating categories"),
        ("novelty", f"{metrics.novelty:.2f}", "−log₂ of an item's popularity, bits"),
        ("episodes", f"{metrics.episodes:,}", f"why they ended: {quits or 'none did'}"),
    ]
    if metrics.failed:
        rows.append(("failed", f"{metrics.failed:,}", "episodes, in none of the above"))
    if metrics.unreadable:
        chosen = f"{metrics.fallbacks:,} times grounding chose instead"
        rows.append(("unreadable", f"{metrics.unreadable:,}", f"replies; {chosen}"))
    return rows


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
    calls = f"{summary.calls:,} model calls{cached}, {summary.tokens:,} tokens"
    pace = f"{steps / max(summary.seconds, 1e-9):,.0f} steps/s"
    lines = [
        f"{steps:,} steps, {summary.messages:,} messages, {calls}",
        f"{summary.seconds:.1f} s, {pace} · items shown before: {summary.repeats}",
    ]
    if summary.calls and summary.all_episodes:
        lines.append(_expense(summary))
    if summary.model == "embedded" and summary.calls:
        lines.append(
            "The embedded model is a stand-in: its numbers say nothing of language models."
        )
    return lines


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
