"""Logs as lines of JSON."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import IO

from atdata.records.record import datetime_text
from atdata.redaction import redacted


class JsonLines(logging.Formatter):
    """A line of JSON for each record, with the facts in its `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        said = {
            "time": datetime_text(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redacted(record.getMessage()),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            said["traceback"] = redacted("".join(traceback.format_exception(*record.exc_info)))
        return json.dumps(said, default=str)


def log_lines(stream: IO[str] | None = None, level: int = logging.INFO) -> None:
    """Write what the AppView and its server log to a stream, standard error by default."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    for name in ("atdata.appview", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level if name == "atdata.appview" else logging.WARNING)
