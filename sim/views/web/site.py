"""The pages: where each is, and how it comes to whoever asks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import anyio
import msgspec
from aiohttp import web

from engine.attempt import attempted, log, told
from engine.errors import BillpError
from engine.text import visible, visible_json
from sim.views.web.assets import VEGA, Asset, assets, vega
from sim.views.web.blame import blame_page
from sim.views.web.call import call_page, calls_page
from sim.views.web.compare import compare_page
from sim.views.web.diff import diff_page
from sim.views.web.episode import envelopes_page, episode_page
from sim.views.web.episodes import episodes_page
from sim.views.web.events import Events
from sim.views.web.folder import Folder
from sim.views.web.gate import Gate
from sim.views.web.kept import Kept
from sim.views.web.memory import map_page, memory_page
from sim.views.web.page import Asked, Making, Page, Trouble, trouble
from sim.views.web.run import run_page
from sim.views.web.runs import runs_page
from sim.views.web.templating import rendered
from sim.views.web.trend import trend_page

_FOR_EVER = "private, max-age=31536000, immutable"  # its address changes with it
_AT_ONCE = 2  # pages that are made at the same time: more would only be later each

PAGES: Mapping[str, Making] = {
    "": runs_page,
    "run": run_page,
    "episodes": episodes_page,
    "episode": episode_page,
    "envelopes": envelopes_page,
    "call": call_page,
    "calls": calls_page,
    "trend": trend_page,
    "blame": blame_page,
    "compare": compare_page,
    "diff": diff_page,
    "memory": memory_page,
    "map": map_page,
}
"""Each page: the first word of its address, and who makes it. The run's name follows."""


def new_room() -> anyio.CapacityLimiter:
    """Return the room for pages that are made at the same time."""
    return anyio.CapacityLimiter(_AT_ONCE)


def site_of(folder: Folder, gate: Gate) -> "Site":
    """Return the pages of runs that other processes have made, or are making."""
    return Site(folder, gate, Events(folder, Kept(), {}, {}, new_room()))


@dataclass(frozen=True)
class Site:
    """The pages of the runs in *folder*, behind a *gate*.

    *events* tell of runs that go on; *live* are those of this process.
    """

    folder: Folder
    gate: Gate
    events: Events
    live: tuple[str, ...] = ()

    def app(self) -> web.Application:
        """Return what serves the pages."""
        app = web.Application()
        self.gate.guard(app)
        app.add_routes(self.events.routes())
        for word, making in PAGES.items():
            serve = partial(self._serve, making)
            app.router.add_get(f"/{word}", serve)
            app.router.add_get(f"/{word}/{{run:.+}}" if word else "/runs/{run:.+}", serve)
        app.router.add_get("/static/{name}", self._asset)
        app.router.add_get("/{anything:.*}", self._nothing)
        return app

    async def _serve(self, making: Making, request: web.Request) -> web.Response:
        asked = Asked(
            self.folder,
            request.match_info.get("run", ""),
            self.events.kept,
            dict(request.query),
            {name: request.query.getall(name) for name in request.query},
        )
        return await self._whole(partial(_made, making, asked), request)

    async def _nothing(self, request: web.Request) -> web.Response:
        error = BillpError("there is no such page")
        return await self._whole(lambda: replace(trouble(error), status=404), request)

    async def _whole(self, make: Callable[[], Page], request: web.Request) -> web.Response:
        """Make a page in a thread: files may be large, and a run may be under way here."""
        return await anyio.to_thread.run_sync(
            self._response, make, request.path, "json" in request.query, limiter=self.events.room
        )

    def _response(self, make: Callable[[], Page], path: str, as_json: bool) -> web.Response:
        """Return a page; of one that fails, which is our fault, say so and go on."""
        response, error = attempted(lambda: self._shown(make(), path, as_json=as_json))
        if error is None and response is not None:
            return response
        why = visible(told(error or BillpError("there is none")))
        log("error", "a page cannot be made", page=visible(path), why=why)
        failed = Trouble("This page failed", why, "this is a fault of billp, not yours: report it")
        return self._shown(Page("trouble.html", failed, status=500), path, as_json=False)

    def _shown(self, page: Page, path: str, *, as_json: bool) -> web.Response:
        headers = {"Cache-Control": "no-store"}
        if as_json and page.status == 200:
            body = visible_json(msgspec.json.encode(page.facts).decode()).encode()
            return web.Response(body=body, content_type="application/json", headers=headers)
        frame = {
            "several": len(self.folder.named) != 1,
            "live_here": self.live,
            "control": self.gate.control if self.live else "",
            "path": path,
            "pages": PAGES,
        }
        text = rendered(page.template, page.facts, frame)
        return web.Response(
            text=text, status=page.status, content_type="text/html", headers=headers
        )

    async def _asset(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        found: Asset | None
        if name == VEGA:
            found = await anyio.to_thread.run_sync(vega)
        else:
            found = assets().get(name)
        if found is None:
            raise web.HTTPNotFound(text="There is no such file.\n")
        if request.headers.get("If-None-Match") == f'"{found.mark}"':
            return web.Response(status=304)
        keep = _FOR_EVER if request.query_string == found.mark else "no-cache"
        response = web.Response(
            body=found.body,
            content_type=found.kind,
            charset="utf-8",
            headers={"Cache-Control": keep, "ETag": f'"{found.mark}"'},
        )
        response.enable_compression()
        return response


def _made(making: Making, asked: Asked) -> Page:
    """Return a page, or what is wrong in its place."""
    try:
        return making(asked)
    except BillpError as error:
        return trouble(error, error.hint)
    except OverflowError:
        return trouble(BillpError("the run has numbers that are too large to be added"))
