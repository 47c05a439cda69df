"""A run on pages while it runs: `billp run --dashboard`."""

from dataclasses import dataclass, field

import anyio
from rich.console import Console

from sim.runs.controls import Controls
from sim.runs.pulse import Pulses
from sim.runs.stopping import resuming
from sim.runs.watching import Underway
from sim.views.console import plain
from sim.views.web.events import Events
from sim.views.web.feed import Ended, OwnFeed
from sim.views.web.folder import Folder
from sim.views.web.gate import Gate
from sim.views.web.kept import Kept
from sim.views.web.server import served
from sim.views.web.site import Site, new_room
from sim.views.web.templating import link

_LAST_WORDS = 1.5  # seconds for pages to hear how it ended


@dataclass(eq=False)
class DashboardView:
    """Serves the pages of a run that is under way, at *port* of *host*; 0 takes a free one."""

    port: int = 0
    host: str = "127.0.0.1"
    console: Console = field(default_factory=lambda: plain(stderr=True, folding=False))
    _feed: OwnFeed = field(init=False)
    _site: Site = field(init=False)
    _events: Events = field(init=False)
    _underway: Underway = field(init=False)

    def attach(self, underway: Underway) -> None:
        """Listen to a run."""
        self._underway = underway
        path = underway.directory.path.absolute()
        folder, controls = Folder(path.parent, (path.name,)), Controls(underway)
        self._feed = OwnFeed(underway, Pulses(underway), controls)
        own, held = {path.name: self._feed}, {path.name: controls}
        self._events = Events(folder, Kept(), own, held, new_room())
        self._site = Site(folder, Gate.at(self.host), self._events, live=(path.name,))

    async def show(self) -> None:
        """Serve the pages until the run is over, and let them hear of it."""
        name = self._site.live[0]
        async with served(
            self._site, self.port, link("run", name), free="--dashboard-port 0"
        ) as url:
            self.console.print(f"Look at {url}")
            try:
                await anyio.sleep_forever()
            finally:
                self._feed.ended = self._ended()
                with anyio.CancelScope(shield=True), anyio.move_on_after(_LAST_WORDS):
                    await self._events.nobody.wait()

    def _ended(self) -> Ended:
        path = self._underway.directory.path
        progress = self._underway.assembly.scheduler.progress()
        if progress.closed == self._underway.config.visits:
            said = f"The run has come to its end. Look at it again: billp view {path}"
            return Ended(standing="finished", said=said, reload=False)
        said = f"The run was stopped. Go on with: {resuming(path)}"
        return Ended(standing="stopped", said=said, reload=False)
