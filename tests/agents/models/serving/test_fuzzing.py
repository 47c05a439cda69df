"""The service of our own against whatever fits its description, and what just does not fit."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from agents.embeddings import hashed
from agents.models.embedded import EmbeddedModel
from agents.models.serving.faults import Faults
from agents.models.serving.server import Behaviour, Server
from tests.support.served import served

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("schemathesis") is None,
        reason="schemathesis is not there: pip install -e '.[slow]'",
    ),
]

# A body that has too much of something may be too big before anybody looks into it. A schema is
# JSON, but the embedded model follows only those of its roles.
CHECKS = """
[checks.negative_data_rejection]
expected-statuses = [400, 401, 404, 405, 413, 415]

[[operations]]
include-path = "/chat/completions"
checks.positive_data_acceptance.expected-statuses = [200, 400]

[[operations]]
include-path = "/responses"
checks.positive_data_acceptance.expected-statuses = [200, 400]

# In a form all is text: what is of another type cannot be told from it.
[[operations]]
include-path = "/files"
checks.negative_data_rejection.expected-statuses = [200, 400, 401, 404, 405, 413, 415]
"""
SHOWN_ON_PURPOSE = {"error": 0.1, "unavailable": 0.1, "rate_limit": 0.1, "rate_limit_told": 0.1}


def fuzzed(directory: Path, behaviour: Behaviour, *options: str) -> tuple[int, str]:
    """Return the exit status of the fuzzer, and what it says; the same examples every time."""
    config = directory / "schemathesis.toml"
    config.write_text(CHECKS)
    server = Server(
        EmbeddedModel(),
        behaviour,
        names=("embedded", "hashing"),
        embed=lambda text: hashed(text.splitlines()).tolist(),
    )
    with served(server) as service:
        words = [
            sys.executable,
            "-m",
            "schemathesis.cli",
            "--config-file",
            str(config),
            "--no-color",
        ]
        words += ["run", f"{service.url}/openapi.json", "--url", service.url]
        words += ["--generation-deterministic", "--max-examples", "60", "--request-timeout", "20"]
        done = subprocess.run(
            [*words, *options], cwd=directory, capture_output=True, text=True, check=False
        )
    return done.returncode, "\n".join(line[:1_000] for line in done.stdout.splitlines()[-200:])


def test_every_answer_is_as_described(tmp_path: Path) -> None:
    """No 5xx; statuses, forms and contents as told; what does not fit is refused."""
    status, said = fuzzed(tmp_path, Behaviour(), "--checks", "all")
    assert status == 0, said


def test_a_key_is_asked_for_everywhere(tmp_path: Path) -> None:
    """With the key as without one."""
    key = "--header=Authorization: Bearer sk-right"
    status, said = fuzzed(tmp_path, Behaviour(key="sk-right"), "--checks", "all", key)
    assert status == 0, said


def test_faults_and_limits_are_as_described_too(tmp_path: Path) -> None:
    behaviour = Behaviour(
        faults=Faults(rates=SHOWN_ON_PURPOSE), requests_per_minute=500, tokens_per_minute=1e6
    )
    checks = "status_code_conformance,content_type_conformance,response_schema_conformance"
    status, said = fuzzed(tmp_path, behaviour, "--checks", f"{checks},response_headers_conformance")
    assert status == 0, said
