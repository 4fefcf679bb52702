"""Writers of one process to the embedded database go in turn, and what carries alerts on waits for one other at most."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from sqlalchemy import text

from app.persistence.session import Database


def test_what_carries_alerts_on_has_each_second_turn(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'x.sqlite'}")
    order: list[str] = []

    def write(name: str) -> None:
        with database.write(ahead=name.startswith("ahead")) as session:
            session.execute(text("SELECT 1"))
            order.append(name)

    threads = [threading.Thread(target=write, args=(name,)) for name in ("other 1", "other 2", "ahead 1", "ahead 2", "ahead 3")]
    with database.write() as session:
        session.execute(text("SELECT 1"))
        for number, thread in enumerate(threads):
            thread.start()
            while database.turns.waiting <= number:
                time.sleep(0.001)
    for thread in threads:
        thread.join(10)
    database.dispose()
    assert order == ["ahead 1", "other 1", "ahead 2", "other 2", "ahead 3"]
