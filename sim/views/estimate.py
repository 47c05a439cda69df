"""What a run is expected to come to, as people read it."""

from rich.console import Group
from rich.table import Table

from engine.text import counted
from sim.config.flight import TRADE
from sim.experiments.estimate import Estimate

_PLANS = {"live": "at once", "flex": "by and by (tier flex)", "batch": "in batches"}


def estimate_page(estimate: Estimate) -> Group:
    """Return the table of an estimate and how far it can be trusted."""
    table = Table(title=f"{counted(estimate.episodes, 'episode')}, expected", title_justify="left")
    for name in ("role", "model"):
        table.add_column(name)
    for name in ("calls", "tokens in", "tokens out", "cost"):
        table.add_column(name, justify="right")
    for name, role in estimate.roles.items():
        numbers = (role.calls, role.prompt_tokens, role.completion_tokens)
        table.add_row(name, role.model, *map("{:,}".format, numbers), _cost(role.cost))
    whole = (estimate.calls, estimate.prompt_tokens, estimate.completion_tokens)
    table.add_section()
    table.add_row("all", "", *map("{:,}".format, whole), _cost(estimate.cost))
    plans = [_plans(estimate)] if len(estimate.plans) > 1 else []
    return Group(table, *_below(estimate), *plans)


def _plans(estimate: Estimate) -> Table:
    """Return what the same calls cost by other ways, and how often a day may have to pass."""
    table = Table(title="The same calls, answered", title_justify="left")
    table.add_column("")
    for name in ("cost", "batches one after the other"):
        table.add_column(name, justify="right")
    for plan in estimate.plans:
        roles = ", ".join(plan.roles)
        name = _PLANS[plan.name] + (f" ({roles})" if plan.name == "batch" else "")
        most = "" if plan.exact else "at most "
        rounds = f"{most}{plan.rounds:,}, each up to a day" if plan.rounds else "none"
        table.add_row(name, _cost(plan.cost), rounds)
    return table


def _below(estimate: Estimate) -> list[str]:
    lines = [
        _origin(estimate),
        "With another model episodes may be much shorter or longer.",
        f"About {_span(estimate.seconds)} if a reply takes {estimate.reply_seconds:g} s, held back "
        f"by {estimate.held_by}.",
    ]
    if estimate.in_flight is not None:
        lines.append(f"Training can use about {estimate.in_flight:,} calls in flight: {TRADE}.")
    if estimate.known_tokens and estimate.plans:
        lines.append(_known(estimate))
    if estimate.cost is None:
        lines.append(
            "For the cost set the prices of a million tokens: prices.NAME.prompt, .completion"
        )
    return lines


def _known(estimate: Estimate) -> str:
    """Return what a service may know of the prompts, and what they cost then if that is less."""
    share = estimate.known_tokens / max(1, estimate.prompt_tokens)
    what = f"Of the tokens in {share:.0%} are how an earlier prompt began: a service may know them"
    less = estimate.cost_if_known
    if less is None or less == estimate.cost:
        return f"{what}."
    return f"{what}; if it knows all of them, the cost is {_cost(less)}."


def _origin(estimate: Estimate) -> str:
    if estimate.sample == estimate.episodes:
        return f"All episodes were tried with the embedded model: {estimate.calls:,} calls."
    return (
        f"From {estimate.sample} episodes with the embedded model: {estimate.calls:,} calls "
        f"± {estimate.error:,} (standard error)."
    )


def _cost(cost: float | None) -> str:
    return "–" if cost is None else f"{cost:,.2f}"


def _span(seconds: float) -> str:
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:,.0f} s"
