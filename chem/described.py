"""Instruments and entries as readers see them."""

from __future__ import annotations

from collections import Counter

from chem.schedules import Entry, Instrument
from chem.values import EditionInfo, EntryInfo, InstrumentInfo, RuleInfo, TextStatus


def instrument_info(instrument: Instrument, rules: tuple[RuleInfo, ...]) -> InstrumentInfo:
    """An instrument with its editions, rules and counts."""
    counts = Counter(entry.text_status.value for entry in instrument.entries)
    return InstrumentInfo(
        id=instrument.id,
        title=instrument.title,
        country=instrument.country,
        source=instrument.source,
        editions=tuple(EditionInfo(id=e.id, valid_from=e.from_, source=e.source) for e in instrument.editions),
        schedules=instrument.order,
        entries=len(instrument.entries),
        entries_with_structure=sum(bool(entry.smiles) for entry in instrument.entries),
        entries_by_text_status={status.value: counts.get(status.value, 0) for status in TextStatus},
        rules=rules,
        not_coded=instrument.not_coded,
    )


def entry_info(entry: Entry, key: str | None) -> EntryInfo:
    """An entry with the parent InChIKey of its structure, where it has one."""
    return EntryInfo(
        instrument=entry.instrument,
        schedule=entry.schedule,
        name=entry.name,
        synonyms=entry.synonyms,
        cas=entry.cas,
        smiles=entry.smiles,
        parent_inchikey=key,
        stereo=entry.stereo.value if entry.stereo else None,
        as_is=entry.as_is,
        not_before=entry.not_before,
        effective_from=entry.effective_from,
        until=entry.until,
        text_status=entry.text_status,
        structure_check=entry.structure_check,
        notes=entry.notes,
        source=entry.source,
    )
