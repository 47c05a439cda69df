"""What made an episode go as it went, as people read it."""

from collections.abc import Iterator, Sequence
from math import inf
from shlex import quote

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from engine.text import counted, visible
from sim.experiments.blame.causes import Cause
from sim.experiments.blame.cost import BlameCost
from sim.experiments.blame.findings import Blame
from sim.experiments.blame.ranking import Effect
from sim.views.console import folded

_SURE = 0.05
_MORE = 5  # causes that are listed below those that lead
_LEAST = 0.001
_NAMES = ("cause", "step", "gain without [95 %]", "p", "calls", "what")
_FORMS = {"thought": "thought", "recommendation": "item"}


def blame_page(found: Blame, width: int) -> Group:
    """Return what a terminal of a *width* shows."""
    said = [line for text in _said(found) for line in folded(text, width)]
    head = [line for text in _head(found) for line in folded(text, width)]
    table = [Text(""), *_table(found, width)] if _shown(found) else []
    return Group(*head, *table, "", *said)


def _shown(found: Blame) -> list[Effect]:
    """Return the causes that are listed: those that lead, and a few that changed anything."""
    others = [one for one in found.causes if one.effect and not one.leading]
    return [*found.leading, *others[:_MORE]]


def _head(found: Blame) -> Iterator[str]:
    steps = f"{found.length} step{'s' * (found.length != 1)}"
    ended = "the user left" if found.reason == "quit" else "the limit ended it"
    yield (
        f"Episode {found.episode} of {found.run}: user {found.user}, R_traj {found.reward:g} in "
        f"{steps}, {ended}."
    )
    if found.expected is not None:
        yield f"Before its first step R_traj {found.expected:.4g} was to be expected."


def _table(found: Blame, width: int) -> Iterator[Text]:
    """Yield a line for each cause that is told of; those that lead stand first, and apart."""
    leading = len(found.leading)
    rows = [_NAMES, *map(_row, _shown(found))]
    # By hand: of columns that do not fit rich cuts all, and figures are no good when cut.
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    for place, (*cells, what) in enumerate(rows):
        if leading and place == leading + 1:
            yield Text("")
        padded = [
            cell.ljust(size) if column == 0 else cell.rjust(size)
            for column, (cell, size) in enumerate(zip(cells, widths, strict=True))
        ]
        line = Text("  ".join((*padded, what)))
        line.truncate(width, overflow="ellipsis")
        yield line


def _row(one: Effect) -> Sequence[str]:
    cause = one.cause
    calls = f"{one.calls:,}"
    return name_of(cause), str(cause.step), _gain(one), _p(one.p), calls, visible(_what(cause))


def _p(p: float | None) -> str:
    if p is None:
        return "–"
    return "<.001" if p < _LEAST else f"{p:.3f}".removeprefix("0")


def name_of(cause: Cause) -> str:
    """Return a short name of a cause: what it is, of a record its memory and position."""
    return _FORMS.get(cause.kind, f"{cause.memory} #{cause.position}")


def _what(cause: Cause) -> str:
    return cause.says if cause.taught is None else f"by episode {cause.taught}: {cause.says}"


def _gain(one: Effect) -> str:
    if one.effect is None:
        return "–"
    if one.low is None or one.high is None:
        return f"{one.effect:+.1f}"
    return f"{one.effect:+.1f} [{one.low:.1f}, {one.high:.1f}]"


def _said(found: Blame) -> Iterator[str]:
    yield from verdict(found)
    yield from _helped(found)
    if found.leading:
        yield (
            f"Of {len(found.causes)} causes those that led after up to {found.screened} draws a "
            f"round stand above, by {_draws(found)} fresh ones, which know nothing of that choice; "
            "p is for all of them together (Holm)."
        )
    if found.spent:
        yield (
            "The budget was spent before all draws were made: allow more by --max-calls, or look "
            "at fewer causes, such as --records 10."
        )
    if found.failed:
        yield f"{found.failed:,} of {found.plays:,} plays failed and are left out."
    cost = f", cost {found.cost:,.4f}" if found.cost else ""
    kept = f"; replies are kept in {found.cache}" if found.cache else ""
    numbers = {"play": found.plays, "call": found.calls, "token": found.tokens}
    drawn = ", ".join(counted(number, noun) for noun, number in numbers.items())
    yield f"{drawn}{cost}{kept}."
    if found.model == "embedded":
        yield "The embedded model is a stand-in: this says nothing of language models."


def _draws(found: Blame) -> str:
    """Return how many draws those that lead have; near a tie more were made."""
    fewest, most = (pick(one.draws for one in found.leading) for pick in (min, max))
    return str(most) if fewest == most else f"{fewest} to {most}"


def verdict(found: Blame) -> Iterator[str]:
    """Yield in sentences what is to blame, and where to look."""
    if not found.leading:
        yield _unblamed(found)
        return
    top = found.leading[0]
    if top.low is None or top.low <= 0 or (1.0 if top.p is None else top.p) > _SURE:
        yield "That any of this did harm is not shown: what stands first may be luck."
    else:
        yield f"To blame is {_told(top.cause)}: without, R_traj would be {top.effect:.1f} more."
        yield from _tied(found)
    yield from _look(found, top.cause)


def _tied(found: Blame) -> Iterator[str]:
    """Yield what may as well be most to blame, of what is shown to do harm."""
    names = [_told(one.cause) for one in found.tied if one.low is not None and one.low > 0]
    if names:
        yield (
            f"By so many draws it cannot be told apart from {' or '.join(names)}: any of these may "
            "be most to blame; more draws may tell (--draws, --ties)."
        )


def _unblamed(found: Blame) -> str:
    if found.spent:
        return "Too few draws were made to say what is to blame."
    if not _shown(found):
        return "Nothing is to blame: whatever was drawn anew, the same came of it."
    return "Nothing is to blame: no change made it go better."


def _told(cause: Cause) -> str:
    if cause.kind == "record":
        return f"record {cause.position} of the memory {cause.memory}, taught by {cause.taught}"
    return f"the {cause.kind} of step {cause.step}"


def _look(found: Blame, cause: Cause) -> Iterator[str]:
    run, at = quote(found.run), f"{found.episode}:{cause.step}"
    yield f"Look at it: billp show {run} {at}"
    if cause.taught is not None:
        yield f"Where it was learned: billp show {run} {cause.taught}"
    elif cause.role:
        yield f"Try another: billp fork {run} --at {at} --say {cause.role}=TEXT"


def _helped(found: Blame) -> Iterator[str]:
    helped = [one for one in found.causes if (inf if one.high is None else one.high) < 0]
    if helped:
        most = min(helped, key=lambda one: one.effect or 0.0)
        yield f"What helped most is {_told(most.cause)}: {_gain(most)}."


# -- what it would cost


def cost_page(cost: BlameCost, width: int) -> Group:
    """Return the table of what a blame would come to, for a terminal of a *width*."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("role", "model"):
        table.add_column(name, no_wrap=True)
    for name in ("calls", "cost", "at most", "cost"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, role in cost.roles.items():
        numbers = (f"{role.calls:,}", _money(role.cost), f"{role.most:,}", _money(role.most_cost))
        table.add_row(name, role.model, *numbers)
    whole = (f"{cost.calls:,}", _money(cost.cost), f"{cost.most:,}", _money(cost.most_cost))
    table.add_section()
    table.add_row("all", "", *whole)
    told = f"{counted(cost.causes, 'cause')}, {counted(cost.plays, 'play')}"
    head = f"Episode {cost.episode} of {cost.run}: {told}."
    below = [line for text in _below(cost) for line in folded(text, width)]
    return Group(*folded(head, width), table, *below)


def _below(cost: BlameCost) -> Iterator[str]:
    yield (
        "Tried with the embedded model; with another, episodes may be shorter or longer. It is at "
        "most when every play goes on to the limit, and every reply is asked for twice."
    )
    if cost.cost is None:
        yield "For the cost set the prices of a million tokens: prices.NAME.prompt, .completion"


def _money(value: float | None) -> str:
    return "–" if value is None else f"{value:,.4f}"
