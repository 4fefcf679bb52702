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
from app.web.templating import day as written_day
from chem.depiction import depict_svg
from chem.engine import Engine
from chem.errors import StructureError
from chem.sketches import Sketch
from chem.values import Condition, EntryInfo, InstrumentInfo, RuleInfo, RuleTrial, Structure, StructureFormat

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
    drafts: bool


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
    as_of: str
    status: str
    cores: tuple[Markup, ...]
    conditions: tuple[Condition, ...]
    labels: dict[str, str]
    failed: str


@router.get("/law")
def law(request: Request, context: Context, viewer: MaybeViewer) -> Response:
    """Every instrument; for operators also how far the stored substances follow the newest edition."""
    operates = viewer is not None and may(viewer.principal, Action.OPERATE)
    with context.database.read() as session:
        frame = build_frame(request, context, session, viewer, title="Law coded here", crumbs=(Crumb(text="Overview", href="/"),))
        progress = progress_of(session) if operates else None
        behind = stale(session, context.chemistry.version) if operates else None
    page = LawContext(
        instruments=context.chemistry.engine.instruments(),
        progress=progress,
        behind=behind,
        version=context.chemistry.version,
        drafts=viewer is not None and may(viewer.principal, Action.LAW_DRAFT),
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
    day = day_of(as_of, context.now().date())
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
    request: Request,
    context: Context,
    viewer: MaybeViewer,
    rule: Annotated[str, Query(alias="id", max_length=120)] = "",
    as_of: Annotated[str, Query(max_length=10)] = "",
) -> Response:
    return _rule_page(request, context, viewer, rule, day=day_of(as_of, context.now().date()))


def day_of(text: str, otherwise: date) -> date:
    """The day that was asked for. Raises a validation Problem for a text that is none."""
    try:
        return date.fromisoformat(text) if text else otherwise
    except ValueError as error:
        raise Problem("validation", f"{text!r} is not a date like 2026-11-24.") from error


@router.post("/law/rule")
def try_rule(
    request: Request,
    context: Context,
    viewer: Annotated[Viewer, Depends(requires_form(Action.SCREEN))],
    rule: Annotated[str, Form(alias="id", max_length=120)] = "",
    structure: Annotated[str, Form(max_length=4_000)] = "",
    as_of: Annotated[str, Form(max_length=10)] = "",
) -> Response:
    """What the rule says of a structure, with the condition that failed. Nothing is kept."""
    text, day = structure.strip(), day_of(as_of, context.now().date())
    told = context.chemistry.identify(Structure(format=StructureFormat.SMILES, text=text))
    if told.identity is None:
        failure = f"{told.detail[:1].upper()}{told.detail[1:]}."
        return _rule_page(request, context, viewer, rule, day=day, text=text, failure=failure)
    parent = Structure(format=StructureFormat.SMILES, text=told.identity.parent_smiles)
    try:
        trials = _engine(context).try_rule(rule, parent, day)
    except KeyError as error:
        raise Problem("not-found", f"There is no rule {rule!r} here.") from error
    atoms = trials[0].atoms if trials else ()
    drawing = _drawn(parent.text, atoms, "The structure tried, the core of the rule marked")
    return _rule_page(request, context, viewer, rule, day=day, text=text, trials=trials, drawing=drawing)


def _rule_page(
    request: Request, context: AppContext, viewer: Viewer | None, rule_id: str, *, day: date, text: str = "",
    failure: str | None = None, trials: tuple[RuleTrial, ...] | None = None, drawing: Markup | None = None,
) -> Response:  # fmt: skip
    engine = _engine(context)
    texts = tuple(rule for rule in engine.rules() if rule.id == rule_id)
    if not texts:
        raise Problem("not-found", f"There is no rule {rule_id!r} here.")
    shown = next((found for found in texts if _binds(found, day)), texts[-1])
    sketch = engine.sketch(rule_id, day)
    labels = {condition.name: condition.label for condition in sketch.conditions}
    crumbs = (LAW, Crumb(text=shown.instrument, href=f"/law/instruments/{shown.instrument}"))
    with context.database.read() as session:
        frame = build_frame(request, context, session, viewer, title=shown.provision, crumbs=crumbs, error=failure is not None)
    page = RuleContext(
        rule=shown,
        texts=texts,
        reading=READINGS.get(shown.reading, shown.reading),
        hits=tuple(_example(engine, shown, smiles, context.now().date()) for smiles in shown.hits),
        near_misses=tuple(_example(engine, shown, smiles, context.now().date()) for smiles in shown.near_misses),
        text=text, failure=failure, trials=trials, drawing=drawing, verdicts=VERDICTS, as_of=day.isoformat(),
        status=_status_on(texts, shown, day), cores=_cores(sketch),
        conditions=sketch.conditions, labels=labels, failed=_failed(trials, sketch.conditions),
    )  # fmt: skip
    return Page(
        "law/rule.html", frame, page, status=422 if failure else 200,
        headers={"Cache-Control": "private, no-store"} if text else None,
    )  # fmt: skip


def _binds(rule: RuleInfo, day: date) -> bool:
    begins = rule.effective_from or rule.not_before
    return (begins is None or begins <= day) and (rule.until is None or day <= rule.until)


def _status_on(texts: tuple[RuleInfo, ...], shown: RuleInfo, day: date) -> str:
    """Whether the rule binds on the day, in words."""
    if _binds(shown, day):
        return f"In force on {written_day(day)}."
    starts = [found.effective_from or found.not_before for found in texts if found.effective_from or found.not_before]
    if starts and all(day < start for start in starts if start):
        return f"Not in force on {written_day(day)}: it begins on {written_day(min(start for start in starts if start))}."
    return f"Not in force on {written_day(day)}."


def _cores(sketch: Sketch) -> tuple[Markup, ...]:
    name = f"Core of the rule with the places {', '.join(_places(sketch.conditions))}"
    return tuple(_named(svg, name) for svg in sketch.cores)


def _places(conditions: tuple[Condition, ...]) -> list[str]:
    return [condition.label for condition in conditions if condition.label.startswith("R") and condition.label != "Rest"]


def _failed(trials: tuple[RuleTrial, ...] | None, conditions: tuple[Condition, ...]) -> str:
    """The number of the condition that failed, where it is one of a place; empty otherwise."""
    for trial in trials or ():
        for row in trial.details:
            if row["verdict"] == "out":
                for number, condition in enumerate(conditions, 1):
                    if condition.name == row["position"]:
                        return f"Condition {number} ({condition.label}) failed."
    return ""


def _named(svg: str, name: str) -> Markup:
    label = f'<svg role="img" aria-label="{Markup.escape(name)}" '
    return Markup(svg.replace(' role="img"', "", 1).replace("<svg ", label, 1))  # noqa: S704 - drawn here; the name is escaped


def _example(engine: Engine, rule: RuleInfo, smiles: str, day: date) -> Example:
    trials = engine.try_rule(rule.id, Structure(format=StructureFormat.SMILES, text=smiles), day)
    return Example(smiles=smiles, drawing=_drawn(smiles, trials[0].atoms if trials else (), f"Structure {smiles}"))


def _drawn(smiles: str, atoms: Any, named: str) -> Markup | None:
    try:
        svg = depict_svg(smiles, tuple(atoms), width=320, height=240)
    except StructureError:
        return None  # beside the picture stands the text, which says as much
    return _named(svg, named)
