"""What long work asks between its steps."""

from __future__ import annotations

import pytest

from alerts import outbox
from alerts.outbox import TaskItem, keeper


def test_a_lease_is_renewed_once_it_is_old_and_its_loss_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    now, answers = [100.0], [True, True, False]
    asked: list[float] = []
    task = TaskItem(id="t", topic="import", key="k", lane="import", payload={}, attempts=0, crashes=0, token="x", probe=False)
    monkeypatch.setattr(outbox.time, "monotonic", lambda: now[0])

    def renew(of: TaskItem) -> bool:
        assert of is task
        asked.append(now[0])
        return answers.pop(0)

    held = keeper(task, renew)
    for seconds, expected in ((0, True), (15, True), (1, True), (15, True), (5, True), (16, False)):
        now[0] += seconds
        assert held() is expected
    assert asked == [116.0, 136.0, 152.0]
