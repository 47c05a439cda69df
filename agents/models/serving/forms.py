"""Forms with a file, as clients upload it to a service of our own, read within bounds."""

import re
from collections.abc import Iterator
from typing import Final

from aiohttp import web

from agents.models.serving.bodies import read_bytes
from agents.models.serving.connections import Bounds
from agents.models.serving.refusals import RefusedRequestError, wrong_kind

_FIELDS = 1_000
_KIND: Final = "multipart/form-data"
_BOUNDARY: Final = re.compile(
    r""";\s*boundary=(?:"([^"]{1,200})"|([^\s";]{1,200}))""", re.IGNORECASE
)
_DISPOSITION: Final = re.compile(
    rb"""^content-disposition:[^\r\n]*?;[ ]*name=(?:"([^"\r\n]*)"|([^\s";]+))""",
    re.IGNORECASE | re.MULTILINE,
)


async def read_form(request: web.BaseRequest, bounds: Bounds) -> dict[str, bytes]:
    """Return the fields of a form by name; raises what `read_body` does."""
    said = request.headers.get("Content-Type", "")
    found = _BOUNDARY.search(said)
    if request.content_type != _KIND or found is None:
        raise wrong_kind(said)
    boundary = b"--" + found[found.lastindex or 0].encode("utf-8", "surrogateescape")
    body = await read_bytes(request, bounds.file, bounds)
    return dict(_fields(body, boundary))


def _fields(body: bytes, boundary: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the content of each field."""
    first, *parts = (b"\r\n" + body).split(b"\r\n" + boundary, _FIELDS + 1)
    if first.strip() or not parts or not parts[-1].startswith(b"--"):
        raise RefusedRequestError(400, f"expected a form of at most {_FIELDS} fields, whole")
    for part in parts[:-1]:
        head, gap, content = part.partition(b"\r\n\r\n")
        if not gap:
            raise RefusedRequestError(400, "expected the fields of a form to have heads")
        yield _name(head), content


def _name(head: bytes) -> str:
    """Return the name in the head of a field, empty if there is none."""
    found = _DISPOSITION.search(head)
    name: bytes = found[found.lastindex or 0] if found else b""
    return name.decode("utf-8", "replace")
