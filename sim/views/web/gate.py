"""Who may see the pages, and do what: by where they ask, from where, and what they know.

Pages are at 127.0.0.1 unless told otherwise; elsewhere a token is needed. Whoever changes anything
needs the control token of this process, which only our own pages hold, and a POST from them. A name
in the Host header that is not ours is refused: another site's name may lead to this machine.
"""

import hmac
import ipaddress
import secrets
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "font-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
"""What a browser lets our pages do: nothing inline, nothing from elsewhere, no eval."""

_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_HERE = frozenset({"127.0.0.1", "localhost", "::1"})
CONTROL = "X-Billp-Control"


def is_local(host: str) -> bool:
    """Tell whether an address is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class Gate:
    """Who stands before the pages at *host*.

    *token* is what visitors must know, empty if nothing; *control* is what whoever changes
    anything must know.
    """

    host: str
    token: str = ""
    control: str = field(default_factory=lambda: secrets.token_urlsafe(24))

    @classmethod
    def at(cls, host: str) -> "Gate":
        """Return the gate of a service at *host*, with a token unless it is this machine's own."""
        return cls(host, "" if is_local(host) else secrets.token_urlsafe(24))

    def middleware(self) -> Middleware:
        """Return what every request passes."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            response = self._refused(request) or self._welcome(request)
            if response is None:
                try:
                    response = await handler(request)
                except web.HTTPException as error:
                    response = error
            for name, value in _HEADERS.items():
                if not response.prepared:
                    response.headers.setdefault(name, value)
            if isinstance(response, web.HTTPException):
                raise response
            return response

        return guard

    def _refused(self, request: web.Request) -> web.StreamResponse | None:
        if not self._is_ours(request.headers.get("Host", "")):
            return _said(421, "This name is not one of this service's.")
        if request.method not in {"GET", "HEAD"} and not self._may_control(request):
            return _said(403, "Only the pages of this service may do that.")
        if self.token and not self._knows(request):
            return _said(401, "The address of these pages ends with ?token=…; open that one.")
        return None

    def _welcome(self, request: web.Request) -> web.StreamResponse | None:
        """Take a token out of the address, where others would see it, and into a cookie."""
        if not (self.token and "token" in request.query):
            return None
        response = web.Response(status=303, headers={"Location": request.path})
        response.set_cookie(
            self._cookie(request), self.token, httponly=True, samesite="Strict", path="/"
        )
        return response

    def _is_ours(self, named: str) -> bool:
        host = urlsplit(f"//{named}").hostname or ""
        if host in _HERE or host == self.host:
            return True
        # Of a machine with several addresses any may be meant; a name could be somebody else's.
        return bool(self.token) and _is_address(host)

    def _knows(self, request: web.Request) -> bool:
        given = request.query.get("token") or request.cookies.get(self._cookie(request), "")
        return hmac.compare_digest(given.encode(), self.token.encode())

    def _may_control(self, request: web.Request) -> bool:
        given = request.headers.get(CONTROL, "")
        origin = request.headers.get("Origin", "")
        same = urlsplit(origin).netloc == request.headers.get("Host", "")
        return same and hmac.compare_digest(given.encode(), self.control.encode())

    def _cookie(self, request: web.Request) -> str:
        """Return the name of the cookie: cookies know no ports, and there may be several of us."""
        return f"billp-{request.url.port}"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _said(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=f"{text}\n")
