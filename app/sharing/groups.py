"""Sharing groups: making them, and who is in which. Nothing here commits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from app.auth.permissions import Principal
from app.persistence.models import Organisation, SharingGroup, SharingGroupMember
from app.problems import FieldError, Problem


class GroupError(Exception):
    """The group cannot be made or changed as asked; the message says why."""


def create(session: Session, name: str, now: datetime) -> SharingGroup:
    """Raises GroupError for an empty or taken name."""
    if not name.strip():
        raise GroupError("the name is empty")
    if session.scalar(select(SharingGroup.id).where(SharingGroup.name == name.strip())) is not None:
        raise GroupError(f"there is a group {name.strip()!r} already")
    group = SharingGroup(name=name.strip(), created_at=now)
    session.add(group)
    session.flush()
    return group


def add(session: Session, group_id: str, org_id: str, now: datetime) -> None:
    """Raises GroupError for an unknown group or organisation, or one of a kind that reads nothing restricted."""
    org = session.get(Organisation, org_id)
    if session.get(SharingGroup, group_id) is None or org is None:
        raise GroupError("there is no such group or no such organisation")
    if org.kind == "industry":
        raise GroupError("an industry partner reads no restricted row, in a group or not")
    if session.get(SharingGroupMember, (group_id, org_id)) is None:
        session.add(SharingGroupMember(group_id=group_id, org_id=org_id, since=now))


def remove(session: Session, group_id: str, org_id: str) -> None:
    member = session.get(SharingGroupMember, (group_id, org_id))
    if member is None:
        raise GroupError("that organisation is not in that group")
    session.delete(member)


def every(session: Session) -> Sequence[tuple[SharingGroup, str | None, str | None]]:
    """Each group with the id and name of each member; a row with None where it has none."""
    query = (
        select(SharingGroup, Organisation.id, Organisation.name)
        .outerjoin(SharingGroupMember, SharingGroupMember.group_id == SharingGroup.id)
        .outerjoin(Organisation, Organisation.id == SharingGroupMember.org_id)
        .order_by(SharingGroup.name, Organisation.name)
    )
    return [(row[0], row[1], row[2]) for row in session.execute(query)]


def groups_of(org_id: str) -> Select[Any]:
    """A select of the ids of the groups that an organisation is in."""
    return select(SharingGroupMember.group_id).where(SharingGroupMember.org_id == org_id)


def check_own(session: Session, group_id: str | None, sender: Principal) -> None:
    """Raises Problem (422) where the sender names a group that it is not in: it learns nothing about groups of others."""
    if group_id is None:
        return
    if session.get(SharingGroupMember, (group_id, sender.org_id)) is None:
        detail = "This organisation is in no group of this id."
        raise Problem("validation", f"/sharing_group: {detail}", errors=[FieldError("/sharing_group", detail)])
