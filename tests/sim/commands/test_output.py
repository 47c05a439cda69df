"""What leaves: whatever titles, replies and paths hold, no terminal obeys it."""

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog

from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatReply, ChatRequest
from engine.errors import CallFailedError
from sim.analysis.compare import compare
from sim.commands.logs import log_to_stderr
from sim.config.layers import configured
from sim.runs.run import run as run_episodes
from sim.views.comparison import as_latex, as_markdown
from sim.views.console import plain
from sim.views.memory_map import _cell
from storage.datasets import Columns, Recipe, build_environment, save
from storage.runs import RunDirectory
from tests.support.shell import Shell
from tests.support.small import SMALL

TURNED = "\u202e"
OBEYED = "\x1b[2J\x1b]0;owned\x07\x1b[31;5m\x9b2J\x7f\x08\u202e\u2066\u200f\u061c\u2028\x85"
SPECIAL = "|`*_x_*<b>&%$#{}~^\\"
NASTY = f"{OBEYED}{SPECIAL}"
FORBIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f\u2028\u2029]"
)
OURS = re.compile(r"\x1b\[(?!31;5m)[0-9;]*m|\x1b\[(2K|1A|\?25[lh])|\r")  # styles, and a bar's own


def check(said: str, *, styled: bool = False) -> None:
    """Assert that nothing is obeyed of *said*, but perhaps our own styles."""
    found = FORBIDDEN.search(OURS.sub("", said) if styled else said)
    assert found is None, said[max(0, found.start() - 200) : found.end() + 200]


@dataclass
class Nasty:
    """The embedded model, whose words are full of what a terminal would obey."""

    model: EmbeddedModel = field(default_factory=EmbeddedModel)
    failing: int = -1

    async def reply(self, request: ChatRequest) -> ChatReply:
        if (request.call.episode, request.call.role) == (self.failing, "planner"):
            raise CallFailedError(f"it says {NASTY}", kind="server")
        reply = await self.model.reply(request)
        if request.call.role == "critic":
            return reply
        return msgspec.structs.replace(reply, text=f"{reply.text}{NASTY}")


@dataclass(frozen=True)
class Scene:
    """A directory whose name, world, runs and files are nasty."""

    here: Path
    world: Path
    run: RunDirectory
    altered: RunDirectory
    failed: RunDirectory

    @property
    def open(self) -> Path:
        """A run with a failed call that was stopped before anything of it was written."""
        path = self.here / "open"
        if not path.exists():
            shutil.copytree(self.failed.path, path)
            for name in ("trace.jsonl", "summary.json", "manifest.json"):
                (path / name).unlink()
        return path


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    here = tmp_path_factory.mktemp("scene") / f"{OBEYED}$x_{{2}}"
    here.mkdir()
    table = here / "table.csv"
    rows = [
        f'u{user},"i{item}","{item} {NASTY}","A{OBEYED}|B",{1 + user * item % 5}\n'
        for user in range(12)
        for item in range(12)
    ]
    table.write_text("user,item,title,genres,rating\n" + "".join(rows), encoding="utf-8")
    columns = Columns(rating="rating", title="title", categories="genres")
    made = build_environment(
        "csv", table, Recipe(dimensions=2), name=f"world{OBEYED}", columns=columns
    )
    save(made, here / "world")
    settings = {"environment": str(here / "world"), "prompts": True, "limit": 5}
    config = configured(SMALL, settings)
    run, failed, altered = (RunDirectory(here / name) for name in ("run", "failed", "altered"))
    run_episodes(config, out=run.path, model=Nasty())
    run_episodes(config, out=failed.path, model=Nasty(failing=1))
    run_episodes(config, out=altered.path, model=Nasty())
    text = altered.trace.read_bytes()
    altered.trace.write_bytes(text.replace(b'"thought":"', b'"thought":"\\u001b[2J\xc2\x9b', 1))
    return Scene(here, here / "world", run, altered, failed)


def _status(name: str) -> int:
    """Return how a command of COMMANDS ends: it came to the place where it shows what it found."""
    if name.startswith(("no ", "a run that", "a cache")):
        return 2
    return int(name.startswith("diff") or "divergence" in name or "altered" in name)


Words = Callable[[Scene], list[str | Path]]

COMMANDS: dict[str, Words] = {
    "show": lambda s: ["show", s.run.path, "0"],
    "show all": lambda s: ["show", s.failed.path],
    "show what is open": lambda s: ["show", s.open, "1"],
    "show what is open, in full": lambda s: ["show", s.open, "1:0"],
    "show what is open, made again": lambda s: ["show", s.open, "1", "--replayed"],
    "show a step": lambda s: ["show", s.run.path, "2:0"],
    "show a failure": lambda s: ["show", s.failed.path, "1"],
    "show as JSON": lambda s: ["show", s.run.path, "0", "--json"],
    "show a prompt": lambda s: ["show", s.run.path, "2:0", "--prompt", "actor"],
    "trace cat": lambda s: ["trace", "cat", s.run.path],
    "trace stats": lambda s: ["trace", "stats", s.run.path],
    "trace export": lambda s: ["trace", "export", s.run.path, "--parquet", s.here / "tables"],
    "memory": lambda s: ["memory", s.run.path],
    "memory as JSON": lambda s: ["memory", s.run.path, "--list", "actor", "--json"],
    "memory listed": lambda s: ["memory", s.run.path, "--list", "planner"],
    "memory alike": lambda s: ["memory", s.run.path, "--like", f"some {OBEYED}"],
    "memory at a step": lambda s: ["memory", s.run.path, "--episode", "5:1"],
    "memory drawn": lambda s: ["memory", s.run.path, "--map", s.here / "map.svg"],
    "memory as a table": lambda s: ["memory", s.run.path, "--map", s.here / "map.csv"],
    "critic": lambda s: ["critic", s.run.path, "--states", "3", "--rollouts", "2"],
    "blame": lambda s: ["blame", s.run.path, "--episode", "2", "--draws", "2"],
    "compare": lambda s: ["compare", s.run.path],
    "compare as Markdown": lambda s: ["compare", s.run.path, "--markdown"],
    "compare as LaTeX": lambda s: ["compare", s.run.path, "--latex"],
    "diff": lambda s: ["diff", s.run.path, s.failed.path],
    "diff as JSON": lambda s: ["diff", s.run.path, s.failed.path, "--json"],
    "diff with an altered run": lambda s: ["diff", s.run.path, s.altered.path],
    "replay": lambda s: ["replay", s.run.path],
    "replay with a divergence": lambda s: ["replay", s.altered.path],
    "replay of every divergence": lambda s: ["replay", s.altered.path, "--all", "--json"],
    "replay of a prompt": lambda s: ["replay", s.run.path, "--prompt", "2:0:actor"],
    "verify": lambda s: ["verify", s.run.path],
    "verify of an altered run": lambda s: ["verify", s.altered.path],
    "resume": lambda s: ["resume", s.run.path],
    "env info": lambda s: ["env", "info", s.world],
    "env list": lambda s: ["env", "list", s.here],
    "env list as JSON": lambda s: ["env", "list", s.here, "--json"],
    "a run": lambda s: ["run", s.world, "--episodes", "2", "--set", "limit=3", "--dry-run"],
    "a run that is there": lambda s: ["run", s.world, "--set", "limit=5", "--out", s.run.path],
    "no address": lambda s: ["pull", f"s3://bucket/{OBEYED}"],
    "no run": lambda s: ["show", s.here / "nowhere", "0"],
    "no environment": lambda s: ["run", s.here / "nowhere"],
    "no option": lambda s: ["run", f"--{OBEYED}"],
    "no command": lambda s: [f"run{OBEYED}"],
    "no number": lambda s: ["run", "--episodes", f"3{OBEYED}"],
    "no agent": lambda s: ["run", "--agent", f"billp\n{OBEYED}"],
    "no setting": lambda s: ["run", "--set", f"planner.x{OBEYED}=3"],
    "no role": lambda s: ["show", s.run.path, "2:0", "--prompt", f"actor{OBEYED}"],
    "no listener": lambda s: ["run", "--listener", f"nowhere{OBEYED}:Class"],
    "a cache that is none": lambda s: ["cache", "stats", s.here],
}


@pytest.mark.parametrize("terminal", [False, True], ids=["in a pipe", "on a terminal"])
@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_lets_anything_be_obeyed(
    scene: Scene, capsys: pytest.CaptureFixture[str], name: str, terminal: bool
) -> None:
    words = COMMANDS[name](scene)
    if name == "trace export" and terminal:
        words[-1] = scene.here / "other tables"
    said = Shell(capsys, terminal=terminal).billp(*words)
    assert said.status == _status(name)
    assert said.out + said.err
    check(said.out + said.err, styled=terminal)


def test_titles_are_told_all_the_same(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    """With an escape in place of each character that would have been obeyed, and in a table."""
    out = Shell(capsys).fine("show", scene.run.path, "0")
    shown = "\\x1b[2J\\x1b]0;owned\\x07\\x1b[31;5m\\x9b2J\\x7f\\x08\\u202e\\u2066\\u200f\\u061c"
    assert f" {shown} {SPECIAL}" in out  # ends of lines are spaces to who reads the source
    head, *rest = out[out.index("step  item") :].splitlines()
    end = head.index("reward") + len("reward")
    rows = rest[: rest.index("")]
    assert len(rows) >= 2
    assert all(re.search(r" \d\.\d\d$", row[:end]) for row in rows)


def test_json_tells_the_same(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    """What stands in the trace, to the last character."""
    out = Shell(capsys).fine("trace", "cat", scene.run.path)
    lines = scene.run.trace.read_text(encoding="utf-8").split("\n")
    assert [*map(json.loads, out.splitlines())] == [json.loads(line) for line in lines if line]
    assert TURNED in json.dumps([*map(json.loads, out.splitlines())], ensure_ascii=False)


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_log_line_is_obeyed(capsys: pytest.CaptureFixture[str], form: Any) -> None:
    """Facts and tracebacks alike; a line of the log is a line, whatever it tells."""
    log_to_stderr(form, "info")
    log = structlog.get_logger()
    log.info(f"event {OBEYED}\nforged", path=Path(OBEYED), said=f"{NASTY}\nforged", many=[NASTY])
    once = capsys.readouterr().err
    assert once.count("\n") == 1
    check(once)
    log.error("broken", exc_info=ValueError(NASTY))
    check(capsys.readouterr().err)


def test_what_libraries_log_is_not_obeyed(scene: Scene) -> None:
    """They know nothing of our log, and write to standard error themselves."""
    code = f"""
import logging
from sim.commands.logs import log_to_stderr
log_to_stderr()
logging.getLogger("aiohttp.client").warning("no cookie: %s", {OBEYED!r})
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "no cookie" in said.stderr
    check(said.stderr)


BILLP = "import sys; sys.argv[0] = 'billp'; from sim.cli import main; main()"


def test_no_traceback_is_obeyed(scene: Scene) -> None:
    """--debug shows where an error was raised, and what it says."""
    words = ["show", str(scene.here / "nowhere"), "0", "--debug"]
    said = subprocess.run(
        [sys.executable, "-c", BILLP, *words], capture_output=True, text=True, check=False
    )
    assert said.returncode == 1
    assert "Traceback" in said.stderr
    assert "RunDirectoryError" in said.stderr
    check(said.stderr)


def test_a_true_terminal_gets_styles_and_nothing_else(scene: Scene) -> None:
    """On a terminal of its own, as users have it."""
    ours, theirs = pty.openpty()
    words = ["show", str(scene.run.path), "2:0"]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "200"}
    with subprocess.Popen(
        [sys.executable, "-c", BILLP, *words], stdout=theirs, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        heard = b""
        try:
            while part := os.read(ours, 65_536):
                heard += part
        except OSError:  # so a terminal says that nobody writes any more
            pass
        finally:
            os.close(ours)
    said = heard.decode().replace("\r\n", "\n")
    assert process.returncode == 0
    assert "\x1b[1m" in said  # bold
    check(said, styled=True)


# -- tables to paste elsewhere


@pytest.fixture
def labelled(scene: Scene) -> Any:
    """A comparison of groups whose labels are as nasty as they come."""
    found = compare([scene.run.path])
    groups = tuple(msgspec.structs.replace(group, label=f"{NASTY}\n") for group in found.groups)
    return msgspec.structs.replace(found, groups=groups, notes=(NASTY,))


def test_markdown_holds_a_label_as_text(labelled: Any) -> None:
    text = as_markdown(labelled)
    check(text)
    assert "<b>" not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [6] * 3 + [7] * 3
    assert "\\|\\`\\*\\_x\\_\\*&lt;b&gt;&amp;%\\$#\\{\\}\\~^\\\\\\\\n" in text


def test_latex_holds_a_label_as_text(labelled: Any) -> None:
    text = as_latex(labelled)
    check(text)
    label = text.split("\\midrule\n")[1].split(" & ")[0]
    assert "\\&\\%\\$\\#\\{\\}\\textasciitilde{}\\textasciicircum{}\\textbackslash{}" in label
    assert not re.search(r"(?<!\\)[&%$#_]", label.replace("$<$", "").replace("$>$", ""))


def test_a_spreadsheet_takes_no_record_for_a_formula() -> None:
    for text in ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1"):
        assert _cell(text).startswith("'")
    assert _cell("Take Puzzle.") == "Take Puzzle."
    assert _cell("\x1b[2Ja\nb") == "\\x1b[2Ja\nb"


def test_consoles_keep_their_own_styles(capsys: pytest.CaptureFixture[str]) -> None:
    """A style that we ask for is obeyed, one that a text holds is told."""
    console = plain()
    console._force_terminal = True
    with console.capture() as captured:
        console.print("\x1b[31;5mhello", style="bold")
    assert "\\x1b[31;5mhello" in captured.get()
    check(captured.get(), styled=True)
