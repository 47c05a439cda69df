"""Stopping in Python's debugger, in the handlers of one step of a replay."""

import dis
import inspect
from pdb import Pdb
from types import CodeType
from typing import Any

from agents.trajectory import Delivery, Trajectory
from engine.attempt import name_of
from engine.episode import Handler
from sim.assembly import Wrap
from sim.course import Point, point_of


def stopping_at(point: Point, role: str = "") -> Wrap:
    """Return what makes handlers stop in the debugger at *point*, those of *role* if one is named.

    A role is the name of an agent's class in small letters: planner, actor, critic, users, …
    """

    def wrap(handler: Handler[Trajectory]) -> Handler[Trajectory]:
        if role and name_of(handler).partition(".")[0].casefold() != role:
            return handler

        async def stopped(delivery: Delivery[Any]) -> None:
            if point_of(delivery.number, delivery.message) == point:
                _debugger(inspect.unwrap(handler).__code__).set_trace()
            await handler(delivery)

        return stopped

    return wrap


def _debugger(code: CodeType) -> Pdb:
    """Return a debugger that stops where *code* begins."""
    debugger = Pdb(nosigint=True)
    debugger.rcLines += [f"tbreak {code.co_filename}:{_first_line(code)}", "continue"]
    return debugger


def _first_line(code: CodeType) -> int:
    """Return the number of the first line that does anything."""
    lines = (line for _, line in dis.findlinestarts(code) if line is not None)
    return next(line for line in lines if line > code.co_firstlineno)
