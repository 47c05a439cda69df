"""Addresses of services: they are written into files and shown, so they must hold no secret."""

import re
from base64 import b64encode
from collections.abc import Iterator
from urllib.parse import SplitResult, unquote, urlsplit

from engine.errors import ConfigError

OPENAI_URL = "https://api.openai.com/v1"

_KEY = "put the key into the environment or into a key_file"
# Wider than addresses are: one that is malformed may hold a secret all the same.
_AUTHORITY = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:[/\\]+)?[/\\]*([^/\\?#]*)")
_PORTS = {"http": 80, "https": 443}


def check_address(url: str) -> None:
    """Raise ConfigError, which does not show it, for a *url* that can hold a secret, or is none.

    Services that want more than a key in a header are not spoken to: a query may hold a key under
    any name, and no path can be appended to it.
    """
    authority = _AUTHORITY.match(url)
    if authority is not None and "@" in authority[1]:
        what = "a base_url must hold no user and no password: it is written to run.toml"
        raise ConfigError(what, hint=_KEY)
    if "?" in url or "#" in url:
        version = url.lower().partition("?")[2].startswith("api-version=") and "&" not in url
        what = "a base_url must hold no query and no fragment: it is written to run.toml"
        raise ConfigError(what, hint="--set azure_version=…" if version else _KEY)
    if _split(url) is None:
        raise ConfigError(f"base_url: not an address: {without_secrets(url)!r}")


def without_secrets(url: str) -> str:
    """Return *url*, which may be malformed, without user, password, query and fragment."""
    plain = re.split(r"[?#]", url, maxsplit=1)[0]
    authority = _AUTHORITY.match(plain)
    if authority is None or "@" not in authority[1]:
        return plain
    return plain[: authority.start(1)] + plain[authority.start(1) :].partition("@")[2]


def secrets_of(url: str) -> Iterator[str]:
    """Yield what is secret in an address with a user and a password, in all forms it is sent in."""
    parts = _split(url)
    if parts is None or not (parts.username or parts.password):
        return
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    yield from (parts.password or "", password)
    yield b64encode(f"{user}:{password}".encode()).decode()


def usable(url: str) -> bool:
    """Tell whether a service can be at *url*."""
    parts = _split(url)
    return parts is not None and parts.scheme in _PORTS and _is_host(parts.hostname or "")


def _is_host(name: str) -> bool:
    try:
        return bool(name.encode("idna"))
    except UnicodeError:  # a part of it is empty or too long
        return False


def same_service(one: str, other: str) -> bool:
    """Tell whether two addresses are of one service: of the same scheme, host and port."""
    found = [_place(parts) for parts in map(_split, (one, other)) if parts is not None]
    return len(found) == 2 and found[0] == found[1]


def _place(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    return None if port == 0 else parts
