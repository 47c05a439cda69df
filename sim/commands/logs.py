"""What is logged, and how: in words for people, or a JSON object a line for machines."""

import logging
import sys
from collections.abc import MutableMapping
from io import StringIO
from typing import Any, Literal, TextIO, TypeAlias

import structlog

from engine.text import visible, visible_json
from sim.views.console import holds_all

LogFormat: TypeAlias = Literal["text", "json"]
LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]


def log_to_stderr(form: LogFormat = "text", level: LogLevel = "warning") -> None:
    """Let everything of *level* and above be logged; standard output is for what was asked for."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            *(_words() if form == "text" else _objects()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
    if logging.lastResort is not None:  # what libraries log, who know nothing of ours
        logging.lastResort.setFormatter(_Visibly())


class _Visibly(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record), lines=True)


def _words() -> list[structlog.typing.Processor]:
    return [
        structlog.processors.TimeStamper("%H:%M:%S", utc=False),
        _visibly,
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            exception_formatter=_traceback,
        ),
    ]


def _visibly(
    logger: object, method: str, facts: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Make what is told visible; the renderer's colours come later."""
    for name, fact in facts.items():
        if name != "exc_info" and isinstance(fact, str):
            # A traceback that is text already, as those of ours are, has lines.
            facts[name] = visible(fact, lines=name == "exception")
    return facts


def _traceback(file: TextIO, error: structlog.typing.ExcInfo) -> None:
    text = StringIO()
    structlog.dev.plain_traceback(text, error)  # without everybody's variables
    file.write(visible(text.getvalue(), lines=True))


def _objects() -> list[structlog.typing.Processor]:
    return [
        structlog.processors.TimeStamper("iso", utc=True),
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(ensure_ascii=False),
        _visible_line,
    ]


def _visible_line(logger: object, method: str, line: Any) -> str:
    return visible_json(str(line), ascii_only=not holds_all(sys.stderr))
