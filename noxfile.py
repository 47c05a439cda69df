"""What is run again and again, each by a name: `pip install nox`, then `nox -s fast`.

fast   under a minute, before every commit: ruff, mypy, import-linter, and the tests in `_QUICK`
all    what README tells everybody to run, and the slow tests
bench  the benchmarks
docs   the API pages, made of the docstrings, in .docs
"""

import nox

nox.options.sessions = ["fast"]
nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True

_QUICK = ["tests/engine", "tests/agents/billp", "tests/sim/config", "tests/sim/runs/test_golden.py"]
_CROWDS = "tests/agents/models/serving/test_crowds.py"  # measures memory, so it wants to be alone


@nox.session
def fast(session: nox.Session) -> None:
    """Look at the form of everything, and at the laws of the kernel."""
    session.install("-e", ".[test]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports")
    session.run("pytest", "-q", "-n", "auto", *_QUICK)


@nox.session(name="all")
def everything(session: nox.Session) -> None:
    """Run every test."""
    session.install("torch==2.13.0")  # named, or it may be one for GPUs
    session.install("-e", ".[learn]")
    session.run("pytest", "-n", "auto")
    session.run("pytest", "-n", "auto", "-m", "slow", "--ignore", _CROWDS)
    session.run("pytest", "-m", "slow", _CROWDS)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure."""
    session.install("-e", ".[test]")
    session.run("pytest", "tests/bench", "-s")


@nox.session
def docs(session: nox.Session) -> None:
    """Make the API pages."""
    session.install("torch==2.13.0")
    session.install("-e", ".[docs,learn]")
    session.run("python", "-W", "error", ".ci/pages.py", ".docs")
