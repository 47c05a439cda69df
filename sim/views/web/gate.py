"""Who may see the pages, and do what: by where they ask, from where, and what they know.

Pages are at 127.0.0.1 unless told otherwise; elsewhere a token is needed. Whoever changes anything
needs the control token of this process, which only our own pages hold, and a POST from them. A name
in the Host header that is not ours is refused: another site's name may lead to this machine. What
another site's page asks for is refused, unless it is that the reader comes here.
"""

import hmac
import ipaddress
import re
import secrets
from dataclasses import dataclass, field

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
# Nothing but a name or an address, and a port: what follows "@", "/" or "#" is never the host.
_HOST = re.compile(r"(?:([A-Za-z0-9._-]+)|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{1,5}))?")
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

    def guard(self, app: web.Application) -> None:
        """Let every request to *app* pass here, and every response say what browsers may do."""
        app.middlewares.append(self._middleware())
        app.on_response_prepare.append(_marked)

    def _middleware(self) -> Middleware:
        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            return self._refused(request) or self._welcome(request) or await handler(request)

        return guard

    def _refused(self, request: web.Request) -> web.StreamResponse | None:
        if not self._is_ours(request.headers.get("Host", "")):
            return _said(421, "This name is not one of this service's.")
        if _is_of_another_page(request):
            return _said(403, "Only the pages of this service may ask for that.")
        if request.method not in {"GET", "HEAD"} and not self._may_control(request):
            return _said(403, "Only the pages of this service may do that.")
        if self.token and not self._knows(request):
            return _said(401, "The address of these pages ends with ?token=…; open that one.")
        return None

    def _welcome(self, request: web.Request) -> web.StreamResponse | None:
        """Take a token out of the address, where others would see it, and into a cookie."""
        if not (self.token and "token" in request.query):
            return None
        rest = request.rel_url.without_query_params("token")
        # One slash: two would be another machine.
        place = f"/{rest.raw_path.lstrip('/')}{'?' if rest.raw_query_string else ''}"
        response = web.Response(
            status=303,
            headers={"Location": f"{place}{rest.raw_query_string}", "Cache-Control": "no-store"},
        )
        # Lax: a reader may come by a link from elsewhere, and no link changes anything.
        response.set_cookie(_cookie(request), self.token, httponly=True, samesite="Lax", path="/")
        return response

    def _is_ours(self, named: str) -> bool:
        found = _HOST.fullmatch(named)
        if found is None:
            return False
        host = (found[1] or found[2]).lower()
        if host in _HERE or host == self.host.lower():
            return True
        # Of a machine with several addresses any may be meant; a name could be somebody else's.
        return bool(self.token) and _is_address(host)

    def _knows(self, request: web.Request) -> bool:
        given = (request.query.get("token", ""), request.cookies.get(_cookie(request), ""))
        return any(_same(one, self.token) for one in given)

    def _may_control(self, request: web.Request) -> bool:
        origin = request.headers.get("Origin", "")
        scheme, _, place = origin.partition("://")
        ours = scheme in {"http", "https"} and place == request.headers.get("Host", "")
        return ours and _same(request.headers.get(CONTROL, ""), self.control)


async def _marked(_: web.Request, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = "billp"  # of which version is nobody's business


def _is_of_another_page(request: web.Request) -> bool:
    """Tell whether a browser says that a page asks which is not ours, by more than a link.

    It could read nothing; but it could keep us at work, or find out which runs there are by how
    long that takes.
    """
    told = request.headers.get("Sec-Fetch-Site", "none")
    comes = request.headers.get("Sec-Fetch-Mode") == "navigate"
    return told not in {"none", "same-origin"} and not comes


def _cookie(request: web.Request) -> str:
    """Return the name of the cookie: cookies know no ports, and there may be several of us."""
    found = _HOST.fullmatch(request.headers.get("Host", ""))
    return f"billp-{(found and found[3]) or 80}"


def _same(given: str, known: str) -> bool:
    """Compare in a time that does not tell how much of it is right; *given* may be no text."""
    return hmac.compare_digest(given.encode(errors="replace"), known.encode())


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _said(status: int, text: str) -> web.Response:
    """Return a refusal; whoever is refused may keep no connection."""
    response = web.Response(status=status, text=f"{text}\n", headers={"Cache-Control": "no-store"})
    response.force_close()
    return response
