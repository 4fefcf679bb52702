"""Sections on what it is and how it is controlled: 1, 2, 3, 11, 12, 17, 18, the annex, and those only the literature fills."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from app.dossiers.gathering import MeasureLine
from app.dossiers.making import Making, by, literature, plain, section
from app.dossiers.values import Block, Drawing, Facts, Fill, Gap, Section, Table, Text, Value
from app.substances.status import InstrumentStatus, status_by_instrument
from app.uses.service import Listed
from app.web import words
from app.web.places import country_name
from app.web.templating import day
from chem.values import INSTRUMENTS_OF_COUNTRY, UN_INSTRUMENTS

MOST_NAMES = 40
NO_SYNTHESIS = "The service keeps no synthesis, route of manufacture or price; none stands in a dossier."


def identification(making: Making) -> Section:
    """1: names with their sources, identifiers, the drawing; of a family its members."""
    if making.family:
        return _members(making)
    found = making.substance
    assert found is not None
    rows: list[tuple[str, Value]] = [("Name in this service", Value(found.name))]
    identifiers = (("InChIKey", found.inchikey), ("InChI", found.inchi), ("SMILES", found.smiles))
    rows += [(name, Value(text)) for name, text in identifiers if text]
    if found.stereo_siblings:
        rows.append(("Counted together with its stereoisomers", Value(", ".join(name for _, name in found.stereo_siblings))))
    names = Table(
        caption="Names on file" + (f", the first {MOST_NAMES} of {len(found.names)}" if len(found.names) > MOST_NAMES else ""),
        columns=("Name", "Kind", "Source"),
        rows=tuple(
            (Value(name.name), Value(words.said(words.NAME_KINDS, name.kind)), Value(name.source))
            for name in found.names[:MOST_NAMES]
        ),
    )
    drawing = Drawing(svg=making.drawing, name=f"Structure of {found.name}") if making.drawing else None
    gap = Gap(fill="A structure: it is known by its name only.") if not found.smiles else None
    return section(
        1, Fill.FILLED if found.smiles else Fill.PARTLY, drawing, Facts(rows=tuple(rows)), names if found.names else None, gap
    )


def _members(making: Making) -> Section:
    assert making.family is not None
    members = making.material.members
    counts = by(making.counting, lambda find: find.substance)
    value = making.figures.values(
        "1.members",
        [(f"{m.name}: {len(counts.get(m.id, ())):,}", f"13.member.{m.id}" if m.id in counts else None) for m in members],
    )
    table = Table(
        caption="Members found at least once, with their status over the three UN conventions",
        columns=("Substance", "Status", "Detections"),
        rows=tuple(
            (
                Value(m.name, link=f"/substances/{m.id}"),
                Value(words.said(words.LEGAL_STATUS, m.legal_status)),
                Value(f"{len(counts.get(m.id, ())):,}"),
            )
            for m in members
        ),
        numeric=(2,),
    )
    return section(1, Fill.FILLED, Facts(rows=(("Family", Value(making.family.name)), ("Members found here", value))), table)


def chemistry(making: Making) -> Section:
    """2: formula, mass, group and stereo. No synthesis, ever."""
    if making.family:
        return section(2, Fill.PARTLY, Text(text=f"The members are of the chemical group {making.family.name}. {NO_SYNTHESIS}"))
    found = making.substance
    assert found is not None
    group = words.said(words.CHEMICAL_GROUPS, found.chemical_group)
    if found.group_rule:
        group += f" (proposed by the structure rule {found.group_rule}" + (
            ", confirmed by an analyst)" if found.group_confirmed else ")"
        )
    rows: list[tuple[str, Value]] = [
        ("Chemical group", Value(group)),
        ("Effect group", Value(words.said(words.EFFECT_GROUPS, found.effect_group))),
    ]
    if found.formula:
        rows.append(("Molecular formula", Value(found.formula)))
    if found.monoisotopic_mass:
        rows.append(("Monoisotopic mass", Value(f"{found.monoisotopic_mass:.4f}")))
    identity = found.identity or {}
    if identity.get("stereo"):
        rows.append(("Stereochemistry", Value(words.said(words.STEREO, identity["stereo"]))))
    remarks = [Text(text=str(warning["detail"])) for warning in identity.get("warnings", ())]
    return section(
        2,
        Fill.PARTLY,
        Facts(rows=tuple(rows)),
        *remarks,
        Text(text=NO_SYNTHESIS),
        Gap(fill="Melting point, solubility, stability from the literature.", text="Nothing else in the service"),
    )


def convertibility(making: Making) -> Section:
    """3: nearest controlled analogues: a lead, no statement on convertibility."""
    fill = "An assessment by chemists, from the literature."
    if not making.analogues:
        return section(3, Fill.EMPTY, Gap(fill=fill))
    table = Table(
        caption=f"Nearest controlled entries by structure, law of {day(making.cutoff)}",
        columns=("Entry", "Instrument", "Similarity, 0 to 1"),
        rows=tuple(
            (Value(a.entry), Value(words.instrument(a.instrument)), Value(f"{a.similarity:.2f}")) for a in making.analogues
        ),
        numeric=(2,),
    )
    lead = Text(
        text="Similarity (Tanimoto) is a lead for chemists, neither a legal finding nor a statement on making one from the other."
    )
    return section(3, Fill.PARTLY, table, lead, Gap(fill=fill, text="Convertibility itself is not in the service"))


# which declarations of industry stand under which heading; all that is no medicine and no science is under 12
MEDICINES = frozenset({"authorised_medicine", "veterinary_medicine"})
SCIENCE = frozenset({"clinical_study", "research", "reference_material"})


def unfilled(making: Making) -> dict[int, Section]:
    """The headings that only the literature fills, and those on medicines, industry and science with what industry declared."""
    declared = making.material.declared
    medicine = None
    if making.medicine:
        medicine = Text(text=f"Named as an approved medicine: {making.medicine}. Where and for what is not on file here.")
    medicines = _declared("Medicines declared by industry", [use for use in declared if use.kind in MEDICINES])
    science = _declared("Study and research declared by industry", [use for use in declared if use.kind in SCIENCE])
    industry = _declared("Uses declared by industry", [use for use in declared if use.kind not in MEDICINES | SCIENCE])
    if medicine or medicines:
        gap = Gap(fill="Authorisations country by country, from medicines agencies.", text="Nothing else in the service")
        authorised = section(11, Fill.PARTLY, medicine, medicines, gap)
    else:
        listed = Text(text="Not on the list of approved medicines that is shipped with the service.")
        authorised = section(11, Fill.EMPTY, listed, Gap(fill="Answers of medicines agencies."))
    trade = "Legitimate uses declared by industry and confirmed by an analyst; trade registers."
    return {
        7: literature(7, "Animal and human studies of dependence and withdrawal; clinical reports."),
        8: literature(8, "Animal and human studies of abuse potential, receptor data."),
        9: literature(9, "Clinical use, extent of use and its epidemiology.", medicine),
        10: literature(10, "The current WHO Model List of Essential Medicines."),
        11: authorised,
        12: section(12, Fill.PARTLY, industry, Gap(fill="Trade registers.", text="Nothing else in the service"))
        if industry
        else section(12, Fill.EMPTY, Gap(fill=trade)),
        15: literature(15, "Statistics of licit production and trade, answers of countries."),
        19: literature(19, "Whatever else bears on a recommendation.", science),
    }


def _declared(caption: str, found: Sequence[Listed]) -> Table | None:
    """Confirmed declarations with their source; the organisation is confidential and stands in no dossier."""
    if not found:
        return None
    return Table(
        caption=caption,
        columns=("Substance", "Declared", "Where", "Source", "Standing"),
        rows=tuple(
            (
                Value(use.name),
                Value(
                    words.said(words.USES, use.use) + (f": {words.said(words.USE_KINDS, use.kind).lower()}" if use.kind else "")
                ),
                Value(use.where),
                Value(use.source),
                Value(use.confirmed),
            )
            for use in found
        ),
    )


def _status_rows(making: Making, *, un: bool) -> tuple[InstrumentStatus, ...]:
    assert making.substance is not None
    found = status_by_instrument(making.substance, making.coverage)
    names = {words.instrument(code) for code in UN_INSTRUMENTS}
    return tuple(row for row in found if (row.name in names) is un)


def _provisions(rows: tuple[InstrumentStatus, ...], caption: str) -> list[Block]:
    listed = []
    for row in rows:
        if not row.matches:
            status = (
                "No match in what is covered" if row.status == "not_controlled" else words.said(words.LEGAL_STATUS, row.status)
            )
            listed.append((Value(row.name), Value(status), Value(f"edition {row.edition}"), Value("")))
        for match in row.matches:
            listed.append(
                (Value(row.name), Value(match.sentence), Value(match.dates), Value(f"{match.source}. {match.text_status}."))
            )
    gaps = tuple((Value(row.name), Value(text)) for row in rows for text in row.not_coded)
    blocks: list[Block] = [Table(caption=caption, columns=("Instrument", "Status", "Dates", "Source"), rows=tuple(listed))]
    if gaps:
        blocks.append(Table(caption="Not covered", columns=("Instrument", "What is not coded here"), rows=gaps))
    blocks.append(Text(text=words.DISCLAIMER))
    return blocks


def international(making: Making) -> Section:
    """17: status under the three conventions."""
    impact = Gap(
        fill="An assessment; detections by month stand under 13, and causes cannot be read from them.",
        text="No assessment of their impact in the service",
    )
    if making.family:
        return section(17, Fill.FILLED, _family_status(making, un=True), Text(text=words.DISCLAIMER), impact)
    return section(17, Fill.FILLED, *_provisions(_status_rows(making, un=True), "Status under the UN conventions"), impact)


def _family_status(making: Making, *, un: bool) -> Table:
    groups = by(making.material.members, lambda member: member.legal_status)
    return Table(
        caption="Members by status over the three UN conventions",
        columns=("Status", "Members"),
        rows=tuple(
            (Value(words.said(words.LEGAL_STATUS, code)), Value(", ".join(m.name for m in rows))) for code, rows in groups.items()
        ),
    )


def national(making: Making) -> Section:
    """18: instruments of single countries that are coded here, and measures that authorities recorded."""
    blocks: list[Block | None] = []
    if making.substance:
        blocks += _provisions(
            _status_rows(making, un=False), "Status under the instruments of single countries that are coded here"
        )
    blocks.append(_measures(making.material.measures))
    others = Gap(
        fill="Law of all other countries: answers to the questionnaire, measures recorded by authorities.",
        text="Other countries are not in the service",
    )
    filled = bool(making.material.measures) or making.substance is not None
    return section(18, Fill.PARTLY if filled else Fill.EMPTY, *blocks, others)


def _measures(found: tuple[MeasureLine, ...]) -> Table | None:
    if not found:
        return None
    return Table(
        caption="Measures that authorities recorded",
        columns=("Country", "Measure", "Legal basis", "From", "Until"),
        rows=tuple(
            (
                Value(country_name(m.country)),
                Value(plain(m.kind)),
                Value(m.basis or "not said"),
                Value(_day(m.valid_from)),
                Value(_day(m.valid_until)),
            )
            for m in found
        ),
    )


def _day(value: date | None) -> str:
    return day(value) if value else "not said"


def annex(making: Making) -> Section:
    """20: country by country what it answered: measures and control entries. Countries without any are named."""
    measures = by(making.material.measures, lambda measure: measure.country)
    controls: dict[str, list[str]] = {}
    if making.substance:
        for country, instruments in INSTRUMENTS_OF_COUNTRY.items():
            for match in words.counting(making.substance.matches):
                if match["instrument"] in instruments:
                    controls.setdefault(country, []).append(words.possibly(match) + words.place(match))
    reporting = {country for country, _ in making.material.reporting}
    answered = sorted(set(measures) | set(controls), key=country_name)
    silent = sorted((reporting - set(answered)), key=country_name)
    table = Table(
        caption="Countries with a measure or a control entry here",
        columns=("Country", "Control entries", "Measures"),
        rows=tuple(
            (
                Value(country_name(code)),
                Value("; ".join(controls.get(code, [])) or "none on file"),
                Value("; ".join(plain(m.kind) for m in measures.get(code, [])) or "none recorded"),
            )
            for code in answered
        ),
    )
    named = Text(
        text="Reporting countries without an answer here: " + (", ".join(country_name(code) for code in silent) or "none") + "."
    )
    return section(20, Fill.PARTLY if answered else Fill.EMPTY, table if answered else None, named)
