"""What other slices call: alerts raised with a report, and what follows a correction. Nothing here commits.

Intake calls `raise_alerts` in the transaction that stores a report or a new version of it, then, for a correction or a
withdrawal, `reevaluate`. Both enqueue the tasks that carry what they wrote; after the commit the caller wakes the worker
(`context.wake_worker()`).
"""

from __future__ import annotations

from app.notifications.corrections import reevaluate, retract
from app.notifications.decisions import answer, approvals_needed, approve, close, note_seen
from app.notifications.notices import note_import
from app.notifications.raising import RELEASE, raise_alerts

__all__ = [
    "RELEASE",
    "answer",
    "approvals_needed",
    "approve",
    "close",
    "note_import",
    "note_seen",
    "raise_alerts",
    "reevaluate",
    "retract",
]
