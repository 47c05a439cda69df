"""What is given in Python for a run beside its configuration, and so cannot be a setting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

from agents.models.model import ChatModel
from sim.runs.listeners import Listener, Listeners, listeners_of
from sim.runs.watching import Onlooker
from storage.environments import Environment


class Given(TypedDict, total=False):
    """*environment* and *model* are made from the configuration unless they are given.

    *listeners* and followers of the user's own are given by name; *views* show the run while it
    runs.
    """

    environment: Environment | None
    model: ChatModel | None
    listeners: Mapping[str, Listener] | Listeners
    views: Sequence[Onlooker]


@dataclass(frozen=True)
class Company:
    """Who is with a run while it lives: a *model* in place of its own, listeners and views."""

    model: ChatModel | None
    listeners: Listeners
    views: Sequence[Onlooker]


def company(given: Given) -> Company:
    """Return who is with a run for which this is *given*."""
    listeners = listeners_of(given.get("listeners", {}))
    return Company(given.get("model"), listeners, given.get("views", ()))
