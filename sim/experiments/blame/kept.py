"""Where what was blamed is kept for pages to show: beside the user's other files, by the digest.

Not in the run's directory: what a run from elsewhere brings there is nobody's finding.
"""

from pathlib import Path

import msgspec
from platformdirs import user_state_path

from engine.attempt import attempted, log
from sim.experiments.blame.findings import Blame
from storage.reading import read_small
from storage.runs import write_whole

_MOST = 4 << 20  # bytes of one finding


def keep(found: Blame, digest: str) -> None:
    """Keep what was found of a run of that *digest*; if it cannot be kept, it is said."""
    path = _place(digest, found.episode)

    def write() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, msgspec.json.encode(found))

    _, error = attempted(write)
    if error is not None:
        log("warning", "what was blamed is not kept", path=str(path), error=str(error))


def kept(digest: str, episode: int) -> Blame | None:
    """Return what was found last of an *episode* of the run of that *digest*, if it is kept."""
    try:
        content = read_small(_place(digest, episode), _MOST)
        return msgspec.json.decode(content, type=Blame)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _place(digest: str, episode: int) -> Path:
    return user_state_path("billp") / "blame" / f"{digest}-{episode}.json"
