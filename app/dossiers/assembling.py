"""One dossier from the tables: the rows are read once, then section after section is made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time

from sqlalchemy.orm import Session

from app.context import AppContext
from app.dossiers import found, harm, identity
from app.dossiers.gathering import Material, Member, gather, members_of_family
from app.dossiers.making import TITLES, Family, Making
from app.dossiers.medicines import approved_medicine
from app.dossiers.values import Document, Figure, Section
from app.dossiers.views import WORDS, View, nobody_of
from app.persistence.models import Snapshot
from app.priorities.ranking import Weights
from app.priorities.snapshots import ranking_of
from app.substances.queries import MergedInto, SubstanceDetail, months_back, substance_detail
from app.web import words
from app.web.frame import is_demonstration, service_version
from app.web.templating import day
from chem.depiction import depict_svg
from chem.engine import Engine
from chem.errors import StructureError
from chem.values import Structure, StructureFormat

ANALOGUES = 8
STEPS = len(TITLES) + 1  # reading the rows, then each section
FAMILY, SUBSTANCE = "family", "substance"


class NoSubject(Exception):
    """There is no such substance or family for the readers of this view."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembled:
    document: Document
    figures: Mapping[str, Figure]


def subject_name(session: Session, view: View, kind: str, subject: str) -> tuple[str, str]:
    """Id (that of the substance it was merged into, where so) and name. Raises NoSubject."""
    if kind == FAMILY:
        if subject not in words.CHEMICAL_GROUPS:
            raise NoSubject
        return subject, f"{words.CHEMICAL_GROUPS[subject]} family"
    detail = _detail(session, view, subject)
    return detail.id, detail.name


def _detail(session: Session, view: View, subject: str) -> SubstanceDetail:
    detail = substance_detail(session, nobody_of(view), subject)
    if isinstance(detail, MergedInto):
        detail = substance_detail(session, nobody_of(view), detail.id)
    if detail is None or isinstance(detail, MergedInto):
        raise NoSubject
    return detail


def assemble(
    context: AppContext, view: View, kind: str, subject: str, snapshot: Snapshot, told: Callable[[int], None]
) -> Assembled:
    """The document and its figures. `told` hears after each step how many of `STEPS` are done. Raises NoSubject."""
    making, demonstration = _making(context, view, kind, subject, snapshot)
    told(1)
    rest = identity.unfilled(making)
    makers: dict[int, Callable[[Making], Section]] = {
        1: identity.identification,
        2: identity.chemistry,
        3: identity.convertibility,
        4: harm.pharmacology,
        5: found.toxicology,
        6: harm.adverse_reactions,
        13: found.non_medical_use,
        14: harm.public_health,
        16: found.traffic,
        17: identity.international,
        18: identity.national,
        20: identity.annex,
    }
    sections = []
    for number in TITLES:
        sections.append(makers[number](making) if number in makers else rest[number])
        told(number + 1)
    document = Document(
        title=f"{making.name}: critical review",
        subject={"kind": kind, "id": subject, "name": making.name},
        snapshot={
            "id": snapshot.id,
            "cutoff": snapshot.cutoff.isoformat(),
            "digest": snapshot.digest,
            "labels": snapshot.labels.split(","),
            "counts": dict(snapshot.counts),
        },
        rows=WORDS[view],
        made_at=context.now().isoformat(timespec="seconds").replace("+00:00", "Z"),
        service=f"NPS Early Warning {service_version()}, law and identity by {context.chemistry.version}",
        demonstration=demonstration,
        method=_method(making),
        sections=tuple(sections),
    )
    return Assembled(document=document, figures=making.figures.found)


def _making(context: AppContext, view: View, kind: str, subject: str, snapshot: Snapshot) -> tuple[Making, bool]:
    cutoff = snapshot.cutoff
    months = months_back(datetime.combine(cutoff, time(), UTC), 36)
    reader = nobody_of(view)
    detail: SubstanceDetail | None = None
    with context.database.read() as session:
        if kind == FAMILY:
            name = subject_name(session, view, kind, subject)[1]
            members = members_of_family(session, reader, subject)
        else:
            detail = _detail(session, view, subject)
            name = detail.name
            rows = [(detail.id, detail.name), *detail.stereo_siblings]
            members = tuple(
                Member(id=key, name=other, connectivity=detail.connectivity, legal_status=detail.legal_status)
                for key, other in rows
            )
        material: Material = gather(session, reader, members, cutoff=cutoff, now=context.now(), since=months[0])
        demonstration = context.demo or is_demonstration(session)
    engine: Engine = context.chemistry.engine
    making = Making(
        name=name,
        view=view,
        cutoff=cutoff,
        months=months,
        snapshot_id=snapshot.id,
        material=material,
        ranking=ranking_of(context.database, snapshot, Weights()),
        coverage=tuple(context.chemistry.coverage(cutoff)),
        substance=detail,
        family=Family(group=subject, name=name) if kind == FAMILY else None,
    )
    if detail is not None:
        making.medicine = approved_medicine(name.name for name in detail.names)
        if detail.smiles:
            _look_at(making, engine, detail)
    return making, demonstration


def _look_at(making: Making, engine: Engine, detail: SubstanceDetail) -> None:
    """The drawing with the atoms of the deciding class, and the nearest controlled entries."""
    assert detail.smiles is not None
    deciding = words.counting(detail.matches)[:1] if detail.legal_status in {"controlled", "possibly_controlled"} else []
    atoms = tuple(deciding[0]["atoms"]) if deciding and deciding[0]["basis"] != "listed" else ()
    try:
        making.drawing = depict_svg(detail.smiles, atoms, width=360, height=240)
        told = engine.assess(
            Structure(format=StructureFormat.SMILES, text=detail.smiles), as_of=making.cutoff, analogues=ANALOGUES
        )
    except StructureError:
        return  # the identifiers in the first section say all that is known
    making.analogues = told.analogues


def _method(making: Making) -> tuple[str, ...]:
    subject = "the substances of this family" if making.family else "this substance and its stereoisomers"
    return (
        f"Counts are of detections of {subject}, confirmed and probable, with relation parent, sampled up to "
        f"{day(making.cutoff)}, as the service held them when this dossier was made. A detection is one substance in one sample.",
        "Every underlined number opens the records that it counts. [x] no data, [c] masked, [z] too few: none is zero.",
        "Counts reflect who tested what. Literature is not in the service: what it would fill is said under each heading.",
        "The law is that of the day the substance was last matched; an entry whose text was recalled or read in part says so.",
    )
