"""Batches of the OpenAI protocol: a file of calls goes up, a batch is made of it, files come down.

Each line of a file is a call as it would be on its own, under a name; so is each line of what comes
back. What a service says is read within bounds, as everywhere, and its names of files and batches
become parts of addresses: they are plain words, or they are malformed.
"""

import re
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Protocol, get_args

import msgspec

from agents.models.batches import BatchState, Line, NoSuchFileError, Outcome, Status
from agents.models.model import ChatReply, ChatRequest
from agents.models.remote.bounded import (
    MOST_BYTES,
    entries,
    loosely,
    malformed,
    member,
    text_of,
    tokens_of,
)
from agents.models.remote.exchange import Answer
from agents.models.remote.failures import cleaned, read_complaint, shown
from agents.models.remote.service import Service
from engine.errors import CallFailedError, ModelError, ServiceError
from storage.batches import NAME_PATTERN

_FILES = "/files"
_BATCHES = "/batches"
_LATELY = "limit=100"
_LINE = 1 << 16  # bytes that a line may have, on average
_MOST = 1 << 29  # bytes of a file that comes down
_NAME = re.compile(NAME_PATTERN)
_GONE = "go to the service and account it was sent to, or remove batches.jsonl to pay anew"
_HINT = "set the tier of the role to default: not every service takes batches"


class _Line(msgspec.Struct, frozen=True):
    custom_id: str
    url: str
    body: msgspec.Raw
    method: str = "POST"


class _Creation(msgspec.Struct, frozen=True):
    input_file_id: str
    endpoint: str
    completion_window: str = "24h"


class _Response(msgspec.Struct, frozen=True):
    status_code: int
    body: msgspec.Raw = msgspec.Raw(b"null")


class _Error(msgspec.Struct, frozen=True):
    code: str | None = None
    message: str | None = None


class _Result(msgspec.Struct, frozen=True):
    custom_id: str
    response: _Response | None = None
    error: _Error | None = None


class Asking(Protocol):
    """A model over the network, as far as a call of it can be a line in a file."""

    @property
    def service(self) -> Service:
        """The service that has it."""
        ...

    @property
    def path(self) -> str:
        """Where it is asked."""
        ...

    def body(self, request: ChatRequest) -> bytes:
        """Return what is asked."""
        ...

    def answered(self, request: ChatRequest, answer: Answer) -> ChatReply:
        """Return the reply in an answer; raises what `ChatModel.reply` does."""
        ...


class Batches:
    """The batches of a service, of calls to one *model* or several at the same path."""

    def __init__(self, model: Asking) -> None:
        self._model = model
        self._service = model.service
        # Azure's has no version in its paths.
        self._endpoint = model.path if self._service.account.azure else f"/v1{model.path}"

    @property
    def url(self) -> str:
        """Where the service is, with nothing secret."""
        return shown(self._service.account.url)

    def body(self, request: ChatRequest) -> bytes:
        """Return what is asked, as it would be on its own."""
        return self._model.body(request)

    def read(self, request: ChatRequest, outcome: Outcome) -> ChatReply:
        """Return the reply; raises what `ChatModel.reply` does where there is none."""
        return self._model.answered(request, Answer(outcome.status, {}, outcome.body))

    async def upload(self, lines: Sequence[Line]) -> str:
        """Return the name of a file with *lines*; raises ModelErrors, as all here do."""
        content = b"\n".join(
            _encode(_Line(line.name, self._endpoint, msgspec.Raw(line.body))) for line in lines
        )
        boundary = "billp-" + blake2b(content, digest_size=12).hexdigest()
        kind = f"multipart/form-data; boundary={boundary}"
        body = _form(content, boundary.encode())
        answer = await self._service.ask("POST", _FILES, body, kind=kind)
        return _name(self._said(answer), "id")

    async def create(self, file: str) -> BatchState:
        """Let the service begin with the lines of a *file*; raises NoSuchFileError, too."""
        body = _encode(_Creation(file, self._endpoint))
        answer = await self._service.ask("POST", _BATCHES, body)
        if answer.status in {400, 404} and read_complaint(answer.body).about("file"):
            raise NoSuchFileError(f"{self.url} has no file {file}")
        return _state(self._said(answer))

    async def find(self, file: str) -> BatchState | None:
        """Return the batch that was made of a *file* lately, if there is one."""
        answer = await self._service.ask("GET", _BATCHES, query=_LATELY)
        if answer.status in {404, 405}:  # it lists none
            return None
        listed = entries(member(self._said(answer), "data"))
        mine = (one for one in listed if member(one, "input_file_id") == file)
        return next(map(_state, mine), None)

    async def state(self, batch: str) -> BatchState:
        """Return how a *batch* is doing."""
        answer = await self._service.ask("GET", f"{_BATCHES}/{batch}")
        if answer.status == 404:
            raise ServiceError(f"{self.url} has no batch {batch}", hint=_GONE)
        return _state(self._said(answer))

    async def outcomes(self, file: str, lines: int) -> Mapping[str, Outcome]:
        """Return what a *file* of at most so many *lines* says, by the names of calls."""
        most = min(_MOST, MOST_BYTES + lines * _LINE)
        answer = await self._service.ask("GET", f"{_FILES}/{file}/content", most=most)
        if answer.status == 404:
            raise ServiceError(f"{self.url} has no file {file}", hint=_GONE)
        if not 200 <= answer.status < 300:
            raise self._failure(answer)
        results = map(_result, answer.body.splitlines())
        found = dict(result for result in results if result is not None)
        if not found:  # there are no files of nothing: all would be asked, and paid, again
            raise malformed("answered no line of a batch")
        return found

    def _said(self, answer: Answer) -> object:
        if not 200 <= answer.status < 300:
            raise self._failure(answer)
        return loosely(answer.body)

    def _failure(self, answer: Answer) -> ModelError:
        if answer.status in {404, 405}:
            return ServiceError(f"{self.url} takes no batches: {answer.status}", hint=_HINT)
        error = self._service.failure(answer, read_complaint(answer.body))
        if isinstance(error, CallFailedError):  # that is every call's fault
            said = f": {error.said}" if error.said else ""
            what = f"{self.url} refuses a batch with {answer.status}{said}"
            return ServiceError(what, hint="--set batch_size=… makes smaller files")
        return error


def _form(content: bytes, boundary: bytes) -> bytes:
    """Return a form with a file; lines of JSON begin with a brace, so none is a boundary."""
    said = b'Content-Disposition: form-data; name="purpose"\r\n\r\nbatch'
    file = (
        b'Content-Disposition: form-data; name="file"; filename="calls.jsonl"\r\n'
        b"Content-Type: application/jsonl\r\n\r\n"
    )
    parts = b"".join(b"--%b\r\n%b\r\n" % (boundary, part) for part in (said, file + content))
    return b"%b--%b--\r\n" % (parts, boundary)


def _name(said: object, field: str) -> str:
    """Return the name in a *field*; raises TransientError for what can be none."""
    name = text_of(member(said, field)) or ""
    if not _NAME.match(name):
        raise malformed(f"answered without the name ({field}) of a file or batch")
    return name


def _state(said: object) -> BatchState:
    status = text_of(member(said, "status"))
    known: Status | None = next((one for one in get_args(Status) if one == status), None)
    if known is None:
        raise malformed("answered without the status of a batch")
    counts = member(said, "request_counts")
    answered = [tokens_of(member(counts, name)) for name in ("completed", "failed")]
    return BatchState(
        name=_name(said, "id"),
        status=known,
        file=text_of(member(said, "input_file_id")) or "",
        output=_named(said, "output_file_id"),
        errors=_named(said, "error_file_id"),
        done=sum(answered),
        total=tokens_of(member(counts, "total")),
        said=_complaint(said),
    )


def _named(said: object, field: str) -> str:
    return _name(said, field) if member(said, field) else ""


def _complaint(said: object) -> str:
    """Return the first of what is wrong with a batch as a whole."""
    first = next(iter(entries(member(member(said, "errors"), "data"))), None)
    return cleaned(text_of(member(first, "message")) or "", ())


def _result(line: bytes) -> tuple[str, Outcome] | None:
    """Return the name and the outcome of a call; None for a line that is none."""
    try:
        result = _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    error, response = result.error, result.response
    if response is not None and response.status_code:
        return result.custom_id, Outcome(response.status_code, bytes(response.body))
    code = (error.code if error else None) or "no answer"
    return result.custom_id, Outcome(
        error=cleaned(code, ()), said=cleaned((error.message if error else None) or "", ())
    )


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Result).decode
