"""Several quit rules at once: `billp+hazard` leaves for the first reason that one of them has."""

from dataclasses import replace
from functools import cache, partial
from typing import Any

import msgspec

from agents.trajectory import Trajectory
from engine.errors import ConfigError
from engine.messages import Evidence
from sim.world.quitting.rules import QUIT_RULES, Encounter, QuitRule
from storage.environments import Environment

_AND = "+"


def names_of(name: str) -> list[str]:
    """Return the names of the rules that *name* joins."""
    return name.split(_AND)


def rule_named(name: str) -> QuitRule:
    """Return the rule called *name*, or the one that several joined by + make.

    Its settings are a table for each, called like the rule: `quit.hazard.rate`. Raises ConfigError.
    """
    names = names_of(name)
    return QUIT_RULES.named(name) if len(names) == 1 else _joined(tuple(names))


def reasons_of(name: str) -> dict[str, str]:
    """Return what the reasons of the rules that *name* joins mean to people; raises ConfigError."""
    rules = [QUIT_RULES.named(one) for one in names_of(name)]
    return {word: meaning for rule in reversed(rules) for word, meaning in rule.reasons.items()}


@cache  # the type of its settings must be one and the same
def _joined(names: tuple[str, ...]) -> QuitRule:
    rules = [QUIT_RULES.named(name) for name in names]
    tables = [name.rpartition(":")[2].rpartition(".")[2] for name in names]
    if len(set(tables)) < len(tables):
        raise ConfigError(f"expected different quit rules, got {_AND.join(names)!r}")
    settings = msgspec.defstruct(
        "SeveralSettings",
        [
            (table, rule.settings, rule.settings())
            for table, rule in zip(tables, rules, strict=True)
        ],
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )
    members = dict(zip(tables, rules, strict=True))
    reasons = reasons_of(_AND.join(names))
    return QuitRule(
        partial(_why, members),
        settings,
        reasons,
        partial(_bores, members),
        partial(_evidence, members),
    )


def _why(members: dict[str, QuitRule], settings: Any, at: Encounter) -> str | None:
    for table, rule in members.items():
        # A stream each: none can shift the draws of another.
        own = replace(at, stream=partial(at.stream, table))
        reason = rule.why(getattr(settings, table), own)
        if reason is not None:
            return reason
    return None


def _evidence(
    members: dict[str, QuitRule], settings: Any, at: Encounter, reason: str
) -> Evidence | None:
    """Return what the first member went by whose reason it is, and holds."""
    told = (
        rule.evidence(getattr(settings, table), at, reason)
        for table, rule in members.items()
        if reason in rule.reasons
    )
    return next((one for one in told if one is not None), None)


def _bores(
    members: dict[str, QuitRule],
    settings: Any,
    trajectory: Trajectory,
    item: int,
    environment: Environment,
) -> bool:
    return any(
        rule.bores(getattr(settings, table), trajectory, item, environment)
        for table, rule in members.items()
    )
