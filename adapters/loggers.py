"""Logging: structlog, and everything that logs by the standard library through it.

Lines for people on a terminal, JSON elsewhere, on stderr, so that stdout stays a command's own.
"""

import logging
import os
import sys
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

from streamwf.logs import fields_here

#: They tell each of their inner steps at info; that is of use only to whoever debugs. Faust logs by
#: the module of a class, and some of its classes have theirs in `streamwf.agents`.
NOISY = ("aiokafka", "alembic", "faust", "mode", "kafka", "streamwf.agents")


def add_run(logger: Any, method: str, line: EventDict) -> EventDict:
    """Let a line that is logged in a step, timeout, callback or hook say which run it is about.

    A processor, for programs that configure structlog themselves. What a line says itself counts.
    """
    return {**fields_here(), **line}


class RunFilter(logging.Filter):
    """The same for handlers of the standard library: the fields become attributes of the line."""

    def filter(self, record: logging.LogRecord) -> bool:
        for name, value in fields_here().items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


def configure(level: str) -> None:
    """Log from `level` on: debug, info, warning or error. A later call replaces an earlier one."""
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        add_run,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_rendering(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(number)
    for name in NOISY:
        quiet = number if level == "debug" else max(number, logging.WARNING)
        logging.getLogger(name).setLevel(quiet)


def _rendering() -> list[Processor]:
    if sys.stderr.isatty():
        colors = not os.environ.get("NO_COLOR")
        return [
            structlog.dev.ConsoleRenderer(
                colors=colors,
                timestamp_key="time",
                # Others show the variables of each frame, whatever they hold.
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
    return [
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    ]
