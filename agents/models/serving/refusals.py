"""How a service of our own says no: statuses and errors in the shape of the OpenAI protocol."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from agents.models.model import TransientError
from agents.models.serving.answers import Problem, Refusal, json_response
from engine.errors import ModelError

_SHOWN = 300  # characters of what a request said that an error repeats


class RefusedRequestError(Exception):
    """Raised when a request is answered with an error; *outcome* is a word for statistics."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.outcome = str(status)
        self._status = status
        # Paths may come as bytes that are no UTF-8.
        valid = message.encode("utf-8", "replace").decode()
        self._refusal = Refusal(Problem(valid, type=kind, code=code))
        self._headers = dict(headers or {})

    def response(self) -> web.Response:
        """Return the answer."""
        return json_response(self._refusal, status=self._status, headers=self._headers)

    def line(self) -> tuple[int, bytes]:
        """Return the status and the body of the answer, as they stand in a file of a batch."""
        return self._status, msgspec.json.encode(self._refusal)

    def written(self) -> bytes:
        """Return the answer as bytes on the wire, after which the connection is closed."""
        body = msgspec.json.encode(self._refusal)
        headers = {
            **self._headers,
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Connection": "close",
        }
        lines = [f"HTTP/1.1 {self._status} {HTTPStatus(self._status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + body


class DroppedConnectionError(Exception):
    """Raised when a request is to get no answer at all; *outcome* is a word for statistics."""

    def __init__(self, outcome: str) -> None:
        super().__init__(outcome)
        self.outcome = outcome


def refused_key() -> RefusedRequestError:
    """Return the refusal of a wrong key."""
    return RefusedRequestError(401, "Incorrect API key provided.", code="invalid_api_key")


def unknown_model(name: str) -> RefusedRequestError:
    """Return the refusal of a model that is not offered."""
    message = f"The model `{name[:_SHOWN]}` does not exist or you do not have access to it."
    return RefusedRequestError(404, message, code="model_not_found")


def nothing_there(what: str, name: str) -> RefusedRequestError:
    """Return the refusal of a name, of a file or a batch, that nothing has."""
    return RefusedRequestError(404, f"No such {what}: {name[:_SHOWN]}", code="not_found")


def unknown_path(method: str, path: str) -> RefusedRequestError:
    """Return the refusal of a path at which there is nothing."""
    return RefusedRequestError(404, f"Invalid URL ({method} {path[:_SHOWN]})", code="unknown_url")


def wrong_method(method: str, path: str, allowed: Sequence[str]) -> RefusedRequestError:
    """Return the refusal of a *method* that the path does not know."""
    message = f"Not allowed to {method} on {path[:_SHOWN]} ({' or '.join(allowed)} is)."
    headers = {"Allow": ", ".join(allowed)}
    return RefusedRequestError(405, message, code="method_not_supported", headers=headers)


def too_big(limit: int) -> RefusedRequestError:
    """Return the refusal of a body of more than *limit* bytes."""
    return RefusedRequestError(413, f"expected a body of at most {limit:,} bytes, unpacked")


def wrong_kind(what: str) -> RefusedRequestError:
    """Return the refusal of a body that is not in a form that is read here."""
    return RefusedRequestError(415, f"expected JSON, UTF-8, gzip or not, got {what[:_SHOWN]!r}")


def too_late(seconds: float) -> RefusedRequestError:
    """Return the refusal of a body that did not come in time."""
    return RefusedRequestError(408, f"expected the whole body within {seconds:g} s", code="timeout")


def unreadable(error: HttpProcessingError) -> RefusedRequestError:
    """Return the refusal of what is no HTTP, or has more of it than is read."""
    if isinstance(error, LineTooLong):
        return RefusedRequestError(431, "a line of the request's head is too long")
    reason = error.message.partition("\n")[0].rstrip(":")
    return RefusedRequestError(400, f"this is no HTTP/1.1: {reason[:_SHOWN]}")


def busy(what: str) -> RefusedRequestError:
    """Return the refusal of one too many of *what* at once."""
    return RefusedRequestError(
        503,
        f"The server is overloaded: too many {what} at once.",
        kind="server_error",
        code="overloaded",
        headers={"Retry-After": "1"},
    )


def passed_on(error: ModelError) -> RefusedRequestError:
    """Return the refusal of a call that the model behind this service could not answer."""
    status = 502
    if isinstance(error, TransientError):
        status = 429 if error.kind == "rate_limit" else 503
    return RefusedRequestError(status, str(error), kind="server_error")


def too_much(
    what: str, retry_after: float | None, headers: Mapping[str, str]
) -> RefusedRequestError:
    """Return the refusal of one call too many; *retry_after* is in seconds."""
    told = {}
    if retry_after is not None:
        told = {
            "retry-after-ms": f"{retry_after * 1000:.0f}",
            "retry-after": f"{max(1.0, retry_after):.0f}",
        }
    return RefusedRequestError(
        429,
        f"Rate limit reached: too many {what} in a minute.",
        kind=what,
        code="rate_limit_exceeded",
        headers={**headers, **told},
    )
