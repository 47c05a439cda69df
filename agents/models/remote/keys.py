"""Where keys come from: the environment or a file, nowhere else."""

from collections.abc import Mapping
from pathlib import Path

from agents.models.remote.addresses import OPENAI_URL
from engine.errors import ConfigError
from storage.reading import read_small

VARIABLE = "OPENAI_API_KEY"
NO_KEY = "none"
"""What is sent to services of one's own, which ask for none."""

_MOST = 16_384  # bytes


def read_key(environment: Mapping[str, str], *, path: Path | None = None, url: str) -> str:
    """Return the key in the file at *path*, or in the environment.

    Only OpenAI's own service is known to want one: others get `NO_KEY` where there is none. Raises
    ConfigError, which never shows what was read.
    """
    key = environment.get(VARIABLE, "") if path is None else _read(path)
    key = key.strip()
    if not key and (path is not None or url.startswith(OPENAI_URL)):
        place = str(path) if path is not None else f"the environment variable {VARIABLE}"
        raise ConfigError(f"no key in {place}", hint=f"export {VARIABLE}=…")
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise ConfigError("the key is not one line of plain characters", hint="copy it again")
    return key or NO_KEY


def _read(path: Path) -> str:
    try:
        return read_small(path, _MOST).decode()
    except OSError as error:
        raise ConfigError(f"cannot read a key from {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        # Without its cause, which holds what was read.
        raise ConfigError(f"cannot read a key from {path}: it is no text") from None
