"""Stopping in Python's debugger, in the handlers of one step of a replay."""

import dis
import inspect
from bdb import BdbQuit
from dataclasses import dataclass, field
from pdb import Pdb
from types import CodeType
from typing import Any

from agents.trajectory import Delivery, Trajectory
from engine.attempt import name_of
from engine.delivery import Handler
from engine.errors import ServiceError
from sim.config.stages import Point, place, point_of


class DebuggerLeftError(ServiceError):
    """Raised when the debugger is quit: nothing that comes later is a replay."""

    exit_status = 130


@dataclass(eq=False)
class Stopping:
    """Makes handlers stop in the debugger at *point*, those of *role* if one is named.

    A role is the name of an agent's class in small letters: planner, actor, critic, users, …
    *stops* counts how often one stopped; *roles* are all that there are.
    """

    point: Point
    role: str = ""
    stops: int = 0
    roles: set[str] = field(default_factory=set)

    def __call__(self, handler: Handler[Trajectory]) -> Handler[Trajectory]:
        """Return *handler* with a stop before it."""
        role = name_of(handler).partition(".")[0].casefold()
        self.roles.add(role)
        if self.role and self.role.casefold() != role:
            return handler

        async def stopped(delivery: Delivery[Any]) -> None:
            if point_of(delivery.number, delivery.message) != self.point:
                await handler(delivery)
                return
            self.stops += 1
            _debugger(inspect.unwrap(handler).__code__).set_trace()
            try:
                await handler(delivery)
            except BdbQuit:
                raise DebuggerLeftError(f"the debugger was left at {place(self.point)}") from None

        return stopped


def _debugger(code: CodeType) -> Pdb:
    """Return a debugger that stops where *code* begins."""
    debugger = Pdb(nosigint=True)
    debugger.rcLines += [f"tbreak {code.co_filename}:{_first_line(code)}", "continue"]
    return debugger


def _first_line(code: CodeType) -> int:
    """Return the number of the first line that does anything."""
    lines = (line for _, line in dis.findlinestarts(code) if line is not None)
    return next(line for line in lines if line > code.co_firstlineno)
