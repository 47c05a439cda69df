"""The only file that knows obstore: S3, Google Cloud Storage, Azure, and directories as if of them.

Where services are and who may use them is told by the environment, as to every program that uses
them, and by nothing else. What they say when they refuse may hold a key: it is told in words of
ours, and the error of theirs goes no further.
"""

import os
import re
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import LocalStore, from_url

from engine.errors import TransferError
from engine.text import visible
from storage.objects.addresses import SCHEMES, Address
from storage.objects.store import PIECE, MissingError

_PARTS = 9_000  # of an upload: S3 takes 10,000
_PARTS_AT_ONCE = 2
_REFUSALS = (BaseError, OSError, ValueError, NotImplementedError)
_PREFIXES = {"s3": "AWS_", "gs": "GOOGLE_", "az": "AZURE_"}
_ENDPOINT = {"s3": "AWS_ENDPOINT_URL", "gs": "GOOGLE_BASE_URL", "az": "AZURE_ENDPOINT"}

# Given any option of the client, obstore takes none of them from the environment.
_CLIENT = ("allow_http", "allow_invalid_certificates", "connect_timeout", "proxy_url",
           "proxy_ca_certificate", "proxy_excludes", "read_timeout", "timeout")  # fmt: skip
_PATIENCE = {"connect_timeout": "10s", "timeout": "2m"}  # of a piece, on a slow line
_RETRIES: Any = {
    "max_retries": 4,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {
        "init_backoff": timedelta(milliseconds=100),
        "max_backoff": timedelta(seconds=5),
        "base": 2,
    },
}

_CREDENTIALS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS to a file of them",
    "az": "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    "file": "see who owns it, and who may write there",
}
_NO_BUCKET = re.compile(r"NoSuchBucket|ContainerNotFound|specified bucket does not exist")
_ELSEWHERE = re.compile(r"PermanentRedirect|AuthorizationHeaderMalformed|IncorrectEndpoint"
                        r"|redirect without LOCATION|status code: 30[1278]")  # fmt: skip
_UNKNOWN = re.compile(r"InvalidAccessKeyId|SignatureDoesNotMatch|InvalidClientTokenId|ExpiredToken"
                      r"|InvalidToken|AuthenticationFailed|status code: 401")  # fmt: skip
_FORBIDDEN = re.compile(r"AccessDenied|AuthorizationPermissionMismatch|status code: 403")
_NOBODY = re.compile(r"/latest/api/token|metadata\.google|169\.254\.169\.254"
                     r"|oauth2/token|OAuth2|MissingAccount")  # fmt: skip
_PLAIN_HTTP = re.compile(r"BadScheme|URL scheme is not allowed")
_NO_WAY = re.compile(
    r"kind: (?:Connect|Request|Timeout|Interrupted)|error sending request|TimedOut"
)
_SHORT = re.compile(r"InvalidRange|status code: 416|[Ww]anted range|InvalidGetRange")
_REASON = re.compile(r'message: "([^"]+)"|(dns error)|(TimedOut|timed out)')
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_STATUS = re.compile(r"status code: (\d{3})")


@dataclass(frozen=True)
class Service:
    """The objects of an address's bucket."""

    address: Address
    store: Any

    @classmethod
    def open(cls, address: Address) -> "Service":
        """Return the objects of an address's bucket; raises TransferError."""
        with cls(address, None).refused("opened"):
            return cls(address, _store(address))

    async def small(self, key: str, most: int) -> bytes:
        """Return an object of *most* bytes at most; raises MissingError."""
        self._check_regular(key)
        with self.refused("read"):
            found = await obstore.get_async(self.store, key)
            content = bytearray()
            async for piece in found.stream(1 << 20):
                content += piece
                if len(content) > most:
                    raise self._error("read", f"it is larger than {most:,} bytes")
        return bytes(content)

    async def piece(self, key: str, start: int, size: int) -> bytes:
        """Return *size* bytes of an object, from *start* on; raises MissingError."""
        self._check_regular(key)
        with self.refused("read"):
            found = bytes(await obstore.get_range_async(self.store, key, start=start, length=size))
        if len(found) != size:
            raise MissingError(f"{self.address}: an object is shorter than its manifest says")
        return found

    async def sizes(self, key: str) -> dict[str, int]:
        """Return the sizes of the objects right below *key*, by their last names."""
        found: dict[str, int] = {}
        with self.refused("listed"):
            async for some in obstore.list(self.store, f"{key}/", chunk_size=1_000):
                for one in some:
                    found[one["path"].removeprefix(f"{key}/")] = one["size"]
        return found

    async def rooms(self, key: str) -> list[str]:
        """Return the names right below *key* below which there are objects."""
        with self.refused("listed"):
            found = await obstore.list_with_delimiter_async(self.store, f"{key}/")
        return sorted(prefix.removeprefix(f"{key}/") for prefix in found["common_prefixes"])

    async def put(self, key: str, pieces: AsyncIterator[bytes], size: int) -> None:
        """Let an object be what *pieces* of *size* bytes hold; nothing if they raise an error."""
        with self.refused("written"):
            if size <= PIECE:  # in one request: no bill for parts, and none that are left behind
                whole = b"".join([piece async for piece in pieces])
                await obstore.put_async(self.store, key, whole, use_multipart=False)
            else:
                await obstore.put_async(
                    self.store,
                    key,
                    pieces,
                    chunk_size=max(PIECE, -(-size // _PARTS)),
                    max_concurrency=_PARTS_AT_ONCE,
                )

    def _check_regular(self, key: str) -> None:
        """Raise TransferError for what would hold us up for ever, as a pipe would."""
        if self.address.scheme != "file":
            return
        try:
            kind = os.lstat(f"/{key}").st_mode
        except OSError:
            return  # what is not there is told by who opens it
        if not stat.S_ISREG(kind):
            raise self._error("read", "what is there is no regular file")

    @contextmanager
    def refused(self, done: str) -> Iterator[None]:
        """Tell in a sentence why what is asked cannot be *done*; errors of ours pass."""
        try:
            yield
        except _REFUSALS as error:
            told = self._told(error, done)
        else:
            return
        raise told from None  # not from what may name a key

    def _told(self, error: Exception, done: str) -> TransferError:
        said = str(error)
        scheme, bucket = self.address.scheme, self.address.bucket
        place = SCHEMES[scheme]
        if _NO_BUCKET.search(said):
            return self._error(done, f"there is no {place} {bucket!r}", "see how its name is spelt")
        if isinstance(error, FileNotFoundError):
            return MissingError(f"{self.address}: cannot be {done}: an object is missing")
        if _SHORT.search(said):
            return MissingError(f"{self.address}: an object is shorter than its manifest says")
        if _PLAIN_HTTP.search(said):
            hint = f"set {_PREFIXES[scheme]}ALLOW_HTTP=true if the line may be read by others"
            return self._error(done, "the service would be spoken to without TLS", hint)
        if _ELSEWHERE.search(said):
            hint = "set AWS_REGION to that of the bucket" if scheme == "s3" else ""
            return self._error(done, f"the {place} is in another region", hint)
        return self._unwelcome(error, said, done)

    def _unwelcome(self, error: Exception, said: str, done: str) -> TransferError:
        """Tell of what has to do with who asks, or with the way to the service."""
        hint = _CREDENTIALS[self.address.scheme]
        if isinstance(error, UnauthenticatedError) or _UNKNOWN.search(said):
            return self._error(done, "the credentials are refused", hint)
        forbidden = isinstance(error, PermissionDeniedError | PermissionError)
        if forbidden or _FORBIDDEN.search(said) or "PermissionDenied" in said:
            return self._error(done, "these credentials have no right to it", hint)
        if _NOBODY.search(said):
            return self._error(done, "no credentials are found", hint)
        if _NO_WAY.search(said):
            return self._error(done, f"the service cannot be reached{_reason(said)}", self._way())
        return self._error(done, _first_words(said))

    def _way(self) -> str:
        endpoint = _ENDPOINT.get(self.address.scheme, "")
        return f"look at the network, and at {endpoint} if it is set" if endpoint else ""

    def _error(self, done: str, why: str, hint: str = "") -> TransferError:
        return TransferError(f"{self.address}: cannot be {done}: {why}", hint=hint)


def _reason(said: str) -> str:
    found = _REASON.search(said)
    return f": {visible(next(filter(None, found.groups())).casefold())}" if found else ""


def _first_words(said: str) -> str:
    """Return what a service said, without what may hold a key."""
    code, status = _CODE.search(said), _STATUS.search(said)
    if code or status:
        named = [*([code[1]] if code else []), *([f"status {status[1]}"] if status else [])]
        return f"the service says {', '.join(named)}"
    words = said.partition("\n")[0].removeprefix("Generic ")
    words = re.sub(r"""\S*(?:://|[?&=])\S*|(["'`]).*?\1""", "…", words)
    return visible(words[:200]) or "the service says nothing"


def _store(address: Address) -> Any:
    if address.scheme == "file":
        return LocalStore(Path("/"))
    options: Any = _PATIENCE | {
        name: value
        for name in _CLIENT
        if (value := os.environ.get(f"{_PREFIXES[address.scheme]}{name.upper()}"))
    }
    root = f"{address.scheme}://{address.bucket}"
    return from_url(root, client_options=options, retry_config=_RETRIES)
