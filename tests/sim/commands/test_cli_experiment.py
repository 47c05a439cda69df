"""`billp experiment`: what is wrong with a file is told by its name."""

from pathlib import Path

import pytest

from tests.support.shell import Shell


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('protocol = "x"', "protocol: expected one of frozen, paper, curve, got 'x'"),
        ('seeds = ["a"]', "seeds: expected int, got ['a']"),
        ('until = "x"', "until: expected one of decided, got 'x'"),
        ('agents = ["bilp"]', "there is no agent 'bilp'"),
        ("[settings]\nepisods = 3", "there is no setting 'episods'"),
        ("agent = 1", "there is no setting 'agent' of experiments"),
    ],
)
def test_a_wrong_file_is_named_with_what_may_stand_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, what: str
) -> None:
    """In one sentence, and a hint."""
    file = tmp_path / "mine.toml"
    file.write_text(text)
    said = Shell(capsys).billp("experiment", file)
    assert said.status == 2
    error, hint = said.err.splitlines()
    assert error == f"billp: {file}: {what}"
    assert hint.strip()


def test_a_wrong_option_is_not_the_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever typed it knows where it is."""
    (tmp_path / "mine.toml").write_text("seeds = [1]")
    said = Shell(capsys).billp("experiment", tmp_path / "mine.toml", "--agents", "bilp")
    assert said.err.startswith("billp: there is no agent 'bilp'")
