"""One user's visit, played without messages by the very functions that a run is made of."""

from dataclasses import dataclass, field
from functools import partial

from agents.trajectory import Trajectory, folding
from engine.arrivals import Visit
from engine.chance import Stream, chance
from engine.messages import ActionTaken, PlanRequested, UserResponded
from sim.world.users import Users, quit_streams


@dataclass(eq=False)
class Episode:
    """The visit of a *user* of *users*: its trajectory grows by what is taken.

    The user says what they would say in a run of that *seed* and *session*: chance is drawn from
    the same streams.
    """

    users: Users
    seed: int
    user: int
    session: int
    trajectory: Trajectory = field(init=False)

    def __post_init__(self) -> None:
        self._fold = folding(self.users.environment.catalog)
        visit = Visit(arrival=0, user=self.user, session=self.session)
        self.trajectory = self._fold(None, self.users.opening(visit, ()))

    def take(self, item: int) -> UserResponded:
        """Return what the user says to *item*, which is then a part of the trajectory."""
        step = self.trajectory.length
        titles = self.users.environment.catalog.titles
        action = ActionTaken(
            step=step, item=item, title=titles[item], words="", grounding="policy", distance=0.0
        )
        before = self._fold(self._fold(self.trajectory, PlanRequested(step=step)), action)
        streams = quit_streams(partial(self._stream, step))
        response = self.users.answer(before, action, streams)
        self.trajectory = self._fold(before, response)
        return response

    def _stream(self, step: int, purpose: str) -> Stream:
        return chance(self.seed, self.user, self.session, step, purpose)
