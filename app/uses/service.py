"""Declaring, deciding, withdrawing and listing legitimate uses. Nothing here commits.

A declaration is decided once and never rewritten: what changes is declared again after the earlier one was withdrawn, so
that the register keeps every version with its dates.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session, aliased

from alerts.render import iso
from app.auth.permissions import Principal, Role
from app.chemistry import Chemistry
from app.intake.resolve import ResolvedSubstance, resolve_at
from app.intake.substances import substance_row
from app.persistence.models import LegitimateUse, Organisation, Substance
from app.problems import FieldError, Problem
from app.substances.queries import existing_substances, with_merged
from app.uses.schemas import UseIn
from app.web.places import country_name
from app.web.templating import day as written_day

OPEN = ("waiting", "confirmed")
_AT = "/substances/0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A declaration as one reader may see it: `organisation` and the notes are None for all but its own and analysts.

    `name` is the substance's, or as it was declared where the substance does not exist for the reader.
    """

    id: str
    substance_id: str | None
    name: str
    use: str
    kind: str | None
    source: str
    countries: tuple[str, ...]
    valid_from: date | None
    valid_until: date | None
    state: str
    own: bool
    organisation: str | None
    note: str | None
    declared_at: datetime
    decided_at: datetime | None
    decision_note: str | None
    withdrawn_at: datetime | None

    @property
    def confirmed(self) -> str:
        """Where it comes from and who looked at it; only of a confirmed one."""
        assert self.decided_at is not None
        return f"Declared by industry, confirmed by an analyst on {written_day(self.decided_at.date())}"

    @property
    def where(self) -> str:
        """The countries in words."""
        return ", ".join(country_name(code) for code in self.countries) or "not tied to a country"


def _fault(pointer: str, detail: str) -> Problem:
    return Problem("validation", f"{pointer}: {detail}", errors=[FieldError(pointer, detail)])


def resolve(wish: UseIn, chemistry: Chemistry, today: date, country: str) -> ResolvedSubstance | None:
    """What the declared substance is, before the transaction opens; None where it is given by its id.

    Raises Problem with pointers into the declaration where a structure is refused or no single substance is meant.
    """
    if wish.substance is not None:
        return None
    try:
        found = resolve_at(0, wish.described(), chemistry, today, country)
    except Problem as problem:
        errors = [FieldError(error.pointer.removeprefix(_AT), error.detail) for error in problem.errors]
        raise Problem(problem.slug, problem.detail.replace(_AT, ""), errors=errors) from problem
    if found.substance is None:
        pointer = "/structure" if wish.structure is not None else "/name" if wish.name is not None else "/cas"
        near = ", ".join(str(one["name"]) for one in found.suggestions[:3] if one.get("name"))
        raise _fault(pointer, "It does not mean one substance." + (f" Near spellings: {near}." if near else ""))
    return found


def declare(
    session: Session,
    chemistry: Chemistry,
    wish: UseIn,
    resolved: ResolvedSubstance | None,
    principal: Principal,
    now: datetime,
) -> dict[str, Any]:
    """Store a declaration; it waits for an analyst.

    Raises Problem `conflict` where the organisation has an open one of this substance and kind, which it has to withdraw first.
    """
    if resolved is None:
        substance = session.scalar(select(Substance).where(Substance.id == wish.substance, existing_substances(principal)))
        if substance is None:
            raise _fault("/substance", "There is no substance of this id.")
        label = substance.name
    else:
        substance = substance_row(session, chemistry, resolved, now)
        label = resolved.label or (resolved.substance.name if resolved.substance else "")
    earlier = session.scalar(
        select(LegitimateUse.id).where(
            LegitimateUse.org_id == principal.org_id, LegitimateUse.substance_id == substance.id,
            LegitimateUse.state.in_(OPEN), LegitimateUse.kind.is_not_distinct_from(wish.kind),
        )
    )  # fmt: skip
    if earlier is not None:
        raise Problem("conflict", f"You declared this before, in {earlier}. Withdraw that first, then declare anew.", use=earlier)
    row = LegitimateUse(
        org_id=principal.org_id, substance_id=substance.id, label=label[:400], use=wish.use, kind=wish.kind,
        source=wish.source, note=wish.note, countries=sorted(set(wish.countries)), valid_from=wish.valid_from,
        valid_until=wish.valid_until, state="waiting", test=principal.test, actor=principal.actor, created_at=now,
    )  # fmt: skip
    session.add(row)
    session.flush()
    return document(_one(session, principal, row.id))


def decide(session: Session, use_id: str, state: str, note: str, principal: Principal, now: datetime) -> dict[str, Any]:
    """Confirm or refuse a waiting declaration. Raises Problem `not-found`, and `conflict` where it does not wait."""
    row = _locked(session, use_id, _of_analyst(principal))
    if row.state != "waiting":
        raise Problem("conflict", f"The declaration is {row.state}; nothing waits for a decision.")
    row.state, row.decided_at, row.decided_by, row.decision_note = state, now, principal.actor, note
    session.flush()
    return document(_one(session, principal, row.id))


def withdraw(session: Session, use_id: str, reason: str, principal: Principal, now: datetime) -> dict[str, Any]:
    """Take one's own declaration back; it stays on file. Raises Problem `not-found`, and `conflict` where it is over."""
    row = _locked(session, use_id, LegitimateUse.org_id == principal.org_id)
    if row.state not in OPEN:
        raise Problem("conflict", f"The declaration is {row.state} already.")
    row.state, row.withdrawn_at, row.withdrawn_reason = "withdrawn", now, reason
    session.flush()
    return document(_one(session, principal, row.id))


def _locked(session: Session, use_id: str, condition: ColumnElement[bool]) -> LegitimateUse:
    row = session.scalar(select(LegitimateUse).where(LegitimateUse.id == use_id, condition).with_for_update())
    if row is None:
        raise Problem("not-found", "There is no declaration of this id, or this key may not see it.")
    return row


def _of_analyst(principal: Principal) -> ColumnElement[bool]:
    """Declarations that an analyst may look at: those of test organisations show to themselves alone."""
    return or_(LegitimateUse.org_id == principal.org_id, LegitimateUse.test.is_(False))


def _visible(principal: Principal | None) -> ColumnElement[bool]:
    """Declarations that this reader may see: one's own in any state, analysts all, everybody else confirmed ones.

    For a query that joins `Substance`: one that does not exist for the reader gives none.
    """
    if principal is not None and principal.role is Role.ANALYST:
        return _of_analyst(principal)
    shown = and_(LegitimateUse.test.is_(False), LegitimateUse.state == "confirmed", existing_substances(principal))
    return shown if principal is None else or_(LegitimateUse.org_id == principal.org_id, shown)


def uses(
    session: Session,
    principal: Principal | None,
    *,
    substances: Sequence[str] | None = None,
    state: str | None = None,
    own: bool = False,
    before: str | None = None,
    limit: int,
) -> list[Listed]:
    """Declarations that the reader may see, newest first. One query.

    `substances`: only of these, or of what was merged into them; `own`: only those of the reader's organisation.
    """
    query = _query(principal).where(_visible(principal))
    if substances is not None:
        query = query.where(with_merged(LegitimateUse.substance_id, substances))
    if state is not None:
        query = query.where(LegitimateUse.state == state)
    if own and principal is not None:
        query = query.where(LegitimateUse.org_id == principal.org_id)
    if before is not None:
        query = query.where(LegitimateUse.id < before)
    return _listed(principal, session.execute(query.order_by(LegitimateUse.id.desc()).limit(limit)))


def name_of(session: Session, principal: Principal, substance_id: str) -> str | None:
    """The name of a substance that exists for the reader, else None."""
    return session.scalar(select(Substance.name).where(Substance.id == substance_id, existing_substances(principal)))


def _query(principal: Principal | None) -> Any:
    """Declarations with the organisation's name, the substance of today, and whether that exists for the reader."""
    declared = aliased(Substance)
    return (
        select(LegitimateUse, Organisation.name, Substance.id, Substance.name, existing_substances(principal))
        .join(Organisation, Organisation.id == LegitimateUse.org_id)
        .join(declared, declared.id == LegitimateUse.substance_id)
        .join(Substance, Substance.id == func.coalesce(declared.merged_into, declared.id))
    )


def _one(session: Session, principal: Principal, use_id: str) -> Listed:
    (found,) = _listed(principal, session.execute(_query(principal).where(LegitimateUse.id == use_id)))
    return found


def _listed(principal: Principal | None, rows: Iterable[Any]) -> list[Listed]:
    found = []
    for use, organisation, substance_id, name, known in rows:
        own = principal is not None and use.org_id == principal.org_id
        inside = own or (principal is not None and principal.role is Role.ANALYST)
        found.append(
            Listed(
                id=use.id, substance_id=substance_id if known else None,
                name=name if known else use.label, use=use.use, kind=use.kind,
                source=use.source, countries=tuple(use.countries), valid_from=use.valid_from, valid_until=use.valid_until,
                state=use.state, own=own, organisation=organisation if inside else None, note=use.note if inside else None,
                declared_at=use.created_at, decided_at=use.decided_at, decision_note=use.decision_note if inside else None,
                withdrawn_at=use.withdrawn_at,
            )
        )  # fmt: skip
    return found


def document(use: Listed) -> dict[str, Any]:
    """The declaration as the API gives it."""
    return {
        "id": use.id,
        "substance": use.substance_id,
        "name": use.name,
        "use": use.use,
        "kind": use.kind,
        "source": use.source,
        "countries": list(use.countries),
        "from": use.valid_from.isoformat() if use.valid_from else None,
        "until": use.valid_until.isoformat() if use.valid_until else None,
        "state": use.state,
        "own": use.own,
        "organisation": use.organisation,
        "note": use.note,
        "declared_at": iso(use.declared_at),
        "decided_at": iso(use.decided_at) if use.decided_at else None,
        "decision_note": use.decision_note,
        "withdrawn_at": iso(use.withdrawn_at) if use.withdrawn_at else None,
    }
