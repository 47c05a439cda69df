"""Experiments on Slurm: scripts, tasks that die, and results that are those of one machine."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import ConfigError
from sim.config.layers import configured
from sim.config.run import Settings
from sim.experiments import experiment
from sim.experiments.experiment import Planned
from sim.experiments.slurm import script_of, shared
from tests.support.disks import Failing, on
from tests.support.dying import forked
from tests.support.shell import Shell

ROOT = Path(__file__).parents[3]
CELLS = ("--agents", "billp,random", "--seeds", "1,2", "--set", "limit=4")
TINY = (*CELLS, "--episodes", "4", "--test-episodes", "4")


@pytest.fixture
def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    """In a directory of its own, where sbatch is looked for in `bin` first."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return Shell(capsys)


def sbatch(text: str) -> None:
    """Put an sbatch in place that runs *text* in a shell."""
    path = Path("bin/sbatch")
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def script(**changed: str) -> str:
    out = Path(changed.get("out", "my out"))
    options = [changed["option"]] if "option" in changed else ["--partition=cpu"]
    return script_of(out, Path("/s/cells-0.txt"), 3, 2, options)


# -- scripts


def test_a_script_is_one_that_a_shell_reads() -> None:
    """All that sbatch is to know stands before the first command."""
    text = script(out="my 'own' out")
    subprocess.run(["sh", "-n"], input=text, text=True, check=True)
    head, _, commands = text.partition("cell=")
    assert head.count("#SBATCH") == text.count("#SBATCH") == 8
    assert "#SBATCH --array=0-2%2\n" in head
    assert "#SBATCH --partition=cpu\n" in head
    assert sys.executable in commands


@pytest.mark.parametrize(
    ("option", "what"),
    [
        ("partition=cpu", "begins with a dash"),
        ("--mem=1G\nrm -r x", "begins with a dash"),
        ("--array=0-9", "for billp to choose"),
    ],
)
def test_options_that_would_break_a_script_are_refused(option: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        script(option=option)


def test_a_name_that_sbatch_would_read_otherwise_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot stand in a script"):
        script(out='a"b')


def test_cells_with_limits_share_them(tmp_path: Path) -> None:
    """Those without have nothing to share, and who named a place keeps it."""
    asked: list[Settings] = [
        {"requests_per_minute": 60},
        {},
        {"tokens_per_minute": 9, "share_limits": "mine"},
    ]
    runs = shared([Planned(str(n), configured(one)) for n, one in enumerate(asked)], tmp_path)
    found = [run.config.share_limits for run in runs]
    assert found == [str(tmp_path / "leases"), "", "mine"]


# -- what is refused


def test_without_slurm_it_says_so(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one sentence, with exit status 2, and nothing is written."""
    monkeypatch.setenv("PATH", "bin")
    sentence, hint = shell.refusal("experiment", *TINY, "--slurm", "--out", "out")
    assert sentence == "there is no sbatch here, so no Slurm"
    assert "--slurm" in hint
    assert not Path("out").exists()


def test_what_sbatch_refuses_is_told_in_its_words(shell: Shell) -> None:
    sbatch("echo 'sbatch: error: invalid partition: cpux' >&2; exit 1")
    sentence, _ = shell.refusal("experiment", *TINY, "--slurm", "--out", "out")
    assert sentence.startswith("sbatch refused ")
    assert sentence.endswith("/array-0.sh: sbatch: error: invalid partition: cpux")


def test_a_place_that_cannot_be_written_is_refused(shell: Shell) -> None:
    sbatch("echo 1")
    Path("out").touch()
    sentence, _ = shell.refusal("experiment", *TINY, "--slurm", "--out", "out")
    assert sentence == "out: cannot be made: Not a directory"


def test_on_a_full_disk_nothing_is_submitted(shell: Shell) -> None:
    """What was written is whole, and the same command goes on."""
    sbatch("touch submitted; echo 1")
    with on(Failing(due=5, number=errno.ENOSPC, broken=True)):
        sentence, _ = shell.refusal("experiment", *TINY, "--slurm", "--out", "out")
    assert sentence.endswith("cannot be written: No space left on device")
    assert not Path("submitted").exists()
    assert shell.fine("experiment", *TINY, "--slurm", "--out", "out").startswith("Submitted 4 ")


def test_an_experiment_until_decided_is_refused(shell: Shell) -> None:
    sbatch("echo 1")
    sentence, _ = shell.refusal("experiment", *TINY, "--until", "decided", "--slurm")
    assert "until decided" in sentence


@pytest.mark.parametrize(
    ("options", "what"),
    [(("--slurm", "--merge"), "--merge compares"), (("--sbatch=--mem=1G",), "are for --slurm")],
)
def test_options_that_do_not_go_together_are_refused(
    shell: Shell, options: tuple[str, ...], what: str
) -> None:
    """Rather than that one of them counts for nothing."""
    sentence, _ = shell.refusal("experiment", *TINY, *options, "--out", "out")
    assert what in sentence
    assert not Path("out").exists()


def test_a_cell_that_there_is_not_is_refused(shell: Shell) -> None:
    """As where the shared directory is not what it was when the job was submitted."""
    sentence, _ = shell.refusal("experiment", "--out", "out", "--cell", "../x")
    assert sentence == "out: there is no cell '../x'"


def test_to_merge_what_is_not_done_names_it(shell: Shell) -> None:
    sbatch("echo 1")
    shell.fine("experiment", *TINY, "--slurm", "--out", "out")
    sentence, hint = shell.refusal("experiment", *TINY, "--merge", "--out", "out")
    assert sentence.startswith("4 of 4 runs are not done: billp-seed=1, billp-seed=2, random-s")
    assert "--slurm" in hint


# -- whole experiments


@pytest.mark.slow
def test_tasks_that_are_killed_change_nothing(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Submitted again they go on, and the results are, to the byte, those of one machine."""
    fake = f"exec {sys.executable} -P -m tests.support.slurm"
    sbatch(f'{fake} "$@"')
    monkeypatch.setenv("KILLED", "0 1")
    told = shell.fine("experiment", *TINY, "--slurm", "--out", "out")
    assert told.startswith("Submitted 4 runs as 4242; 0 were done already.")
    monkeypatch.setenv("KILLED", "")
    told = shell.fine("experiment", *TINY, "--slurm", "--out", "out")
    assert told.startswith("Submitted 2 runs as 4242; 2 were done already.")
    shell.fine("experiment", *TINY, "--merge", "--out", "out")
    Path("out").rename("by-slurm")
    on_this_machine(shell, "out")
    for name in ("report.json", "report.md", *traces("out")):
        assert Path("by-slurm", name).read_bytes() == Path("out", name).read_bytes(), name


@pytest.mark.slow
def test_a_bad_cell_fails_alone(shell: Shell) -> None:
    """All others are done; what it said stands in its log, and it is the one that is named."""
    sbatch(f'exec {sys.executable} -P -m tests.support.slurm "$@"')
    Path("out/billp-seed=2").mkdir(parents=True)
    Path("out/billp-seed=2/stranger.txt").touch()
    shell.fine("experiment", *TINY, "--slurm", "--out", "out")
    sentence, _ = shell.refusal("experiment", *TINY, "--merge", "--out", "out")
    assert sentence == "1 of 4 runs are not done: billp-seed=2"
    assert Path("out/slurm/cells-0-1.log").read_text().startswith("billp: out/billp-seed=2")


@pytest.mark.slow
def test_a_cell_that_was_damaged_is_not_compared(shell: Shell) -> None:
    """To merge is to verify each run first."""
    on_this_machine(shell, "out")
    path = Path("out/random-seed=1/trace.jsonl")
    path.write_bytes(path.read_bytes().replace(b'"reward":', b'"reward": ', 1))
    sentence, hint = shell.refusal("experiment", *TINY, "--merge", "--out", "out")
    assert sentence.startswith("1 of 4 runs are damaged: random-seed=1")
    assert "billp verify out/random-seed=1" in hint


def on_this_machine(shell: Shell, out: str) -> None:
    """Do the experiment here, in processes forked from a warm one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "_process", forked)
        shell.fine("experiment", *TINY, "--out", out)


def traces(out: str) -> list[str]:
    return [f"{path.parent.name}/trace.jsonl" for path in Path(out).glob("*/trace.jsonl")]
