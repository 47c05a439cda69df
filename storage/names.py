"""Names of files and directories that a run tells of, in run.toml for one."""

from os import PathLike, fspath

from engine.errors import ConfigError


def check_name(path: PathLike[str] | str) -> None:
    """Raise ConfigError if *path* cannot be written down: it is no UTF-8, or none that files have.

    Bytes that are not UTF-8 come from the system as surrogates. Every file that told of such a path
    would fail, most of them when the work was done.
    """
    name = fspath(path)
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"{name!r} is not UTF-8", hint="choose another name") from error
    if "\0" in name:
        raise ConfigError(f"{name!r} is no name of a file", hint="choose another name")
