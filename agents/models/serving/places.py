"""Where a service of our own answers what, under whatever path it is reached."""

from typing import Final

from agents.models.serving.refusals import unknown_path, wrong_method

CHAT: Final = "/chat/completions"
EMBEDDINGS: Final = "/embeddings"
MODELS: Final = "/models"
MODEL: Final = "/models/"
DESCRIPTION: Final = "/openapi.json"

METHODS: Final = {
    CHAT: ("POST", "OPTIONS"),
    EMBEDDINGS: ("POST", "OPTIONS"),
    MODELS: ("GET", "HEAD", "OPTIONS"),
    DESCRIPTION: ("GET", "HEAD", "OPTIONS"),
    MODEL: ("GET", "HEAD", "OPTIONS"),
}
"""What may be done where; MODEL goes before a name, the others are the ends of paths."""


def place_of(method: str, path: str) -> str:
    """Return the place that is meant; raises RefusedRequestError (404, 405)."""
    for place in METHODS:
        if path.endswith(place) or (place == MODEL and MODEL in path):
            break
    else:
        raise unknown_path(method, path)
    if method not in METHODS[place]:
        raise wrong_method(method, path, METHODS[place])
    return place
