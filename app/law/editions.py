"""Which editions of the law this installation has worked with, kept so that a later reader can tell."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.persistence.models import ScheduleEdition
from chem.engine import Engine
from chem.values import InstrumentInfo, to_json


def note_editions(session: Session, engine: Engine, now: datetime) -> int:
    """Record the editions of this engine that are not on file yet; gives how many were new."""
    known = set(session.scalars(select(ScheduleEdition.content_sha256)))
    new = 0
    for info in engine.instruments():
        digest = content_hash(engine, info, now)
        if digest in known:
            continue
        session.add(
            ScheduleEdition(
                instrument=info.id,
                edition=info.editions[-1].id[:40] if info.editions else "",
                content_sha256=digest,
                entries=info.entries,
                source=info.source,
                loaded_at=now,
            )
        )
        new += 1
    return new


def content_hash(engine: Engine, info: InstrumentInfo, now: datetime) -> str:
    """SHA-256 over editions, rules and every entry of an instrument, in hexadecimal."""
    content = to_json([info, engine.entries(info.id, as_of=now.date())])
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
