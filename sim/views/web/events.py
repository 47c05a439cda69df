"""Where pages hear of a run that goes on, and where they control one of this process."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import anyio
import msgspec
from aiohttp import web

from engine.errors import BillpError
from sim.runs.controls import Change, Controls
from sim.views.web.feed import Feed, FileFeed
from sim.views.web.folder import Folder
from sim.views.web.kept import Kept
from sim.views.web.opened import Opened
from sim.views.web.run import total_of

_LISTENERS = 32  # pages that hear of runs at once: each holds a connection
_BODY = 10_000  # bytes of what is told to a control


@dataclass(eq=False)
class Events:
    """Tells of the runs in *folder*; of *own* ones by their feeds, which their process has.

    *controls* are those of the runs of this process, by name. *room* is for what is done in
    threads; *nobody* is set while nobody listens.
    """

    folder: Folder
    kept: Kept
    own: Mapping[str, Feed]
    controls: Mapping[str, Controls]
    room: anyio.CapacityLimiter
    listening: int = 0
    nobody: anyio.Event = field(default_factory=anyio.Event)

    def __post_init__(self) -> None:
        self.nobody.set()

    def routes(self) -> list[web.RouteDef]:
        """Return where all of it is."""
        routes = [web.get("/events/{run:.+}", self._events)]
        if self.controls:
            routes.append(web.post("/control/{what}/{run:.+}", self._control))
        return routes

    async def _events(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["run"]
        if self.listening >= _LISTENERS:
            raise web.HTTPServiceUnavailable(
                text="Too many pages listen already.\n", headers={"Retry-After": "5"}
            )
        self.listening += 1
        self.nobody = anyio.Event()
        try:
            return await self._tell(request, self.own.get(name) or await self._followed(name))
        finally:
            self.listening -= 1
            if not self.listening:
                self.nobody.set()

    async def _followed(self, name: str) -> Feed:
        try:
            open_ = partial(self._open, name)
            return await anyio.to_thread.run_sync(open_, limiter=self.room)
        except BillpError as error:
            raise web.HTTPNotFound(text=f"{error}\n") from error

    def _open(self, name: str) -> Feed:
        opened = Opened(self.folder.run(name))
        return FileFeed(opened.directory, self.kept, total_of(opened), self.room)

    async def _tell(self, request: web.Request, feed: Feed) -> web.StreamResponse:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        response = web.StreamResponse(headers=headers)
        response.content_type = "text/event-stream"
        await response.prepare(request)
        try:
            async for event in feed.events():
                await response.write(event)  # who does not read is not told more
        except ConnectionError:
            pass  # the page was closed
        return response

    async def _control(self, request: web.Request) -> web.Response:
        controls = self.controls.get(request.match_info["run"])
        doing = _DOING.get(request.match_info["what"])
        if controls is None or doing is None:
            raise web.HTTPNotFound(text="There is nothing to control.\n")
        if (request.content_length or 0) > _BODY:
            raise web.HTTPRequestEntityTooLarge(_BODY, request.content_length or 0)
        try:
            said = doing(controls, await request.read())
        except (BillpError, msgspec.MsgspecError) as error:
            hint = getattr(error, "hint", "")
            text = f"{error}: {hint}" if hint else str(error)
            return web.Response(status=400, text=text)
        return web.Response(text=said)


def _pause(controls: Controls, _: bytes) -> str:
    controls.pause()
    return "Paused: calls in flight end, and no other is sent."


def _go_on(controls: Controls, _: bytes) -> str:
    controls.go_on()
    return "It goes on."


def _stop(controls: Controls, _: bytes) -> str:
    controls.stop()
    return "It stops; it can be resumed."


def _change(controls: Controls, body: bytes) -> str:
    controls.change(msgspec.json.decode(body, type=Change))
    return "These limits hold from now on."


_DOING: Mapping[str, Callable[[Controls, bytes], str]] = {
    "pause": _pause,
    "go-on": _go_on,
    "stop": _stop,
    "change": _change,
}
