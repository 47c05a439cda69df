"""Metrics in words: what each is called, its value, and what it means."""

from collections.abc import Mapping

from sim.metrics.metrics import Metrics


def _main_rows(metrics: Metrics) -> list[tuple[str, str, str]]:
    return [
        ("Len", f"{metrics.len:.2f}", "recommendations per episode"),
        ("R_each", f"{metrics.r_each:.3f}", "reward per recommendation"),
        ("R_traj", f"{metrics.r_traj:.2f}", "sum of rewards per episode"),
    ]


def beside_test(train: Metrics | None) -> dict[str, str]:
    """Return what stands beside the numbers of a test: those of the training before."""
    if train is None:
        return {}
    return {
        **{name: value for name, value, _ in _main_rows(train)},
        "episodes": f"{train.episodes:,}",
        "failed": f"{train.failed:,}",
    }


def metric_rows(metrics: Metrics, reasons: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Return name, value and meaning of each metric that says something; *reasons* are in words."""
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
