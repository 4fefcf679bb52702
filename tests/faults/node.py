"""Processes of the service that a test may kill: a mould that has loaded everything once and forks a node in milliseconds.

`python -m tests.faults.node` reads one JSON object a line, `{"role": "serve"|"worker", "url", "port", "die", "lease"}`, forks a
node that does what `nps serve` or `nps worker` does, and prints its process id. `die` names the moment at which the node kills
itself with SIGKILL: `before-commit` and `after-commit` of a report, `before-send` and `after-send` of an alert. `lease` shortens
the lease, in seconds, where a test would have to wait a minute for each.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from datetime import datetime
from typing import Any

import uvicorn
from sqlalchemy import event
from sqlalchemy.engine import Engine

from alerts.channels.webhook import WebhookChannel
from app.chemistry import Chemistry
from app.context import AppContext
from app.main import create_app
from app.persistence import claims, outbox
from app.persistence.session import Database
from app.settings import Settings
from app.worker import run_until_stopped
from chem.values import Structure, StructureFormat

SECRET = "for the fault suite only"


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at_commit(engine: Engine, *, before: bool) -> None:
    """The process ends at the commit of the first report: just before it, or just after, before anybody hears."""

    @event.listens_for(engine, "before_cursor_execute")
    def note(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT INTO report "):
            connection.info["report"] = True

    commit = engine.dialect.do_commit

    def do_commit(dbapi_connection: Any) -> None:
        marked = dbapi_connection.info.get("report")
        if marked and before:
            die()
        commit(dbapi_connection)
        if marked:
            die()

    engine.dialect.do_commit = do_commit  # type: ignore[method-assign]


def die_at_send(*, before: bool) -> None:
    send = WebhookChannel.send

    def dying(self: WebhookChannel, url: str, message_id: str, body: bytes, secrets: Any, at: datetime) -> Any:
        if b'"type":"alert.' not in body[:40]:
            return send(self, url, message_id, body, secrets, at)
        if before:
            die()
        receipt = send(self, url, message_id, body, secrets, at)
        die()
        return receipt

    WebhookChannel.send = dying  # type: ignore[method-assign]


def context_of(url: str, chemistry: Chemistry | None = None) -> AppContext:
    """The context of a node over this database."""
    settings = Settings(DATABASE_URL=url, NPS_SECRET_KEY=SECRET, EGRESS_ALLOW="127.0.0.1/32:*")
    database = Database(url, pool_size=10)
    return AppContext(settings=settings, database=database, secret=settings.secret(), chemistry=chemistry)


def run(order: dict[str, Any], chemistry: Chemistry) -> None:
    """Be the node until killed."""
    context = context_of(order["url"], chemistry)
    settings, database = context.settings, context.database
    outbox.LEASE_SECONDS = claims.LEASE_SECONDS = order.get("lease") or outbox.LEASE_SECONDS
    moment = order.get("die") or ""
    if moment.endswith("-commit"):
        die_at_commit(database.engine, before=moment.startswith("before"))
    elif moment.endswith("-send"):
        die_at_send(before=moment.startswith("before"))
    if order["role"] == "worker":
        run_until_stopped(context)
    else:
        app = create_app(settings, context=context, run_worker=bool(order.get("worker", True)))
        uvicorn.run(app, host="127.0.0.1", port=order["port"], access_log=False, log_level="critical")


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead are not waited for
    logging.basicConfig(level=os.environ.get("NPS_NODE_LOG", "CRITICAL"))
    chemistry = Chemistry(workers=0)
    chemistry.identify(Structure(format=StructureFormat.SMILES, text="CCO"))
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            try:
                run(order, chemistry)
            finally:
                os._exit(0)
        print(child, flush=True)


if __name__ == "__main__":
    main()
