"""How a service of our own says no: statuses and errors in the shape of the OpenAI protocol."""

from collections.abc import Mapping

import msgspec
from aiohttp import web


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
        self._error = {"message": message, "type": kind, "param": None, "code": code}
        self._headers = headers

    def response(self) -> web.Response:
        """Return the answer."""
        return json_response({"error": self._error}, status=self._status, headers=self._headers)


class DroppedConnectionError(Exception):
    """Raised when a request is to get no answer at all."""


def json_response(
    value: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return *value* as an answer."""
    body = msgspec.json.encode(value)
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


def refused_key() -> RefusedRequestError:
    """Return the refusal of a wrong key."""
    return RefusedRequestError(401, "Incorrect API key provided.", code="invalid_api_key")


def unknown_model(name: str) -> RefusedRequestError:
    """Return the refusal of a model that is not offered."""
    message = f"The model `{name}` does not exist or you do not have access to it."
    return RefusedRequestError(404, message, code="model_not_found")


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
