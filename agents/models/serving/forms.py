"""Forms with a file, as clients upload it to a service of our own, read within bounds."""

from collections.abc import Iterator
from email.message import Message
from email.policy import HTTP

from aiohttp import web

from agents.models.serving.bodies import read_bytes
from agents.models.serving.connections import Bounds
from agents.models.serving.refusals import RefusedRequestError, wrong_kind

_FIELDS = 16
_KIND = "multipart/form-data"


async def read_form(request: web.BaseRequest, bounds: Bounds) -> dict[str, bytes]:
    """Return the fields of a form by name; raises what `read_body` does."""
    said = request.headers.get("Content-Type", "")
    head = Message(HTTP)
    head["Content-Type"] = "".join(sign for sign in said if sign.isprintable())
    boundary = head.get_param("boundary")
    if head.get_content_type() != _KIND or not isinstance(boundary, str) or not boundary:
        raise wrong_kind(said)
    body = await read_bytes(request, bounds.file, bounds)
    return dict(_fields(body, b"--" + boundary.encode("utf-8", "replace")))


def _fields(body: bytes, boundary: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the content of each field."""
    first, *parts = (b"\r\n" + body).split(b"\r\n" + boundary, _FIELDS + 1)
    if first.strip() or not parts or not parts[-1].startswith(b"--"):
        raise RefusedRequestError(400, f"expected a form of at most {_FIELDS} fields, whole")
    for part in parts[:-1]:
        head, gap, content = part.partition(b"\r\n\r\n")
        name = _name(head.decode("utf-8", "replace"))
        if not gap or not name:
            raise RefusedRequestError(400, "expected the fields of a form to have names")
        yield name, content


def _name(head: str) -> str:
    """Return the name in the head of a field, empty if there is none."""
    lines = (line.partition(":") for line in head.splitlines())
    said = next((rest for name, _, rest in lines if name.lower() == "content-disposition"), "")
    disposition = Message(HTTP)
    disposition["Content-Disposition"] = said.strip()
    name = disposition.get_param("name", header="content-disposition")
    return name if isinstance(name, str) else ""
