"""Addresses: a scheme, a bucket, and a way within it, as in `s3://bucket/runs/first`."""

import re
from dataclasses import dataclass, replace
from os import PathLike, fspath

from engine.errors import ConfigError
from engine.text import visible
from storage.names import check_name

SCHEMES = {"s3": "bucket", "gs": "bucket", "az": "container", "file": "directory"}
"""The schemes of addresses, and what each calls the place where objects are."""

_LONGEST = 1_000  # bytes of a way: services end at 1,024, and a digest follows
_SCHEMED = re.compile(rf"(?:{'|'.join(SCHEMES)}):/", re.IGNORECASE)
_BUCKET = re.compile(r"[A-Za-z0-9$](?:[A-Za-z0-9._-]{0,220}[A-Za-z0-9])?")
_ODD = frozenset("\\?#%")  # of which services, and those who speak to them, make something else


@dataclass(frozen=True)
class Address:
    """Where objects are: the *parts* of the way lead from the root of a *bucket*."""

    scheme: str
    bucket: str
    parts: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.scheme}://{'/'.join((self.bucket, *self.parts))}"

    @property
    def name(self) -> str:
        """The last part of the way."""
        return self.parts[-1]

    def below(self, *names: str) -> "Address":
        """Return the address to which *names* lead from here."""
        return replace(self, parts=(*self.parts, *names))

    @property
    def key(self) -> str:
        """The way, as services take it."""
        return "/".join(self.parts)


def is_address(text: PathLike[str] | str) -> bool:
    """Tell whether *text* is an address, also if somebody took it for a path before."""
    return _SCHEMED.match(fspath(text)) is not None


def check_local(path: PathLike[str] | str, hint: str) -> None:
    """Raise ConfigError, with a *hint* at the way to do it, if *path* is an address."""
    if is_address(path):
        raise ConfigError(
            f"{fspath(path)}: is an address, and no directory of this disk", hint=hint
        )


def check_out(path: PathLike[str] | str) -> None:
    """Raise ConfigError if nothing can be written at *path*: its name is none, or an address."""
    check_name(path)
    check_local(path, "write to a directory, and put it there afterwards: billp push")


def parse_address(text: str) -> Address:
    """Return the address that *text* tells; raises ConfigError."""
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise ConfigError(f"expected an address, got {text!r}", hint=f"it begins with {known}")
    bucket, _, way = rest.partition("/")
    if "@" in bucket:  # whatever stands before it is told to nobody
        what = f"expected an address {scheme}://BUCKET/…, got one with a user or a key in it"
        raise ConfigError(what, hint="credentials are taken from the environment")
    address = Address(scheme, bucket, tuple(way.rstrip("/").split("/")) if way else ())
    fault = _fault(address)
    if fault:
        raise ConfigError(f"expected an address, got {text!r}: {fault}")
    return address


def _fault(address: Address) -> str:
    """Return what is wrong with an address; empty if nothing is."""
    if address.scheme == "file":
        if address.bucket:
            return "it names a file by three slashes and its whole path, file:///shared/runs"
    elif not _BUCKET.fullmatch(address.bucket):
        return f"{address.bucket!r} is no name of a {SCHEMES[address.scheme]}"
    if any(part in {"", ".", ".."} for part in address.parts):
        return "a part of its way is empty or leads elsewhere"
    if visible(address.key) != address.key or not _ODD.isdisjoint(address.key):
        return r"its way has a character that not all services take, such as \ ? # or %"
    if len(address.key.encode()) > _LONGEST:
        return f"its way has more than {_LONGEST:,} bytes"
    return ""
