"""The lines of files: calls that clients send to a service of our own, and what came of them."""

from collections.abc import Mapping

import msgspec

from agents.models.batches import MOST_LINES
from agents.models.serving.answers import BatchProblem
from agents.models.serving.asked import AskedLine

_PROBLEMS = 10
_SHOWN = 100  # characters of what a line says


def looked_through(
    content: bytes, endpoint: str
) -> tuple[list[AskedLine], tuple[BatchProblem, ...]]:
    """Return the calls in a file, and what is wrong with it."""
    lines: dict[str, AskedLine] = {}
    problems: list[BatchProblem] = []
    for number, text in enumerate(content.splitlines(), 1):
        wrong, line = _wrong(text, endpoint, lines)
        if wrong:
            problems.append(BatchProblem(code="invalid_json_line", message=wrong, line=number))
        if len(problems) == _PROBLEMS:
            break
        if line is not None:
            lines[line.custom_id] = line
    if not lines and not problems:
        problems.append(BatchProblem(code="empty_file", message="The file has no calls."))
    return [*lines.values()], tuple(problems)


def _wrong(
    text: bytes, endpoint: str, known: Mapping[str, AskedLine]
) -> tuple[str, AskedLine | None]:
    """Return what is wrong with a line, or the call that it is."""
    try:
        line = _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return str(error), None
    if line.custom_id in known:
        return f"The custom_id {line.custom_id!r} is there twice.", None
    if line.url != endpoint:
        return f"The URL {line.url[:_SHOWN]!r} is not that of the batch.", None
    if len(known) == MOST_LINES:
        return f"There are more than {MOST_LINES:,} calls.", None
    return "", line


def result(line: AskedLine, status: int, body: bytes) -> bytes:
    """Return the line of a call that was answered; a *body* that is no JSON is none."""
    try:
        msgspec.json.decode(body)  # a fault may have made it anything
    except msgspec.DecodeError:
        body = b"null"
    response = {
        "status_code": status,
        "request_id": f"req-{line.custom_id}",
        "body": msgspec.Raw(body),
    }
    return _encoded(line, response, None)


def undone(line: AskedLine, code: str) -> bytes:
    """Return the line of a call that was not answered; *code* is why."""
    return _encoded(line, None, {"code": code, "message": "The request was not executed."})


def _encoded(line: AskedLine, response: object, error: object) -> bytes:
    said = {
        "id": f"batch_req_{line.custom_id}",
        "custom_id": line.custom_id,
        "response": response,
        "error": error,
    }
    return msgspec.json.encode(said) + b"\n"


_decode = msgspec.json.Decoder(AskedLine).decode
