"""The models that are at hand: their table in the terminal."""

from collections.abc import Iterable

from sim.runs.at_hand import AtHand
from sim.views.columns import Column, Fitted


def models_view(models: Iterable[AtHand]) -> Fitted:
    """Return a line for each model; what nobody can tell without asking it is `?`."""
    rows = [*models]
    sizes = [f"{one.bytes / 1e6:,.0f}" if one.bytes else "" for one in rows]
    contexts = [f"{one.context:,}" if one.context else "?" for one in rows]
    return Fitted(
        [
            Column("model", [one.model for one in rows], words=True),
            Column("where", [one.where for one in rows], words=True, folds=True),
            Column("MB", sizes, worth=2),
            Column("context", contexts, worth=1),
            Column("schemas", [one.schemas for one in rows], words=True, worth=3),
            Column("seeds", [one.seeds for one in rows], words=True, worth=4),
        ]
    )
