"""`.origin`: the proof that a run.toml was written here, and is as it was left.

What a run.toml says, billp does: it goes to the services named there, with the keys named there.
One that comes from somebody else, or was edited, must not do that unasked. So whoever writes
run.toml leaves beside it a keyed hash of its bytes, under a secret that only this user has and that
lies elsewhere. The proof tells nothing of the machine, the user or the path.
"""

import errno
import hmac
import os
import secrets
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from platformdirs import user_state_path

from storage.files import whole
from storage.reading import read_small

NAME = ".origin"
"""The file of the proof, within a run directory."""

_SECRET = "origin.key"
_SIZE = 32  # bytes of the secret
_MOST = 1_000  # bytes of a proof


def prove(run: Path, old: bytes | None, new: bytes) -> None:
    """Leave the proof in directory *run* that *new* is to be its run.toml; raises OSError.

    It comes before run.toml does, and goes for the *old* one as well if that was proven: whenever
    the machine dies, what is there is proven. Nothing is left where no secret can be kept.
    """
    try:
        secret = _secret(making=True)
    except OSError:
        return
    contents = [new, *([old] if old is not None and proven(run, old) else [])]
    proofs = dict.fromkeys(_proof(secret, content) for content in contents)
    with whole(run / NAME) as file:
        file.write("".join(f"{proof}\n" for proof in proofs).encode())


def proven(run: Path, content: bytes) -> bool:
    """Tell whether *content* was written here as the run.toml of a run; in doubt it was not."""
    try:
        proofs = read_small(run / NAME, _MOST).split()
        proof = _proof(_secret(making=False), content).encode()
    except OSError:
        return False
    return any(hmac.compare_digest(proof, one) for one in proofs)


def unprovable() -> str:
    """Return why nothing can be proven here; empty if all is well."""
    try:
        _secret(making=True)
    except OSError as error:
        return f"{error.filename or _SECRET}: {error.strerror}"
    return ""


def _proof(secret: bytes, content: bytes) -> str:
    # Named, so that no proof of anything else can ever pass for one of a run.toml.
    return hmac.digest(secret, b"billp run.toml\n" + content, "sha256").hex()


def _secret(*, making: bool) -> bytes:
    """Return the secret of this user, made if there is none; raises OSError."""
    path = user_state_path("billp") / _SECRET
    if not path.is_absolute():  # nobody has a home here
        raise OSError(errno.ENOENT, "no directory of one's own", str(path))
    try:
        return _read(path)
    except FileNotFoundError:
        if not making:
            raise
    _make(path)
    return _read(path)


def _read(path: Path) -> bytes:
    # A link or a pipe in its place is no secret, whoever put it there.
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        found = os.fstat(file)
        ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
        secret = os.read(file, _SIZE + 1) if ours else b""
    finally:
        os.close(file)
    # What others can read proves nothing: they could have made the proof.
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise OSError(errno.EPERM, "others than its owner may read or write it", str(path))
    if len(secret) != _SIZE:
        raise OSError(errno.EINVAL, "is not the secret that billp made", str(path))
    return secret


def _make(path: Path) -> None:
    """Make the secret, whole at once: of several processes, one makes that of all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file, aside = tempfile.mkstemp(dir=path.parent)  # for nobody else to read
    try:
        os.write(file, secrets.token_bytes(_SIZE))
        os.fsync(file)
        # A link, not a renaming: who comes second must not replace what others use already.
        with suppress(FileExistsError):
            os.link(aside, path)
    finally:
        os.close(file)
        os.unlink(aside)
