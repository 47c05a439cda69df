"""A certificate of determinism in the terminal."""

from rich.console import Group
from rich.table import Table

from sim.metrics.certificate import Certificate, Pass

_ALONE = "--set local.deterministic=true computes one call at a time, as if there were no others."


def certificate_view(found: Certificate) -> Group:
    """Return a line for each pass, and what all of them mean for a seed."""
    title = f"{found.model}: {found.calls} calls, temperature {found.temperature:g}"
    table = Table(title=title, title_justify="left")
    for name in ("in flight", "at once", "", "agree", "first difference", "seconds"):
        table.add_column(name, justify="left" if name in {"", "first difference"} else "right")
    for one in found.passes:
        table.add_row(
            f"{one.in_flight}",
            f"{one.at_once}",
            "cold" if one.cold else "warm",
            f"{one.agree} of {found.calls}",
            _difference(one),
            f"{one.seconds:.1f}",
        )
    most = max(one.in_flight for one in found.passes)
    hint = [_ALONE] if found.sure < most and found.settings.get("deterministic") is False else []
    return Group(table, found.says, *hint)


def _difference(one: Pass) -> str:
    failed = f"{one.failed} failed" if one.failed else ""
    if one.differs is None:
        return failed
    return ", ".join(filter(None, (f"word {one.differs.word} of call {one.differs.call}", failed)))
