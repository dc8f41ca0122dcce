"""Structured log lines: an action and its facts, as JSON for machines or as text for people.

Lines are for the operator and may be lost; what must be known later is an event in the ledger.
"""

from __future__ import annotations

import logging
from typing import Literal, TextIO

import msgspec

from varv.kernel.clock import Clock, iso

Format = Literal["json", "text"]


def log(logger: logging.Logger, level: int, action: str, **facts: object) -> None:
    """Write one line: `action`, such as ``"command.retried"``, and what it was about."""
    if logger.isEnabledFor(level):
        logger.log(level, action, extra={"facts": facts})


class Lines(logging.Formatter):
    """Formats records of `log`, and those of other libraries, one line each.

    Examples
    --------
    >>> from varv.kernel.clock import VirtualClock, instant
    >>> lines = Lines("text", VirtualClock(instant("2013-02-01")))
    >>> told = {"levelname": "INFO", "msg": "model.promoted", "facts": {"version": 7}}
    >>> lines.format(logging.makeLogRecord(told))
    '2013-02-01T00:00:00Z INFO    model.promoted version=7'
    """

    def __init__(self, form: Format, clock: Clock) -> None:
        super().__init__()
        self._form, self._clock = form, clock

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of one record."""
        at, action, facts = iso(self._clock.now()), record.getMessage(), getattr(record, "facts", {})
        if record.exc_info and record.exc_info[0] is not None:
            facts = {**facts, "exception": self.formatException(record.exc_info)}
        if self._form == "json":
            line = {
                "at": at,
                "level": record.levelname.lower(),
                "action": action,
                "logger": record.name,
                **facts,
            }
            return msgspec.json.encode(line, enc_hook=str).decode()
        told = "".join(f" {key}={value}" for key, value in facts.items())
        return f"{at} {record.levelname:<7} {action}{told}"


ACCESS = "varv.access"
"""The logger of requests that were answered."""


def start_access_log(stream: TextIO, clock: Clock) -> None:
    """Send a line for each request that is logged to `stream`, always as JSON: nobody reads them one by
    one.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Lines("json", clock))
    logger = logging.getLogger(ACCESS)
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


def start_logging(form: Format, stream: TextIO, clock: Clock, *, level: int = logging.INFO) -> None:
    """Send the lines of varv at `level` and above to `stream`; calling again replaces the earlier choice."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Lines(form, clock))
    root = logging.getLogger("varv")
    root.handlers[:] = [handler]
    root.setLevel(level)
    root.propagate = False
