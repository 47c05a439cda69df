"""What went wrong between us and a service, in our words.

Three kinds of error: `TransientError` may pass, `CallFailedError` is this call's fault,
`ServiceError` means that no call can succeed. None shows a key: what the service says is left out
where it may quote one, and cleaned elsewhere.
"""

import os
import ssl
from collections.abc import Iterable, Mapping
from typing import TypeAlias
from urllib.parse import urlsplit

import aiohttp
import msgspec

from agents.models.model import CAPACITY, TransientError
from agents.models.remote.bounded import entries, loosely, member, text_of, valid
from agents.models.remote.headers import rates, retry_after
from engine.errors import CallFailedError, ModelError, ServiceError

_SAID = 500  # characters of what a service says
_REASON = 60  # of what is wrong with its HTTP
_HEARD = 65_536  # that are looked at for it

Headers: TypeAlias = Mapping[str, str]
_SPOKEN = ("message", "detail", "error_description")  # where others say what is wrong
_TRANSPORT = (  # the first that fits: timeouts are connection errors as well
    (TimeoutError, "timeout", "did not answer in time"),
    (aiohttp.ClientHttpProxyError, "connection", "cannot connect"),
    (aiohttp.ClientResponseError, "malformed", "does not speak HTTP: {}"),
    (aiohttp.ClientConnectorError, "connection", "cannot be reached: {}"),
    (Exception, "connection", "dropped the connection"),
)
_PASSING = {408: "timeout", 409: "server", 425: "server", 429: "rate_limit"}
CONTENT_FILTER = "content_filter"
_WITHHELD = (  # OpenRouter says the last two with 403
    *("content_filter", "content_policy", "content management policy"),
    *("requires moderation", "flagged"),
)
_TOO_LONG = (  # OpenAI, vLLM, llama.cpp, Ollama, LiteLLM
    *("context_length", "maximum context length", "maximum model length", "context window"),
    *("available context size", "exceeds the context length", "contextwindowexceeded"),
)
FULL = ("resource_unavailable", "resource unavailable")
"""What 429 is about that says nothing of an account's limits: its tier has no room just now."""


class Complaint(msgspec.Struct, frozen=True):
    """What a service says is wrong, in the shape of the OpenAI protocol."""

    message: str = ""
    code: str | int | None = None
    param: str | None = None
    type: str | None = None

    def about(self, *words: str) -> bool:
        """Return whether one of *words* is what it is about."""
        said = f"{self.param} {self.code} {self.message}".lower()
        return any(word in said for word in words)


def read_complaint(body: bytes) -> Complaint:
    """Return what is wrong, from a body in whatever shape."""
    try:
        said = loosely(body)
    except TransientError:
        said = None
    said = next(iter(entries(said)), said)  # Google's come in a list
    error = member(said, "error")
    texts = map(text_of, (member(error, "message"), error, *(member(said, n) for n in _SPOKEN)))
    message = next((text for text in texts if text is not None), None)
    code = member(error, "code")
    return Complaint(
        message=valid(body.decode("utf-8", "replace")) if message is None else message,
        code=code if type(code) is int else text_of(code),
        param=text_of(member(error, "param")),
        type=text_of(member(error, "type")),
    )


def shown(url: str) -> str:
    """Return *url* without what may be secret in it: user, password, query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}".rstrip("/")


def transport_failure(error: Exception, url: str, proxy: str | None) -> ModelError:
    """Return what it means that no answer came from *url*."""
    place = shown(url)
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return ServiceError(
            f"the certificate of {place} cannot be trusted: {_reason(error)}",
            hint="set SSL_CERT_FILE to the certificates of your organisation, or mend --base-url",
        )
    if isinstance(error, aiohttp.ClientHttpProxyError) and error.status < 500:
        return ServiceError(
            f"the proxy {shown(proxy or '')} refuses to connect to {place}: {error.status}",
            hint="look at HTTPS_PROXY, HTTP_PROXY and NO_PROXY",
        )
    if isinstance(error, aiohttp.InvalidURL) and proxy is not None:
        return ServiceError(
            "the address of the proxy cannot be used", hint="look at HTTPS_PROXY and HTTP_PROXY"
        )
    if isinstance(error, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError):
        place = f"the proxy {shown(proxy or '')}"
    kind, what = next((kind, what) for types, kind, what in _TRANSPORT if isinstance(error, types))
    gone = isinstance(error, aiohttp.ClientConnectorError)
    return TransientError(f"{place} {what.format(_reason(error))}", kind=kind, gone=gone)


def harmless(error: Exception) -> Exception | None:
    """Return what may be told of *error*: aiohttp's show headers and addresses, and so secrets."""
    if isinstance(error, aiohttp.ClientResponseError | aiohttp.InvalidURL):
        return None
    return error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        error = error.certificate_error
    elif isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, aiohttp.ClientResponseError):
        # What comes after the colon is what the service said, byte for byte.
        return error.message.partition(":")[0].lower()[:_REASON]
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        return os.strerror(error.errno).lower()
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return type(error).__name__


def status_failure(
    status: int, headers: Headers, complaint: Complaint, *, url: str, secrets: Iterable[str]
) -> ModelError:
    """Return what it means that *url* answered with *status*, which is no 2xx."""
    said = cleaned(complaint.message, secrets)
    after = f": {said}" if said else ""
    if complaint.code == "insufficient_quota" or status == 402:
        return ServiceError(
            f"the account at {shown(url)} has no credit left", hint="add credit, then resume"
        )
    if status in _PASSING or status >= 500:
        return TransientError(
            f"{shown(url)} answered {status}{after}",
            kind=_PASSING.get(status, "server"),
            retry_after=retry_after(headers),
            rates=rates(headers),
            said=said,
        )
    if status in {401, 403} and not (status == 403 and complaint.about(*_WITHHELD)):
        # What it says is left out: it quotes the key.
        return ServiceError(
            f"{shown(url)} refuses the key with {status}",
            hint="set OPENAI_API_KEY to a key that may use this model",
        )
    return _refusal(status, complaint, said, url)


def no_room(tier: str, headers: Headers, *, url: str) -> TransientError:
    """Return what it means that there is no room in a *tier*: nothing was paid."""
    return TransientError(
        f"{shown(url)} has no room in its tier {tier!r} just now",
        kind=CAPACITY,
        retry_after=retry_after(headers),
    )


def _refusal(status: int, complaint: Complaint, said: str, url: str) -> ModelError:
    after = f": {said}" if said else ""
    if complaint.about(*_WITHHELD):
        what, kind = "the content filter refused the prompt", CONTENT_FILTER
    elif status == 413 or complaint.about(*_TOO_LONG):
        what, kind = "the prompt is too long", "too_long"
    elif status in {404, 405} or status < 400:
        return ServiceError(
            f"{shown(url)} is not where the service is: {status}{after}",
            hint="--base-url mostly ends in /v1",
        )
    else:
        what, kind = f"{shown(url)} refused the request with {status}", "refused"
    return CallFailedError(what + after, kind=kind, said=said)


def cleaned(message: str, secrets: Iterable[str]) -> str:
    """Return the beginning of a service's *message* on one line, inert and without *secrets*."""
    # The longest first: one may be a part of another.
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        message = message.replace(secret, "…")
    # Spaces, not nothing, for what cannot be seen: taking it out could put a key together again.
    seen = "".join(sign if sign.isprintable() else " " for sign in message[:_HEARD])
    line = " ".join(seen.split())
    return line if len(line) <= _SAID else f"{line[: _SAID - 1]}…"
