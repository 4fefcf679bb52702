"""The curation queue and the list of substances, for analysts: decide labels, add names, merge, split, undo."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeVar

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field, StringConstraints, ValidationError, model_validator

from alerts.render import iso
from app.auth.permissions import Action, Principal
from app.body import RawBody, parse_json
from app.context import Context, requires
from app.curation import merging, service
from app.intake import vocabularies as v
from app.intake.schemas import Strict, StructureIn, SubstanceIn, one_of
from app.intake.substances import substance_row
from app.persistence.models import Substance, SubstanceEvent
from app.problems import FieldError, Problem, from_validation
from app.statements.schemas import NamedIn

router = APIRouter(prefix="/v1", tags=["curation"])
Curator = Annotated[Principal, Depends(requires(Action.CURATE))]
M = TypeVar("M", bound=BaseModel)
Reason = Annotated[str, StringConstraints(min_length=3, max_length=2000)]
Ident = Annotated[str, StringConstraints(min_length=26, max_length=26)]
NAME_KINDS = ("systematic", "common", "code", "street", "brand", "misspelling", "abbreviation")


class TargetIn(NamedIn):
    """A substance of the list by its id, or any substance by structure, identifier or name."""

    substance_id: Ident | None = None

    @model_validator(mode="after")
    def _says_what(self) -> Self:
        given = [self.substance_id, self.structure, self.name, self.cas, self.inchikey]
        if all(value is None for value in given):
            raise ValueError("give a substance_id, a structure, a name, a CAS number or an InChIKey.")
        return self


class DecisionIn(Strict):
    """Exactly one of `substance`, `class` and `leave` (it stays as reported and is asked about no more)."""

    substance: TargetIn | None = None
    group: Annotated[str, one_of(v.CHEMICAL_GROUPS)] | None = Field(default=None, alias="class")
    leave: Literal[True] | None = None
    add_name: bool = True
    reason: Reason

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(value is not None for value in (self.substance, self.group, self.leave)) != 1:
            raise ValueError("give exactly one of substance, class and leave.")
        return self


class NameIn(Strict):
    name: Annotated[str, StringConstraints(min_length=1, max_length=400)]
    kind: Annotated[str, one_of(NAME_KINDS)] = "common"
    language: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")] = "en"
    reason: Reason


class MergeIn(Strict):
    into: Ident
    reason: Reason


class SplitIn(Strict):
    reports: Annotated[list[Ident], Field(min_length=1, max_length=1000)]
    to: TargetIn
    reason: Reason


class UndoIn(Strict):
    reason: Reason


def _body_of(model: type[BaseModel]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": model.model_json_schema()}}}}


def _read(model: type[M], body: bytes) -> M:
    try:
        return model.model_validate(parse_json(body))
    except ValidationError as error:
        raise from_validation(error.errors()) from error


def _target(context: Any, given: TargetIn) -> service.Target:
    """Before the transaction opens. A substance of the list is read by its own structure or name."""
    if given.substance_id is None:
        return service.target_of(context, given.substance())
    with context.database.read() as session:
        row = session.get(Substance, given.substance_id)
        if row is None or row.merged_into is not None:
            detail = f"There is no substance {given.substance_id}."
            raise Problem("validation", f"substance_id: {detail}", errors=[FieldError("/substance_id", detail)])
        known = SubstanceIn(structure=StructureIn(smiles=row.smiles)) if row.smiles else SubstanceIn(name=row.name)
    return service.target_of(context, known)


def present_event(event: SubstanceEvent) -> dict[str, Any]:
    return {
        "id": event.id,
        "kind": event.kind,
        "substance_id": event.substance_id,
        "other_id": event.other_id,
        "label": event.label,
        "detections_moved": sum(1 for entry in event.moved if ":" not in entry),
        "reason": event.reason,
        "actor": event.actor,
        "created_at": iso(event.created_at),
        "undone_at": iso(event.undone_at) if event.undone_at else None,
        "undone_by": event.undone_by,
        "undone_reason": event.undone_reason,
    }


@router.get("/curation", summary="Labels that wait for a decision, or were decided")
def list_curation(
    context: Context,
    principal: Curator,
    state: Annotated[Literal["open", "resolved", "class", "dismissed"], Query()] = "open",
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=26)] = None,
) -> dict[str, Any]:
    """With what each could mean: candidates, near spellings with their score (0 to 100), a systematic name as it reads."""
    with context.database.read() as session:
        found = service.items(session, state=state, before=cursor, limit=limit + 1)
    shown = [service.present(item, context.chemistry) for item in found[:limit]]
    return {"items": shown, "next_cursor": found[limit - 1].id if len(found) > limit else None}


@router.post("/curation/{item_id}/decide", summary="Decide what a label means", openapi_extra=_body_of(DecisionIn))
def decide(item_id: str, context: Context, principal: Curator, body: RawBody) -> dict[str, Any]:
    """The reports that carry the label follow in the background, each as a new version: counts and alerts with them."""
    given = _read(DecisionIn, body)
    target = _target(context, given.substance) if given.substance is not None else service.Target(group=given.group)
    now = context.now()
    with context.database.write() as session:
        item = service.decide(
            session,
            context.chemistry,
            item_id,
            target,
            reason=given.reason,
            add_name=given.add_name,
            principal=principal,
            now=now,
        )
    context.wake_worker()
    return service.present(item, context.chemistry)


@router.post("/substances/{substance_id}/names", status_code=201, summary="Add a name", openapi_extra=_body_of(NameIn))
def post_name(substance_id: str, context: Context, principal: Curator, body: RawBody) -> dict[str, Any]:
    """The search finds it at once; reports with this name as a label resolve to the substance, those that wait follow."""
    given = _read(NameIn, body)
    with context.database.write() as session:
        row = session.get(Substance, substance_id)
        if row is None or row.merged_into is not None:
            raise Problem("not-found", f"There is no substance {substance_id}.")
        event = service.add_name(
            session, context.chemistry, row, name=given.name, kind=given.kind, language=given.language, reason=given.reason,
            principal=principal, now=context.now(),
        )  # fmt: skip
        shown = present_event(event)
    context.wake_worker()
    return shown


@router.post("/substances/{substance_id}/merge", summary="Merge into another substance", openapi_extra=_body_of(MergeIn))
def post_merge(substance_id: str, context: Context, principal: Curator, body: RawBody) -> dict[str, Any]:
    """Detections and names go over, the id redirects, alerts on it are retracted or raised anew in the other's name."""
    given = _read(MergeIn, body)
    with context.database.write() as session:
        shown = present_event(merging.merge(session, substance_id, given.into, given.reason, principal, context.now()))
    context.wake_worker()
    return shown


@router.post("/substances/{substance_id}/split", summary="Give reports to another substance", openapi_extra=_body_of(SplitIn))
def post_split(substance_id: str, context: Context, principal: Curator, body: RawBody) -> dict[str, Any]:
    """For reports whose detection of this substance an analyst found to be another one."""
    given = _read(SplitIn, body)
    target = _target(context, given.to)
    assert target.resolved is not None
    now = context.now()
    with context.database.write() as session:
        to = substance_row(session, context.chemistry, target.resolved, now)
        shown = present_event(merging.split(session, substance_id, given.reports, to, given.reason, principal, now))
    context.wake_worker()
    return shown


@router.get("/substance-events", summary="Merges, splits, names and decisions, newest first")
def list_events(
    context: Context,
    principal: Curator,
    substance: Annotated[str | None, Query(max_length=26)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=26)] = None,
) -> dict[str, Any]:
    with context.database.read() as session:
        found = merging.events(session, substance=substance, before=cursor, limit=limit + 1)
    return {
        "items": [present_event(event) for event in found[:limit]],
        "next_cursor": found[limit - 1].id if len(found) > limit else None,
    }


@router.post("/substance-events/{event_id}/undo", summary="Undo an event", openapi_extra=_body_of(UndoIn))
def post_undo(event_id: str, context: Context, principal: Curator, body: RawBody) -> dict[str, Any]:
    """Exactly what the event moved is moved back; the event stays on file with both reasons."""
    given = _read(UndoIn, body)
    with context.database.write() as session:
        shown = present_event(merging.undo(session, event_id, given.reason, principal, context.now()))
    context.wake_worker()
    return shown
