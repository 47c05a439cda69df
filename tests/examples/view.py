"""A view of one's own: what shows a run while it runs, here a line for each user that leaves."""

import anyio

from engine.listeners import Live
from engine.messages import EpisodeEnded
from sim import RunConfig, run
from sim.runs.watching import Underway


class Leaving:
    def attach(self, underway: Underway) -> None:
        underway.assembly.bus.listen(EpisodeEnded, self.tell)

    def tell(self, live: Live[EpisodeEnded]) -> None:
        ended = live.message
        seconds = live.time / 1000
        print(f"{seconds:6.0f} s: episode {live.episode} ended after {ended.length} steps")

    async def show(self) -> None:
        await anyio.sleep_forever()  # a view that draws would draw here, until the run is over


run(RunConfig(episodes=10), views=[Leaving()], out="watched")
