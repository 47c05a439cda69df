"""What is logged, and how: in words for people, or a JSON object a line for machines."""

import sys
from typing import Literal, TypeAlias

import structlog

LogFormat: TypeAlias = Literal["text", "json"]
LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]


def log_to_stderr(form: LogFormat = "text", level: LogLevel = "warning") -> None:
    """Let everything of *level* and above be logged; standard output is for what was asked for."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            *(_words() if form == "text" else _objects()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


def _words() -> list[structlog.typing.Processor]:
    return [
        structlog.processors.TimeStamper("%H:%M:%S", utc=False),
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            exception_formatter=structlog.dev.plain_traceback,  # without everybody's variables
        ),
    ]


def _objects() -> list[structlog.typing.Processor]:
    return [
        structlog.processors.TimeStamper("iso", utc=True),
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(ensure_ascii=False),
    ]
