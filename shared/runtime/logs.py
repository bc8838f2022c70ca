"""The one seam where logging is configured: one JSON object a line, on standard error.

No citizen, DID, value or note is ever logged: callers log names of services, reasons and counts.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import msgspec

# structlog imports rich, if it is there, to draw exceptions on a terminal, which we do not; that takes
# 0.07 s of processor time in every process (2026-11), as much as all the rest of structlog
_rich_is_wanted = "rich" in sys.modules
if not _rich_is_wanted:
    sys.modules["rich"] = None  # type: ignore[assignment]
import structlog  # noqa: E402

if not _rich_is_wanted:
    del sys.modules["rich"]

get_logger = structlog.get_logger


def _render(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    return msgspec.json.encode(event, enc_hook=repr).decode()


class _Forward(logging.Handler):
    """Warnings of libraries, in the same form."""

    def emit(self, record: logging.LogRecord) -> None:
        # the exception's text stays out: a library may quote what a client sent
        kind = record.exc_info[0] if record.exc_info else None
        structlog.get_logger().warning(
            "library warning",
            library=record.name,
            level_name=record.levelname,
            text=record.getMessage(),
            error=None if kind is None else kind.__name__,
        )


def configure(service: str, instance: str) -> structlog.typing.FilteringBoundLogger:
    """Set logging up for this process; returns its logger, bound to service and instance."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            structlog.processors.format_exc_info,
            _render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers[:] = [_Forward()]
    root.setLevel(logging.WARNING)
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger().bind(
        service=service, instance=instance
    )
    return logger
