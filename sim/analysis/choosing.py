"""Which episodes of a run are looked at, and in which order."""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from sim.analysis.ledger import End, Ledger, Row

Order: TypeAlias = Literal["episode", "reward", "length", "user"]


@dataclass(frozen=True)
class Choice:
    """Those of a *user*, which ended for a *reason*, of a *phase*, which stand at an *end*.

    Nothing stands for all. They come by *order*, the highest first if *falling*; those that are
    equal in it by number.
    """

    order: Order = "episode"
    falling: bool = False
    user: int | None = None
    reason: str = ""
    phase: Literal["", "train", "test"] = ""
    end: Literal["", End] = ""

    def of(self, ledger: Ledger) -> Sequence[int]:
        """Return the numbers of the episodes of *ledger* that are chosen, in order."""
        if self == Choice():
            return array("q", range(len(ledger)))
        rows = sorted(self._those(ledger), key=self._place, reverse=self.falling)
        return array("q", (row.episode for row in rows))

    def _those(self, ledger: Ledger) -> Iterator[Row]:
        # Sorting keeps the order of what is equal, turned round or not.
        return (row for row in ledger.rows() if self._has(row))

    def _has(self, row: Row) -> bool:
        return (
            (self.user is None or row.user == self.user)
            and self.reason in {"", row.reason}
            and self.phase in {"", row.phase}
            and self.end in {"", row.end}
        )

    def _place(self, row: Row) -> float:
        match self.order:
            case "reward":
                return row.reward
            case "length":
                return row.length
            case "user":
                return row.user
        return row.episode
