"""Where a service of our own answers what, under whatever path it is reached."""

from typing import Final

from agents.models.serving.refusals import unknown_path, wrong_method

CHAT: Final = "/chat/completions"
RESPONSES: Final = "/responses"
EMBEDDINGS: Final = "/embeddings"
MODELS: Final = "/models"
MODEL: Final = "/models/"
FILES: Final = "/files"
FILE: Final = "/files/"
CONTENT: Final = "/content"
BATCHES: Final = "/batches"
BATCH: Final = "/batches/"
CANCEL: Final = "/cancel"
DESCRIPTION: Final = "/openapi.json"

_READ = ("GET", "HEAD", "OPTIONS")
METHODS: Final = {
    CHAT: ("POST", "OPTIONS"),
    RESPONSES: ("POST", "OPTIONS"),
    EMBEDDINGS: ("POST", "OPTIONS"),
    MODELS: _READ,
    FILES: ("POST", "OPTIONS"),
    BATCHES: ("GET", "HEAD", "POST", "OPTIONS"),
    DESCRIPTION: _READ,
    MODEL: _READ,
    FILE: _READ,
    CONTENT: _READ,
    BATCH: _READ,
    CANCEL: ("POST", "OPTIONS"),
}
"""What may be done where.

MODEL, FILE and BATCH go before a name, CONTENT after that of a file, CANCEL after that of a batch;
the others are the ends of paths.
"""

_AFTER: Final = {FILE: CONTENT, BATCH: CANCEL}
_ENDS = (CHAT, RESPONSES, EMBEDDINGS, MODELS, FILES, BATCHES, DESCRIPTION)


def place_of(method: str, path: str) -> str:
    """Return the place that is meant; raises RefusedRequestError (404, 405)."""
    place = _place(path)
    if place is None:
        raise unknown_path(method, path)
    if method not in METHODS[place]:
        raise wrong_method(method, path, METHODS[place])
    return place


def _place(path: str) -> str | None:
    end = next((place for place in _ENDS if path.endswith(place)), None)
    before = next((place for place in (MODEL, FILE, BATCH) if place in path), None)
    if end is not None or before is None:
        return end
    after = _AFTER.get(before)
    return after if after is not None and path.endswith(after) else before
