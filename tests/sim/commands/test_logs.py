"""The log: in words or as JSON, a line for what matters, and calls only for who debugs."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.lacking import without
from tests.support.shell import Shell


@pytest.fixture
def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell(capsys)


@pytest.fixture
def logged(shell: Shell) -> Any:
    def run(*options: str) -> list[dict[str, Any]]:
        said = shell.billp("run", "--episodes", "3", "--out", "run", *options)
        assert said.status == 0, said
        return [json.loads(line) for line in said.err.splitlines()]

    return run


def test_json_is_all_there_is_on_standard_error(logged: Any) -> None:
    """The bar is gone; who reads the log reads JSON."""
    events = Counter(line["event"] for line in logged("--log-format", "json", "--json"))
    assert events == {"run started": 1, "episode started": 3, "episode ended": 3, "run ended": 1}


def test_calls_are_logged_for_who_debugs(logged: Any) -> None:
    lines = logged("--log-format", "json", "--log-level", "debug")
    (ended,) = [line for line in lines if line["event"] == "run ended"]
    calls = [line for line in lines if line["event"] == "call ended"]
    assert len(calls) == ended["calls"] > 0
    assert {line["level"] for line in calls} == {"debug"}


def test_only_warnings_are_logged_unless_asked(shell: Shell) -> None:
    said = shell.billp("run", "--episodes", "3", "--out", "run", "--quiet")
    assert (said.status, said.out, said.err) == (0, "", "")


def test_words_are_for_people(shell: Shell) -> None:
    said = shell.billp("run", "--episodes", "3", "--out", "run", "--quiet", "--log-level", "info")
    assert "run ended" in said.err
    assert "call ended" not in said.err


def test_telemetry_without_its_extra_is_said(shell: Shell) -> None:
    """One sentence, with the command that helps."""
    with without("sim.views.telemetry", "opentelemetry.context"):
        sentence, hint = shell.refusal("run", "--otel")
    assert sentence.startswith("--otel needs the extra otel")
    assert hint == "pip install 'billp[otel]'"


def test_metrics_without_their_extra_are_said(shell: Shell) -> None:
    with without("sim.views.prometheus", "prometheus_client"):
        sentence, hint = shell.refusal("run", "--prometheus-port", "0")
    assert sentence.startswith("--prometheus-port needs the extra prometheus")
    assert hint == "pip install 'billp[prometheus]'"
