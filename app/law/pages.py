"""The law as it is coded here: instruments, entries on a date, class rules with examples drawn, a rule tried on a structure.

Open to everybody, but for trying a structure (signed in) and how far the stored substances follow (operators).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request
from markupsafe import Markup
from starlette.responses import Response

from app.auth.permissions import Action, may
from app.auth.sessions import MaybeViewer, Viewer, requires_form
from app.context import AppContext, Context
from app.law.rescreen import Progress, progress_of, stale
from app.problems import Problem
from app.web.frame import Crumb, build_frame
from app.web.templating import Page
from chem.depiction import depict_svg
from chem.engine import Engine
from chem.errors import StructureError
from chem.values import EntryInfo, InstrumentInfo, RuleInfo, RuleTrial, Structure, StructureFormat

router = APIRouter(include_in_schema=False)

LAW = Crumb(text="Law", href="/law")
READINGS = {
    "closed": "Closed: every atom of the structure must be allowed by the definition.",
    "open": "Open: what the definition does not speak of is allowed.",
}
VERDICTS = {"in": "Inside", "out": "Outside", "undecided": "Undecided"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LawContext:
    instruments: tuple[InstrumentInfo, ...]
    progress: Progress | None
    behind: int | None
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentContext:
    instrument: InstrumentInfo
    as_of: str
    edition: str
    entries: tuple[EntryInfo, ...]
    rules: tuple[RuleInfo, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A structure that runs as a test of the rule, drawn with the core marked."""

    smiles: str
    drawing: Markup | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleContext:
    rule: RuleInfo
    texts: tuple[RuleInfo, ...]
    reading: str
    hits: tuple[Example, ...]
    near_misses: tuple[Example, ...]
    text: str
    failure: str | None
    trials: tuple[RuleTrial, ...] | None
    drawing: Markup | None
    verdicts: dict[str, str]


@router.get("/law")
def law(request: Request, context: Context, viewer: MaybeViewer) -> Response:
    """Every instrument; for operators also how far the stored substances follow the newest edition."""
    operates = viewer is not None and may(viewer.principal, Action.OPERATE)
    with context.database.read() as session:
        frame = build_frame(request, context, session, viewer, title="Law coded here", crumbs=(Crumb(text="Overview", href="/"),))
        progress = progress_of(session) if operates else None
        behind = stale(session, context.chemistry.version) if operates else None
    page = LawContext(
        instruments=context.chemistry.engine.instruments(), progress=progress, behind=behind, version=context.chemistry.version
    )
    return Page("law/law.html", frame, page)


def _engine(context: AppContext) -> Engine:
    engine: Engine = context.chemistry.engine
    return engine


@router.get("/law/instruments/{instrument}")
def instrument_page(
    request: Request,
    context: Context,
    viewer: MaybeViewer,
    instrument: str,
    as_of: Annotated[str, Query(max_length=10)] = "",
) -> Response:
    """The entries that bind, or may bind, on a date, and the class rules."""
    engine = _engine(context)
    info = next((i for i in engine.instruments() if i.id == instrument), None)
    if info is None:
        raise Problem("not-found", f"There is no instrument {instrument!r} here.")
    try:
        day = date.fromisoformat(as_of) if as_of else context.now().date()
    except ValueError as error:
        raise Problem("validation", f"{as_of!r} is not a date like 2026-11-24.") from error
    with context.database.read() as session:
        frame = build_frame(request, context, session, viewer, title=info.title, crumbs=(LAW,))
    page = InstrumentContext(
        instrument=info,
        as_of=day.isoformat(),
        edition=engine.coverage((instrument,), as_of=day)[0].edition,
        entries=engine.entries(instrument, as_of=day),
        rules=tuple({rule.id: rule for rule in info.rules}.values()),
    )
    return Page("law/instrument.html", frame, page)


@router.get("/law/rule")
def rule_page(
    request: Request, context: Context, viewer: MaybeViewer, rule: Annotated[str, Query(alias="id", max_length=120)] = ""
) -> Response:
    return _rule_page(request, context, viewer, rule)


@router.post("/law/rule")
def try_rule(
    request: Request,
    context: Context,
    viewer: Annotated[Viewer, Depends(requires_form(Action.SCREEN))],
    rule: Annotated[str, Form(alias="id", max_length=120)] = "",
    structure: Annotated[str, Form(max_length=4_000)] = "",
) -> Response:
    """What the rule says of a structure, with the condition that failed. Nothing is kept."""
    text = structure.strip()
    told = context.chemistry.identify(Structure(format=StructureFormat.SMILES, text=text))
    if told.identity is None:
        failure = f"{told.detail[:1].upper()}{told.detail[1:]}."
        return _rule_page(request, context, viewer, rule, text=text, failure=failure)
    parent = Structure(format=StructureFormat.SMILES, text=told.identity.parent_smiles)
    try:
        trials = _engine(context).try_rule(rule, parent, context.now().date())
    except KeyError as error:
        raise Problem("not-found", f"There is no rule {rule!r} here.") from error
    atoms = trials[0].atoms if trials else ()
    drawing = _drawn(parent.text, atoms, "The structure tried, the core of the rule marked")
    return _rule_page(request, context, viewer, rule, text=text, trials=trials, drawing=drawing)


def _rule_page(
    request: Request, context: AppContext, viewer: Viewer | None, rule_id: str, *, text: str = "", failure: str | None = None,
    trials: tuple[RuleTrial, ...] | None = None, drawing: Markup | None = None,
) -> Response:  # fmt: skip
    engine = _engine(context)
    texts = tuple(rule for rule in engine.rules() if rule.id == rule_id)
    if not texts:
        raise Problem("not-found", f"There is no rule {rule_id!r} here.")
    shown = texts[-1]
    crumbs = (LAW, Crumb(text=shown.instrument, href=f"/law/instruments/{shown.instrument}"))
    with context.database.read() as session:
        frame = build_frame(request, context, session, viewer, title=shown.provision, crumbs=crumbs, error=failure is not None)
    page = RuleContext(
        rule=shown,
        texts=texts,
        reading=READINGS.get(shown.reading, shown.reading),
        hits=tuple(_example(engine, shown, smiles, context.now().date()) for smiles in shown.hits[:3]),
        near_misses=tuple(_example(engine, shown, smiles, context.now().date()) for smiles in shown.near_misses[:3]),
        text=text, failure=failure, trials=trials, drawing=drawing, verdicts=VERDICTS,
    )  # fmt: skip
    return Page(
        "law/rule.html", frame, page, status=422 if failure else 200,
        headers={"Cache-Control": "private, no-store"} if text else None,
    )  # fmt: skip


def _example(engine: Engine, rule: RuleInfo, smiles: str, day: date) -> Example:
    trials = engine.try_rule(rule.id, Structure(format=StructureFormat.SMILES, text=smiles), day)
    return Example(smiles=smiles, drawing=_drawn(smiles, trials[0].atoms if trials else (), f"Structure {smiles}"))


def _drawn(smiles: str, atoms: Any, named: str) -> Markup | None:
    try:
        svg = depict_svg(smiles, tuple(atoms), width=320, height=240)
    except StructureError:
        return None  # beside the picture stands the text, which says as much
    label = f'<svg role="img" aria-label="{Markup.escape(named)}" '
    return Markup(svg.replace(' role="img"', "", 1).replace("<svg ", label, 1))  # noqa: S704 - drawn here; the name is escaped
