"""The operator sends a dead letter again by hand; what a hostile receiver said is inert."""

from __future__ import annotations

from pathlib import Path

from app.persistence.models import Attempt, Task
from tests.factories import NOW
from tests.site import client_of, make_site, sign_in, token_in

HOSTILE = "<script>alert(1)</script><form action='https://evil.example'><h1>Sign in again</h1>"


def test_a_dead_letter_is_sent_again_and_a_hostile_answer_is_text(tmp_path: Path) -> None:
    app = make_site(tmp_path)
    context = app.state.context
    with context.database.write() as session:
        for n in range(2):
            session.add(
                Task(
                    id=f"01JDDEAD0000000000000000{n:02d}", topic="remind", key=f"x{n}", lane="remind", priority=0, state="dead",
                    run_at=NOW, payload={}, attempts=12, crashes=0, created_at=NOW, done_at=NOW, last_error="500 <b>no</b>",
                )
            )  # fmt: skip
            session.flush()
            session.add(
                Attempt(
                    task_id=f"01JDDEAD0000000000000000{n:02d}", n=12, started_at=NOW, ended_at=NOW, outcome="failed", status=500,
                    latency_ms=20, response=HOSTILE, worker="w",
                )
            )  # fmt: skip
    client = client_of(app)
    sign_in(client, "analyst.at@example.org")
    page = client.get("/ops").text
    assert "Send all 2 again" in page
    assert "<script>alert" not in page
    assert "evil.example&#39;" in page
    assert "<h1>Sign in again" not in page
    form = {"csrf_token": token_in(page)}
    refused = client.post("/ops/dead/01JDDEAD000000000000000000/cancel", data=form)
    assert refused.status_code == 422
    assert "Cancelling needs a reason" in refused.text
    sent = client.post("/ops/dead/01JDDEAD000000000000000000/again", data=form)
    after = client.get(sent.headers["location"]).text
    assert "Sent again: remind x0; attempt 12 failed (500), 24 Nov 2026, 12:00 UTC; attempt 13 is due 24 Nov 2026, 12:00" in after
    assert "Send all 1 again" in after
    assert "/ops/dead/01JDDEAD000000000000000000/again" not in after  # it has left the list
    with context.database.write() as session:
        session.add(
            Attempt(
                task_id="01JDDEAD000000000000000000", n=13, started_at=NOW, ended_at=NOW, outcome="delivered", status=200,
                latency_ms=20, response="", worker="w",
            )
        )  # fmt: skip
        session.get_one(Task, "01JDDEAD000000000000000000").state = "done"
    now = client.get(sent.headers["location"]).text
    assert "Sent again: remind x0; attempt 13 delivered (200), 24 Nov 2026, 12:00 UTC." in now
    assert "Sent again" not in client.get("/ops?task=01JDDEAD0000000000000000ZZ").text
    with context.database.write() as session:
        session.get_one(Task, "01JDDEAD000000000000000000").state = "ready"
    client.post("/ops/dead/01JDDEAD000000000000000001/cancel", data={**form, "reason": "the partner left"})
    with context.database.read() as session:
        states = {task.key: (task.state, task.last_error) for task in session.query(Task).filter(Task.topic == "remind")}
    assert states["x0"][0] == "ready"
    assert states["x1"][0] == "cancelled"
    assert "the partner left" in (states["x1"][1] or "")
    assert client.post("/ops/dead/01JDDEAD000000000000000001/again", data=form).status_code == 404
    lab = client_of(app)
    sign_in(lab, "lab.de@example.org")
    assert lab.get("/ops").status_code == 403
