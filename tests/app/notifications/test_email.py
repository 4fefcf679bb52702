"""E-mail through a real SMTP server on loopback whose replies a test scripts."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable, Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from sqlalchemy import select, update

from alerts.channels.smtp import SmtpChannel, parse_relay
from alerts.channels.webhook import WebhookChannel
from alerts.values import Scope
from app.persistence.models import Attempt, Subscription, Task
from app.worker import Worker


def plain(message: Any) -> str:
    """The plain text of an e-mail, which comes first; the HTML says the same."""
    first, second = message.iter_parts()
    assert (first.get_content_type(), second.get_content_type()) == ("text/plain", "text/html")
    text: str = first.get_content()
    return text


class Mailbox:
    """Keeps what was accepted; `reply` may refuse a recipient."""

    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []
        self.reply: Callable[[str], str] = lambda address: "250 OK"
        self.after_data = "250 OK"
        self.hang_seconds = 0.0

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        answer = self.reply(address)
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        assert len(envelope.rcpt_tos) == 1
        if self.after_data.startswith("250"):
            message = message_from_bytes(envelope.content, policy=policy.default)
            assert isinstance(message, EmailMessage)
            self.messages.append(message)
        if self.hang_seconds:
            await asyncio.sleep(self.hang_seconds)
        return self.after_data


@pytest.fixture
def mailbox() -> Iterator[tuple[Mailbox, str]]:
    box = Mailbox()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    yield box, f"smtp://127.0.0.1:{port}?from=alerts@nps.example"
    controller.stop()


class Post:
    """A world with a mail server, worked off by hand."""

    def __init__(self, context: Any, world: Any, client: Any, store_report: Any, box: Mailbox) -> None:
        self.context, self.world, self.client, self.store_report, self.box = context, world, client, store_report, box
        self.worker = Worker(context, schedule=False)

    def subscribe(self, headers: dict[str, str], address: str, **wish: Any) -> str:
        made = self.client.post("/v1/subscriptions", headers=headers, json={"channel": "email", "address": address, **wish})
        assert made.status_code == 201, made.text
        self.worker.run_due()
        link = re.search(r"http\S+/confirm/\S+", plain(self.box.messages[-1]))
        assert link is not None
        path = link.group().removeprefix("http://127.0.0.1:8000")
        assert self.client.get(path).status_code == 200
        assert self.client.get(f"/v1/subscriptions/{made.json()['id']}", headers=headers).json()["state"] == "unverified"
        assert self.client.post(path).status_code == 200
        assert self.client.post(path).status_code == 404
        self.box.messages.clear()
        identifier: str = made.json()["id"]
        return identifier


@pytest.fixture
def post(faults_database: Any, make_live_context: Any, make_world_of: Any, mailbox: Any) -> Post:
    box, url = mailbox
    context = make_live_context(faults_database, smtp_url=url)
    world, client, _, store_report = make_world_of(context)
    return Post(context, world, client, store_report, box)


def test_an_alert_and_its_update_form_one_thread_with_the_label_all_over(post: Post) -> None:
    headers = post.world.key(post.world.org("authority"))
    post.subscribe(headers, "alerts@authority.example", tlp_max="AMBER")
    (alert_id,) = post.store_report(post.world.lab, post.world.substance(), first_in=Scope.REGION, tlp="AMBER")
    post.worker.run_due()
    analyst = post.world.key(post.world.org("operator"))
    assert post.client.post(f"/v1/alerts/{alert_id}/approve", headers=analyst).status_code == 200
    post.worker.run_due()

    first, second = post.box.messages
    assert first["Subject"].startswith("[TLP:AMBER] [Severe] N-pyrrolidino isotonitazene: first report in Europe")
    lines = plain(first).strip().splitlines()
    assert (lines[0], lines[-1]) == ("TLP:AMBER", "TLP:AMBER")
    assert "Unreviewed" in plain(first)
    assert "Unreviewed" not in plain(second)
    assert second["References"] == first["Message-ID"]
    assert first["To"] == "alerts@authority.example"


def test_red_is_a_notice_with_a_link_only(post: Post) -> None:
    post.subscribe(post.world.key(post.world.org("authority")), "a@authority.example", tlp_max="AMBER")
    (alert_id,) = post.store_report(post.world.lab, post.world.substance(), first_in=Scope.REGION, tlp="RED")
    post.worker.run_due()
    (message,) = post.box.messages
    text = message["Subject"] + plain(message)
    assert "isotonitazene" not in text
    assert "Germany" not in text
    assert f"/alerts/{alert_id}" in text


def test_notices_wait_for_the_weekly_digest(post: Post) -> None:
    from app.notifications.mailing import enqueue_digests

    post.subscribe(post.world.key(post.world.org("authority")), "a@authority.example")
    for number in range(3):
        post.store_report(post.world.lab, post.world.substance(f"s{number}", group="other"), first_in=Scope.COUNTRY)
    post.store_report(post.world.lab, post.world.substance("amber", group="other"), first_in=Scope.COUNTRY, tlp="AMBER")
    post.worker.run_due()
    assert post.box.messages == []
    for _ in range(2):
        with post.context.database.write() as session:
            enqueue_digests(session, "2026-11-23T06:30", post.context.now())
    post.worker.run_due()
    (message,) = post.box.messages
    assert message["Subject"] == "[TLP:GREEN] [Minor] 3 notices of the past week"
    assert "amber" not in plain(message)


def test_greylisting_is_tried_again_with_the_same_message_id_and_a_refusal_disables_that_address_alone(post: Post) -> None:
    """Fault 28."""
    first = post.subscribe(post.world.key(post.world.org("authority")), "grey@authority.example")
    second = post.subscribe(post.world.key(post.world.org("authority", "FR")), "gone@authority.example")
    third = post.subscribe(post.world.key(post.world.org("reviewer", "CH")), "fine@reviewer.example")
    post.box.reply = lambda address: {"grey": "451 later", "gone": "550 no such user"}.get(address.split("@")[0], "250 OK")
    post.store_report(post.world.lab, post.world.substance(group="other"), first_in=Scope.REGION)
    post.worker.run_due()
    assert [message["To"] for message in post.box.messages] == ["fine@reviewer.example"]
    with post.context.database.write() as session:
        states = dict(session.execute(select(Subscription.id, Subscription.state)).all())
        tasks = dict(session.execute(select(Task.lane, Task.state).where(Task.topic == "deliver")).all())
        session.execute(update(Task).where(Task.lane == first).values(run_at=post.context.now()))
    assert states == {first: "active", second: "disabled", third: "active"}
    assert tasks == {first: "ready", second: "parked", third: "done"}
    post.box.reply = lambda address: "250 OK"
    post.worker.run_due()
    assert [message["To"] for message in post.box.messages] == ["fine@reviewer.example", "grey@authority.example"]
    with post.context.database.read() as session:
        (task_id,) = session.scalars(select(Task.id).where(Task.lane == first, Task.topic == "deliver"))
        attempts = session.scalars(select(Attempt.outcome).where(Attempt.task_id == task_id).order_by(Attempt.n)).all()
    assert attempts == ["failed", "delivered"]
    assert post.box.messages[1]["Message-ID"].startswith(f"<{task_id}@")


def test_owner_and_operator_are_told_once_that_an_endpoint_was_disabled(post: Post) -> None:
    from app.auth import accounts

    authority, operator = post.world.org("authority"), post.world.org("operator")
    with post.context.database.write() as session:
        for org, email, role in ((authority, "owner@a.example", "authority"), (operator, "duty@o.example", "admin")):
            accounts.create_person(
                session, org_id=org.id, email=email, name=email, role=role, password="a long password", now=post.context.now()
            )
    post.subscribe(post.world.key(authority), "gone@authority.example")
    post.box.reply = lambda address: "550 no such user" if address.startswith("gone") else "250 OK"
    for number in range(2):
        post.store_report(post.world.lab, post.world.substance(f"s{number}", group="other"), first_in=Scope.REGION)
        post.worker.run_due()
    told = sorted((message["To"], message["Subject"]) for message in post.box.messages)
    assert told == [
        ("duty@o.example", "Alerts: An endpoint was disabled"),
        ("owner@a.example", "Alerts: An endpoint was disabled"),
    ]


def test_without_a_mail_server_or_with_a_bad_address_no_email_endpoint_is_made(post: Post, client: Any, world: Any) -> None:
    headers = world.key(world.org("authority"))
    wish = {"channel": "email", "address": "a@b.example"}
    for address in ("a@b.example\nBcc: x@y", "a b@c.example", "a@", "@b.example", "A <a@b.example>", "a@b.example,c@d.example"):
        answer = post.client.post("/v1/subscriptions", headers=headers, json=wish | {"address": address})
        assert answer.status_code == 422, address
    plain = client.app.state.context.settings.model_copy(update={"smtp_url": None})
    client.app.state.context.settings = plain
    assert client.post("/v1/subscriptions", headers=headers, json=wish).status_code == 422


def test_the_relay_is_read_from_its_url() -> None:
    relay = parse_relay("smtps://alerts%40nps.example:p%40ss@mail.example", fallback_host="h")
    assert (relay.host, relay.port, relay.user, relay.password, relay.implicit_tls) == (
        "mail.example", 465, "alerts@nps.example", "p@ss", True,
    )  # fmt: skip
    assert relay.sender == "alerts@nps.example"
    with pytest.raises(ValueError, match="NPS_SMTP_URL"):
        parse_relay("http://mail.example", fallback_host="h")


def test_a_relay_that_hangs_after_the_data_gets_the_same_message_again(post: Post) -> None:
    """Fault 28: the relay took the message and never said so: tried again, with the same Message-ID."""
    headers = post.world.key(post.world.org("authority"))
    post.subscribe(headers, "alerts@authority.example", tlp_max="AMBER")
    channel = SmtpChannel(parse_relay(post.context.settings.smtp_url, fallback_host="nps.example"), timeout=0.5)
    handlers = Worker(post.context, schedule=False)._handlers(WebhookChannel(), channel)
    post.worker.loop.handlers = handlers
    post.box.hang_seconds = 1.5
    post.store_report(post.world.lab, post.world.substance(), first_in=Scope.REGION, tlp="AMBER")
    post.worker.run_due()
    with post.context.database.write() as session:
        task = session.scalars(select(Task).where(Task.topic == "deliver")).one()
        assert (task.state, task.attempts) == ("ready", 1)
        session.execute(update(Task).where(Task.id == task.id).values(run_at=post.context.now()))
    post.box.hang_seconds = 0.0
    post.worker.run_due()
    first, *more = [str(message["Message-ID"]) for message in post.box.messages]
    assert more
    assert set(more) == {first}
    with post.context.database.read() as session:
        assert session.scalars(select(Task.state).where(Task.topic == "deliver")).one() == "done"
