"""Whose rows a dossier rests on, and who may open it.

A dossier is made to be shared. It rests on the rows that everybody of a view may read, never on those that are somebody's own
alone (an own laboratory's, an own country's, a group's): then the same dossier can be shown to all whose rows hold those, and to
nobody else. The labels are those of the snapshot that it cites.
"""

from __future__ import annotations

from enum import StrEnum

from app.auth.permissions import Principal, Role
from app.priorities.snapshots import LABELS


class View(StrEnum):
    """`reviewer`: CLEAR, GREEN and AMBER rows, de-identified cases. `shared`: CLEAR and GREEN rows, cases as masked counts."""

    REVIEWER = "reviewer"
    SHARED = "shared"


ROLES: dict[View, Role] = {View.REVIEWER: Role.REVIEWER, View.SHARED: Role.LAB}
WORDS = {
    View.REVIEWER: "Rows labelled CLEAR, GREEN and AMBER, as every reviewer may read them",
    View.SHARED: "Rows labelled CLEAR and GREEN, as every laboratory and authority may read them; harm cases as masked counts",
}
_OPEN: dict[Role, tuple[View, ...]] = {
    Role.REVIEWER: (View.REVIEWER, View.SHARED),
    Role.ANALYST: (View.REVIEWER, View.SHARED),
    Role.AUTHORITY: (View.SHARED,),
    Role.LAB: (View.SHARED,),
}


def views_of(reader: Principal) -> tuple[View, ...]:
    """The views whose dossiers this reader may open, the widest first. The reader's rows hold all rows of each."""
    return _OPEN.get(reader.role, ())


def nobody_of(view: View) -> Principal:
    """A reader of the view who has no organisation, country or group of their own: by whose rows the dossier is made."""
    role = ROLES[view]
    return Principal(actor=f"view:{view}", org_id="", org_name="", kind=role.value, country="", role=role, test=False)


def labels_of(view: View) -> tuple[str, ...]:
    return LABELS[ROLES[view]]
