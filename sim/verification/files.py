"""The files of a run directory against its manifest, before anything in them is believed."""

from engine.errors import FileError, TraceError
from storage.manifest import Inventory, difference, read_manifest, take_inventory
from storage.origin import NAME as ORIGIN
from storage.runs import RunDirectory

_LONGEST = 64 << 20  # bytes of a line
_LARGEST = {"run.toml": 1 << 20, "summary.json": 64 << 20}


def look_around(directory: RunDirectory) -> Inventory:
    """Return all files of a run.

    Raises FileError if something there leads elsewhere, or could not be read in bounded memory.
    """
    inventory = take_inventory(directory.path)
    if inventory.odd:
        name = inventory.odd[0]
        raise FileError(f"{directory.path}: {name!r} is neither file nor directory: not followed")
    for name, found in inventory.files.items():
        largest = _LARGEST.get(name, found.size)
        if found.size > largest:
            raise FileError(f"{directory.path}: {name!r} has more than {largest:,} bytes")
        if name.endswith(".jsonl") and found.longest > _LONGEST:
            raise FileError(
                f"{directory.path}: {name!r} has a line of more than {_LONGEST:,} bytes"
            )
    return inventory


def check_files(directory: RunDirectory, inventory: Inventory) -> str:
    """Compare the files with the manifest, if there is or must be one; raises FileError."""
    path, count = directory.manifest, len(inventory.files)
    if not (path.exists() or path.is_symlink()):
        if directory.finished:
            what = "there is none, though the run has come to its end"
            raise FileError(f"{path}: {what}; billp resume lists the files as they are now")
        return f"{count} files, no manifest: the run has not come to its end"
    manifest, _ = read_manifest(directory)
    fault = difference(manifest, inventory)
    if fault:
        raise FileError(f"{directory.path}: {fault}")
    if not directory.finished:
        raise FileError(f"{path}: there is one, but no summary: the run has not come to its end")
    alone = f"; {ORIGIN} by it alone" if ORIGIN in inventory.files else f"; no {ORIGIN}"
    return f"{count} files, as the manifest says{alone}"


def check_digest(directory: RunDirectory, inventory: Inventory) -> str:
    """Return the digest of the trace; raises TraceError if the summary tells another."""
    trace = inventory.files.get(directory.trace.name)
    told, found = str(directory.read_summary().get("digest")), trace.sha256 if trace else "none"
    if told != found:
        what = f"tells the digest {told[:12]}, it is {found[:12]}"
        raise TraceError(f"{directory.summary}: {what}")
    return found
