"""A run with all planted in it that somebody might obey: in titles, words, names and settings."""

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatReply, ChatRequest
from sim.config.layers import configured
from sim.config.run import Settings
from sim.runs.run import run
from storage.datasets.directories import save
from storage.runs import RunDirectory
from tests.support.encounters import small_world
from tests.support.small import SMALL

SCRIPT = "<script>document.planted = 'script'</script>"

PLANTED = (
    SCRIPT,
    "<img src=http://198.51.100.7/planted onerror=\"document.planted = 'image'\">",
    "\"'><svg onload=\"document.planted = 'svg'\">",
    "javascript:document.planted='link'",
    "</script></title></textarea><b id=planted>",
    "{{ 7 * 7 }}{% for x in page %}${document.planted='template'}",
    '=HYPERLINK("http://198.51.100.7/planted")',
    "\x1b[31m\x07\u202eright to left\u2028\x85",
)
"""Scripts, pictures, links, ends of elements, templates, a formula, control characters."""

NAME = "<img src=x onerror=alert(1)>&'\"{{7*7}} %2e%2e#?k=1"
"""A name that a folder can have."""


@dataclass(frozen=True)
class Planting:
    """The embedded model, which plants something in whatever it says."""

    model: EmbeddedModel = field(default_factory=EmbeddedModel)

    async def reply(self, request: ChatRequest) -> ChatReply:
        reply = await self.model.reply(request)
        if request.call.role == "critic":
            return reply
        planted = " ".join(PLANTED)
        return msgspec.structs.replace(reply, text=f"{reply.text} {planted}")


def planted(folder: Path, name: str = NAME, **how: object) -> RunDirectory:
    """Return a run in *folder*, in a world beside it; titles and categories are planted as well."""
    titles = tuple(f"{text} {number}" for number, text in enumerate(PLANTED))
    world = small_world((3.0,) * len(titles), [(title, SCRIPT) for title in PLANTED], titles=titles)
    place = folder.parent / f"world of {folder.name}"
    if not place.exists():
        save(world, place)
    settings: Settings = {
        "environment": str(place),
        "prompts": True,
        "users": "all",
        "episodes": 2,
        "planner": {"instructions": "".join(PLANTED[:7])},
        **how,
    }
    run(configured(SMALL, settings), out=folder / name, model=Planting(), environment=world)
    return RunDirectory(folder / name)
