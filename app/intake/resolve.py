"""What each substance of a report is: structure first, then identifier, then name; the service never guesses.

All chemistry of a report is done here, before the write transaction opens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from typing import Any

from app.chemistry import Answer, Chemistry
from app.intake.confidence import Confidence, derive, expand, swgdrug_met
from app.intake.schemas import ReportIn, SubstanceIn, date_precision, first_day
from app.problems import FieldError, Problem, pointer
from chem.errors import StructureProblem
from chem.names import NamedSubstance, Outcome, Resolution, fold
from chem.values import Assessment, Identity, LegalStatus, Structure, StructureFormat, to_json


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSubstance:
    """What is needed to find or create the substance row of a detection."""

    key: str
    name: str
    identity: Identity | None
    assessment: Assessment | None
    chemical_group: str
    effect_group: str
    group_rule: str | None
    named: NamedSubstance | None
    ordinary: bool
    harmful_adulterant: bool
    shipped: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What an analyst said that a label means: a substance, a class, or neither where it is to stay as it is."""

    named: NamedSubstance | None = None
    group: str | None = None


Decisions = Mapping[str, Decision]
NO_DECISIONS: Decisions = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """What a confirmation would still need: steps in words, the standard to compare with, the isomers to exclude."""

    steps: tuple[str, ...] = ()
    standard: str | None = None
    isomers: tuple[str, ...] = ()
    isomers_total: int = 0


NO_CONFIRMATION = Confirmation()
MOST_ISOMERS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedSubstance:
    """One substance of a report, resolved. `substance` is None for a set, a class and an unresolved label."""

    position: int
    source: SubstanceIn
    resolution: str  # structure | identifier | name | class | unresolved
    group: str | None
    substance: NewSubstance | None
    assessment: Assessment | None
    legal_status: str
    matches: list[Any]
    candidates: list[dict[str, Any]]
    confidence: str
    because: tuple[str, ...]
    techniques: tuple[str, ...]
    warnings: list[dict[str, str]]
    label: str
    needs: Confirmation = NO_CONFIRMATION
    curation_reason: str | None = None
    suggestions: list[dict[str, Any]] = field(default_factory=list)
    memo: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)  # what was made of the same text before


def check_dates(report: ReportIn, today: date) -> None:
    """Raises a validation Problem for a date in the future or an analysis before its sample."""
    errors = []
    for path, value in (
        ("/sample/date_sampled", report.sample.date_sampled),
        ("/sample/date_received", report.sample.date_received),
        ("/date_analysed", report.date_analysed),
    ):
        if value is not None and first_day(value) > today:
            errors.append(FieldError(path, f"{value} lies in the future (today is {today.isoformat()}, UTC)."))
    for number, case in enumerate(report.cases):
        if case.month is not None and first_day(case.month) > today:
            errors.append(FieldError(f"/cases/{number}/month", f"{case.month} lies in the future."))
    analysed, sampled = report.date_analysed, report.sample.date_sampled
    if analysed and date_precision(analysed) == date_precision(sampled) and analysed < sampled:
        errors.append(FieldError("/date_analysed", f"{analysed} lies before the sample was taken ({sampled})."))
    if errors:
        raise Problem("validation", f"{errors[0].pointer}: {errors[0].detail}", errors=errors)


def resolve_report(
    report: ReportIn, chemistry: Chemistry, today: date, decisions: Decisions = NO_DECISIONS
) -> list[ResolvedSubstance]:
    """Every substance of the report, in order; see `resolve_substances`."""
    return resolve_substances(report.substances, chemistry, today, report.sample.country, decisions)


def resolve_substances(
    substances: Sequence[SubstanceIn], chemistry: Chemistry, today: date, country: str, decisions: Decisions = NO_DECISIONS
) -> list[ResolvedSubstance]:
    """What each of these is, in order. `decisions` are what analysts said that labels mean, by their folded form.

    Raises Problem (422, with pointers) where a structure is refused: unreadable, empty or too large.
    """
    return together(partial(resolve_at, n, source, chemistry, today, country, decisions) for n, source in enumerate(substances))


def together(readings: Iterable[Callable[[], ResolvedSubstance]]) -> list[ResolvedSubstance]:
    """What these give, in order. Raises one Problem that holds the fields of all that are refused."""
    found: list[ResolvedSubstance] = []
    problems: list[Problem] = []
    for reading in readings:
        try:
            found.append(reading())
        except Problem as problem:
            problems.append(problem)
    if problems:
        raise Problem(problems[0].slug, problems[0].detail, errors=[error for p in problems for error in p.errors])
    return found


def resolve_at(
    position: int, source: SubstanceIn, chemistry: Chemistry, today: date, country: str, decisions: Decisions = NO_DECISIONS
) -> ResolvedSubstance:
    """What the substance at this position of a report is. Raises Problem (422, with a pointer) where it is refused."""
    try:
        return _resolve(position, source, chemistry, today, country, decisions)
    except _Refused as refusal:
        error = FieldError(pointer(["substances", position, *refusal.path]), refusal.detail)
        raise Problem(refusal.problem.value, f"{error.pointer}: {error.detail}", errors=[error]) from refusal


class _Refused(Exception):
    def __init__(self, problem: StructureProblem, path: list[str | int], detail: str) -> None:
        self.problem, self.path, self.detail = problem, path, detail


def _resolve(
    position: int, source: SubstanceIn, chemistry: Chemistry, today: date, country: str, decisions: Decisions
) -> ResolvedSubstance:
    label = source.name or source.cas or source.inchikey or ""
    if source.structure is not None:
        structures = source.structure.structures()
        answer = chemistry.assess(structures, is_set=source.structure.candidates is not None, as_of=today, country=country)
        if answer.problem is not None and answer.problem.refused:
            field_name = structures[0].format.value if source.structure.candidates is None else "candidates"
            raise _Refused(answer.problem, ["structure", field_name], answer.detail)
        if answer.problem is not None:
            remark = {"code": answer.problem.value, "detail": answer.detail}
            return _without_structure(position, source, label, "the structure has no single identity", [remark])
        return _from_answer(position, source, answer, "structure", label, chemistry, country, today)
    return _by_name(position, source, label, chemistry, today, country, decisions)


def _by_name(
    position: int,
    source: SubstanceIn,
    label: str,
    chemistry: Chemistry,
    today: date,
    country: str,
    decisions: Decisions,
) -> ResolvedSubstance:
    """Identifier first (InChIKey, then CAS), then the name. What disagrees is warned of."""
    answers: list[tuple[str, str, Resolution]] = []
    if source.inchikey:
        named = chemistry.named(source.inchikey)
        found = Resolution(outcome=Outcome.SUBSTANCE if named else Outcome.NONE, substances=(named,) if named else ())
        answers.append(("identifier", source.inchikey, found))
    if source.cas:
        answers.append(("identifier", source.cas, chemistry.names.resolve_cas(source.cas)))
    if source.name:
        answers.append(("name", source.name, chemistry.names.resolve(source.name)))
    definite = [a for a in answers if a[2].outcome is Outcome.SUBSTANCE]
    warnings: list[dict[str, str]] = []
    if definite:
        how, used, chosen = definite[0]
        for _, other, resolution in definite[1:]:
            if resolution.substances[0].key != chosen.substances[0].key:
                warnings.append(
                    {
                        "code": "identifiers-disagree",
                        "detail": f"{other!r} means {resolution.substances[0].name}, {used!r} means "
                        f"{chosen.substances[0].name}; {used!r} was used.",
                    }
                )
        return _from_named(position, source, chosen.substances[0], how, label, chemistry, country, today, warnings)
    alternatives = chemistry.names.alternatives(source.name) if source.name else ()
    if alternatives:
        structures = tuple(Structure(format=StructureFormat.SMILES, text=named.smiles or "") for named in alternatives)
        answer = chemistry.assess(structures, is_set=True, as_of=today, country=country)
        if answer.assessment is not None:
            return _from_answer(position, source, answer, "name", label, chemistry, country, today)
    resolution = answers[-1][2] if answers else Resolution(outcome=Outcome.NONE)
    decision = decisions.get(folded(source.name)) if source.name else None
    if decision is not None and decision.named is not None:
        return _from_named(position, source, decision.named, "name", label, chemistry, country, today, warnings)
    group = decision.group if decision is not None else None
    if resolution.outcome is Outcome.CLASS or group is not None:
        resolution = resolution if group is None else Resolution(outcome=Outcome.CLASS, group=group)
        confidence = _confidence(source, in_isomer_group=False, no_structure=True)
        return ResolvedSubstance(
            position=position, source=source, resolution="class", group=resolution.group, substance=None, assessment=None,
            legal_status=LegalStatus.UNRESOLVED, matches=[], candidates=[], confidence=confidence.level,
            because=confidence.because, techniques=expand(source.techniques), warnings=_remarks(confidence.warnings), label=label,
        )  # fmt: skip
    if resolution.outcome is Outcome.NONE and source.name:
        translated = chemistry.from_systematic_name(source.name)
        if translated is not None:
            remark = {"code": "name-translated", "detail": f"The systematic name was read as {translated}."}
            structure = Structure(format=StructureFormat.SMILES, text=translated)
            answer = chemistry.assess((structure,), is_set=False, as_of=today, country=country)
            if answer.assessment is not None and answer.assessment.identity is not None:
                resolved = _from_answer(position, source, answer, "name", label, chemistry, country, today)
                return replace(resolved, warnings=[*warnings, remark, *resolved.warnings])
    resolved = _without_structure(position, source, label, resolution.reason or "no table has this name", warnings)
    if decision is not None:  # an analyst has looked at it and left it as it is
        return replace(resolved, curation_reason=None)
    if resolution.outcome is Outcome.CANDIDATES:
        candidates = [
            {"name": s.name, "smiles": s.smiles, "inchikey": chemistry.names.inchikey_of(s.key), "source": s.source}
            for s in resolution.substances
        ]
        return replace(resolved, candidates=candidates, curation_reason="several meanings")
    suggestions = [{"name": s.name, "score": s.score} for s in resolution.suggestions]
    return replace(resolved, suggestions=suggestions)


def _without_structure(
    position: int, source: SubstanceIn, label: str, reason: str, warnings: list[dict[str, str]]
) -> ResolvedSubstance:
    confidence = _confidence(source, in_isomer_group=False, no_structure=True)
    return ResolvedSubstance(
        position=position,
        source=source,
        resolution="unresolved",
        group=None,
        substance=None,
        assessment=None,
        legal_status=LegalStatus.UNRESOLVED,
        matches=[],
        candidates=[],
        confidence=confidence.level,
        because=confidence.because,
        techniques=expand(source.techniques),
        warnings=[{"code": "unresolved", "detail": f"Kept as reported: {reason}."}, *warnings, *_remarks(confidence.warnings)],
        label=label,
        curation_reason=reason,
    )


def _from_named(
    position: int,
    source: SubstanceIn,
    named: NamedSubstance,
    how: str,
    label: str,
    chemistry: Chemistry,
    country: str,
    today: date,
    warnings: list[dict[str, str]],
) -> ResolvedSubstance:
    if named.smiles is not None:
        structure = Structure(format=StructureFormat.SMILES, text=named.smiles)
        answer = chemistry.assess((structure,), is_set=False, as_of=today, country=country)
        resolved = _from_answer(position, source, answer, how, label or named.name, chemistry, country, today)
        return replace(resolved, warnings=[*warnings, *resolved.warnings])
    matches = chemistry.material_matches(named, today)
    status = LegalStatus.CONTROLLED if matches else LegalStatus.NOT_CONTROLLED
    confidence = _confidence(source, in_isomer_group=False)
    substance = NewSubstance(
        key=f"material:{named.key}", name=named.name, identity=None, assessment=None,
        chemical_group="plant_based" if named.group == "plant material" else "other", effect_group="unassigned", group_rule=None,
        named=named, ordinary=named.key in chemistry.names.ordinary, harmful_adulterant=False, shipped=True,
    )  # fmt: skip
    return ResolvedSubstance(
        position=position, source=source, resolution=how, group=None, substance=substance, assessment=None,
        legal_status=status, matches=to_json(matches), candidates=[], confidence=confidence.level, because=confidence.because,
        techniques=expand(source.techniques), warnings=[*warnings, *_remarks(confidence.warnings)], label=label or named.name,
    )  # fmt: skip


def _from_answer(
    position: int,
    source: SubstanceIn,
    answer: Answer,
    how: str,
    label: str,
    chemistry: Chemistry,
    country: str,
    today: date,
) -> ResolvedSubstance:
    found = answer.assessment
    if found is None:
        raise AssertionError(f"a shipped structure has no identity: {label}: {answer.detail}")
    is_set = found.identity is None
    identity = found.identity
    warnings: list[dict[str, str]] = []
    substance = None
    in_group = False
    if identity is not None:
        warnings += [{"code": w.code, "detail": w.detail} for w in identity.warnings]
        warnings += _disagreements(source, identity, chemistry)
        substance = new_substance(answer, identity, label, chemistry)
        in_group = chemistry.has_isomers(identity)
    confidence = _confidence(source, in_isomer_group=in_group, is_set=is_set)
    candidates: list[dict[str, Any]] = []
    if is_set:
        for candidate in found.candidates:
            member = candidate.identity
            if member is None:
                continue
            named = chemistry.named(member.parent_inchikey)
            candidates.append(
                {
                    "name": named.name if named else None,
                    "smiles": member.parent_smiles,
                    "inchikey": member.parent_inchikey,
                    "legal_status": candidate.legal_status.value,
                    "matches": to_json(candidate.matches),
                }
            )
    isomers = chemistry.isomers_of(identity) if identity is not None else ()
    if is_set:
        isomers = tuple(c["name"] or c["smiles"] for c in candidates)
    standard = (substance.name if substance is not None else " and ".join(isomers)) or None
    return ResolvedSubstance(
        position=position,
        source=source,
        needs=confirmation(source, confidence.level, standard, isomers, is_set=is_set),
        resolution=how,
        group=answer.chemical_group if is_set else None,
        substance=substance,
        assessment=found,
        legal_status=found.legal_status,
        matches=to_json(found.matches),
        candidates=candidates,
        confidence=confidence.level,
        because=confidence.because,
        techniques=expand(source.techniques),
        warnings=[*warnings, *_remarks(confidence.warnings)],
        label=label,
    )


def confirmation(
    source: SubstanceIn, level: str, standard: str | None, isomers: tuple[str, ...], *, is_set: bool
) -> Confirmation:
    """What lies between this result and a confirmed one, by the domain guide's section 4.5; nothing where it is confirmed."""
    if level == "confirmed":
        return NO_CONFIRMATION
    steps = []
    shown = isomers[:MOST_ISOMERS]
    if is_set:
        steps.append(f"tell the candidates apart ({', '.join(shown)}), for example by NMR, and report the one that is left")
    if not swgdrug_met(expand(source.techniques)):
        steps.append("add a technique on another property, so that one of category A and one other are given")
    compared = source.schymanski_level == "1" or "nmr" in source.techniques
    if not compared and source.reference_material not in ("certified", "in_house"):
        steps.append(f"compare with a certified or in-house standard of {standard or 'the substance'}, or measure NMR")
    if not is_set and isomers and source.isomers_excluded != "yes":
        more = f" and {len(isomers) - len(shown)} more" if len(isomers) > len(shown) else ""
        steps.append(f"exclude the isomers ({', '.join(shown)}{more}) and say so in isomers_excluded")
    return Confirmation(steps=tuple(steps), standard=standard, isomers=shown, isomers_total=len(isomers))


def new_substance(answer: Answer, identity: Identity, label: str, chemistry: Chemistry) -> NewSubstance:
    """The substance of an identity, with its shipped name where there is one."""
    named = chemistry.named(identity.parent_inchikey)
    key = named.key if named else None
    return NewSubstance(
        key=f"inchikey:{identity.parent_inchikey}",
        name=named.name if named else (label or identity.formula),
        identity=identity,
        assessment=answer.assessment,
        chemical_group=answer.chemical_group or "other",
        effect_group=answer.effect_group or "unassigned",
        group_rule=answer.group_rule,
        named=named,
        ordinary=key is not None and key in chemistry.names.ordinary,
        harmful_adulterant=key is not None and key in chemistry.names.harmful_adulterants,
        shipped=named is not None,
    )


def _disagreements(source: SubstanceIn, identity: Identity, chemistry: Chemistry) -> list[dict[str, str]]:
    """Warnings where a reported name, CAS number or InChIKey means another connectivity than the structure, which wins."""
    remarks = []
    if source.inchikey and source.inchikey not in (identity.inchikey, identity.parent_inchikey, identity.isotopic_inchikey):
        remarks.append({"code": "inchikey-disagrees", "detail": f"The structure has InChIKey {identity.inchikey}; it was used."})
    for code, text, resolution in (
        ("cas-disagrees", source.cas, chemistry.names.resolve_cas(source.cas) if source.cas else None),
        ("name-disagrees", source.name, chemistry.names.resolve(source.name) if source.name else None),
    ):
        if resolution is None or resolution.outcome is not Outcome.SUBSTANCE:
            continue
        meant = chemistry.names.inchikey_of(resolution.substances[0].key)
        if meant is not None and meant[:14] != identity.connectivity:
            remarks.append(
                {
                    "code": code,
                    "detail": f"{text!r} means {resolution.substances[0].name}, another structure; the structure was used.",
                }
            )
    return remarks


def _confidence(source: SubstanceIn, *, in_isomer_group: bool, is_set: bool = False, no_structure: bool = False) -> Confidence:
    return derive(
        source.techniques,
        schymanski_level=source.schymanski_level,
        reference_material=source.reference_material,
        isomers_excluded=source.isomers_excluded,
        in_isomer_group=in_isomer_group,
        is_set=is_set,
        no_structure=no_structure,
    )


def _remarks(pairs: tuple[tuple[str, str], ...]) -> list[dict[str, str]]:
    return [{"code": code, "detail": detail} for code, detail in pairs]


def folded(label: str) -> str:
    """The form under which a label waits in the curation queue."""
    return fold(label)[:400] or label[:400]
