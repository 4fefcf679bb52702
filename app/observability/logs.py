"""Structured logs: one JSON object a line, with the ids by which an event is found again. Never content.

`request` is the X-Request-Id of the answer, `actor` and `org` who asked, `door` the route; events add `report`, `alerts`, `task`.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from app.persistence.trail import current

FIELDS = ("report", "alerts", "alert", "task", "topic", "outcome", "status", "ms", "import_id")
ACCESS = logging.getLogger("nps.access")


class JsonLines(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        trace = current()
        if trace is not None:
            found = {"request": trace.request_id, "actor": trace.actor, "org": trace.org_id, "door": trace.door}
            line |= {name: value for name, value in found.items() if value}
        line |= {name: value for name in FIELDS if (value := getattr(record, name, None)) is not None}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def configure(*, as_json: bool, verbose: bool) -> None:
    """Logs of this process to standard error: JSON lines with every event, or text with warnings (`verbose`: everything)."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if as_json else logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.INFO if verbose or as_json else logging.WARNING, handlers=[handler], force=True)
    # httpx writes every URL at INFO; a webhook's address is its owner's secret
    logging.getLogger("httpx").setLevel(logging.WARNING)
    for quiet in ("apscheduler", "alembic"):
        logging.getLogger(quiet).setLevel(logging.WARNING)
