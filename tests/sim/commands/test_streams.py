"""Standard streams that are closed, full, left, or of another encoding: no run is hurt by them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sim.runs.replay import replay
from storage.runs import RunDirectory

BILLP = f'{sys.executable} -c "from sim.cli import main; main()"'
ASYNCIO = f"""{sys.executable} -c "import sys; sys.modules['uvloop'] = None
from sim.cli import main; main()" """


def shell(here: Path, command: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a *command* of a shell in which `billp` and `billp_asyncio` are."""
    functions = f'billp() {{ {BILLP} "$@"; }}; billp_asyncio() {{ {ASYNCIO} "$@"; }}; '
    known = {name: value for name, value in os.environ.items() if name != "FORCE_COLOR"}
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", functions + command],
        cwd=here,
        capture_output=True,
        check=False,
        timeout=60,
        env={**known, "COLUMNS": "100", **environment},
    )


RUN = "run --episodes 2 --out run"


def whole(here: Path) -> bool:
    """Tell whether the run came to its end, and is what it should be."""
    directory = RunDirectory(here / "run")
    return directory.summary.exists() and replay(directory.path).agrees


CLOSED = {
    "stdin": "<&-",
    "stdout": ">&-",
    "stderr": "2>&-",
    "stdin and stderr": "<&- 2>&-",
    "stdout and stderr": ">&- 2>&-",
    "all": "<&- >&- 2>&-",
}


@pytest.mark.parametrize(
    ("closed", "loop"), [*((closed, "billp") for closed in CLOSED), ("all", "billp_asyncio")]
)
def test_closed_streams_hurt_no_run(tmp_path: Path, closed: str, loop: str) -> None:
    """The run is whole; what was to be told of it and could not be is told of, once."""
    said = shell(tmp_path, f"{loop} {RUN} {CLOSED[closed]}")
    assert whole(tmp_path)
    lost = closed in {"stdout", "stdout and stderr", "all"}
    assert said.returncode == int(lost), said
    told = b"billp: standard output cannot be written: Bad file descriptor\n"
    assert said.stderr == (told if closed == "stdout" else b"")


def test_no_file_of_a_run_is_taken_for_a_closed_stream(tmp_path: Path) -> None:
    """Nothing that is said comes into the journal, or any other file."""
    shell(tmp_path, f"billp {RUN} --log-format json --log-level debug <&- >&- 2>&-")
    assert whole(tmp_path)
    for path in (tmp_path / "run").rglob("*"):
        assert path.is_dir() or b"call ended" not in path.read_bytes()


def test_a_full_standard_output_is_said(tmp_path: Path) -> None:
    said = shell(tmp_path, f"billp {RUN} > /dev/full")
    assert (said.returncode, whole(tmp_path)) == (1, True)
    assert said.stderr == b"billp: standard output cannot be written: No space left on device\n"


@pytest.mark.parametrize("words", ["--json", "--quiet --log-level debug --log-format json"])
def test_a_full_standard_error_hurts_no_run(tmp_path: Path, words: str) -> None:
    """Status 1 where something was lost that was to be said, and nobody to tell."""
    said = shell(tmp_path, f"billp {RUN} {words} 2> /dev/full")
    assert said.returncode == int("debug" in words)
    assert (said.stderr, whole(tmp_path)) == (b"", True)


def test_full_streams_leave_an_error_as_it_is(tmp_path: Path) -> None:
    said = shell(tmp_path, "billp show nowhere 0 > /dev/full 2> /dev/full")
    assert (said.returncode, said.stderr) == (2, b"")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("recorded") / "Amélie 日本語"
    here.mkdir()
    shell(here, f"billp {RUN} --quiet")
    return here


FULL = [*(f"{words} > /dev/full" for words in ("trace cat run", "show run 0", "--help"))]


@pytest.mark.parametrize("command", [*FULL, "show run 0 >&-"])
def test_what_cannot_be_shown_is_said(recorded: Path, command: str) -> None:
    """One sentence, and neither a traceback nor what Python says when it ends."""
    said = shell(recorded, f"billp {command}")
    assert said.returncode == 1
    (line,) = said.stderr.decode().splitlines()
    assert line.startswith("billp: standard output cannot be written: ")


@pytest.mark.parametrize("command", ["trace cat run", "trace stats run"])
def test_who_listens_may_leave(recorded: Path, command: str) -> None:
    """A pipe that is closed at its other end: status 1, and nothing to tell."""
    said = shell(recorded, f"(sleep 0.1; billp {command}; echo $? >&2) | true")
    assert said.stderr == b"1\n"


def test_a_run_whose_reader_left_is_whole(tmp_path: Path) -> None:
    said = shell(tmp_path, f"(sleep 0.1; billp {RUN}; echo $? >&2) | true")
    assert said.stderr == b"1\n"
    assert whole(tmp_path)


NARROW = [
    {"PYTHONIOENCODING": "ascii:strict"},
    {"PYTHONIOENCODING": "cp1252:strict"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
]


SHOWING = f"""{sys.executable} -c "from sim.cli import main
for words in (['show', 'run', '0:0'], ['compare', 'run']):
    try:
        main(words)
    except SystemExit as end:
        print('status', end.code)" """


@pytest.mark.parametrize("environment", NARROW, ids=str)
def test_any_encoding_holds_what_is_shown(recorded: Path, environment: dict[str, str]) -> None:
    """A step, and a table."""
    said = shell(recorded, SHOWING, **environment)
    assert (said.returncode, said.stderr) == (0, b"")
    step, table, end = said.stdout.split(b"status 0\n")
    assert step
    assert table
    assert end == b""


@pytest.mark.parametrize("environment", NARROW, ids=str)
def test_json_is_json_in_any_encoding(environment: dict[str, str]) -> None:
    """The very text that it stands for."""
    name = "Amélie 日本語 👩"
    code = f"from sim.views.console import write_json; write_json({name!a})"
    code = f"import sim.commands.streams as s\nwith s.standard_streams(): exec({code!r})"
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env=os.environ | environment, check=True
    )
    assert json.loads(said.stdout.decode("ascii")) == name


def test_errors_and_logs_are_told_in_any_encoding(recorded: Path) -> None:
    narrow = {"PYTHONIOENCODING": "ascii:strict"}
    said = shell(recorded, "billp show 日本語 0", **narrow)
    assert said.returncode == 2
    assert said.stderr.startswith(b"billp: \\u65e5\\u672c\\u8a9e: ")
    said = shell(recorded, "billp run --listener 'Amélie:日本語'", **narrow)
    assert b"billp: listener 'Am\\xe9lie:\\u65e5" in said.stderr
