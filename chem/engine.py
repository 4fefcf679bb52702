"""The one object that answers: identity, legal status, coverage. Built once from the data files, then never
changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

import rdkit

from chem.analogues import Analogues
from chem.catalog import DATA, digest
from chem.classes import (
    Shared,
    class_match,
    connectivity_of,
    is_text_on,
    isomer_matches,
    isomer_trial_of,
    rule_info,
    trial_of,
)
from chem.derivatives import Derivatives, DerivedHit
from chem.described import entry_info, instrument_info
from chem.drawings import settled
from chem.editions import amend, content_hash
from chem.errors import DataError, StructureError, StructureProblem
from chem.examine import Examined, Examiner, drawn_for_law, expanded, shipped_substance, substance_again
from chem.groups import groups_of, load_groups
from chem.identity import Substance
from chem.listed import Form, Hit, Indexed, ListedIndex
from chem.normalise import (
    NORMALISATION_VERSION,
    CounterIons,
    load_counterions,
)
from chem.parsing import parse
from chem.positional import load_isomer_rule
from chem.rules import Rule, load_rules
from chem.schedules import Entry, Instrument, load_instrument
from chem.sketches import Sketch, sketch
from chem.timing import InForce, in_force
from chem.values import (
    INSTRUMENT_ORDER,
    UN_INSTRUMENTS,
    Assessment,
    Basis,
    Certainty,
    Coverage,
    EntryInfo,
    Identity,
    InChIKey,
    InstrumentInfo,
    Match,
    ProposedGroup,
    Reason,
    RuleInfo,
    RuleTrial,
    Structure,
    TextStatus,
)
from chem.verdicts import assessment_of_set, in_order, order_of, status_of

_SURENESS = (TextStatus.READ, TextStatus.RECALLED, TextStatus.PARTIAL, TextStatus.UNKNOWN)


def _once(counterions: CounterIons) -> Callable[[str, int, Entry], Substance]:
    """`shipped_substance` that examines a structure once, however many instruments list it."""
    found: dict[tuple[str, bool], Substance] = {}

    def substance(smiles: str, row: int, entry: Entry) -> Substance:
        asked = smiles, entry.as_is
        if asked not in found:
            found[asked] = shipped_substance(counterions, smiles, row, entry)
        return found[asked]

    return substance


class Engine:
    """Chemistry and law of the shipped data. Safe to share between threads; a pickle of it loads the same
    data again.
    """

    def __init__(
        self,
        *,
        instruments: Sequence[Instrument],
        rules: Sequence[Rule],
        counterions: CounterIons,
        catalog_version: str,
        extra: tuple[Path, ...],
        editions: tuple[Mapping[str, Any], ...] = (),
    ) -> None:
        self._instruments = tuple(instruments)
        self._by_id = {instrument.id: instrument for instrument in self._instruments}
        self._extra = extra
        self._editions = editions
        self.version = f"normalisation {NORMALISATION_VERSION}, catalog {catalog_version}, RDKit {rdkit.__version__}"
        self._listed = ListedIndex(self._instruments, _once(counterions))
        self._examiner = Examiner(counterions, self._listed, self._gravity)
        self._derivatives = Derivatives(self._listed, self._instruments)
        self._rules = tuple(rules)
        self._binding = lru_cache(maxsize=64)(self._rules_binding)
        self._isomers = load_isomer_rule(self._listed.all) if "US-CSA" in self._by_id else None
        self._groups = load_groups()
        self._analogues = Analogues(self._listed)

    @classmethod
    def load(cls, extra_schedules: Sequence[Path] = (), editions: Sequence[Mapping[str, Any]] = ()) -> Engine:
        """The engine over the shipped instruments, any folders that an operator adds, and editions (`chem.editions`) in order.

        Raises: DataError with file, row and reason: a broken rule stops the start, because it looks like a
        clean result.
        """
        folders = sorted(p for p in (DATA / "schedules").iterdir() if (p / "instrument.toml").exists())
        loaded: dict[str, Instrument] = {}
        rules: list[Rule] = []
        for folder in [*folders, *extra_schedules]:
            instrument = load_instrument(folder)
            if instrument.id in loaded:
                raise DataError(f"{folder.name}/instrument.toml", "id", f"{instrument.id} is loaded twice")
            loaded[instrument.id] = instrument
            own = DATA / "rules" / folder.name if folder in folders else folder / "rules"
            rules.extend(load_rules(own, instrument.id, connectivity_of))
        for document in editions:
            identifier = str(document.get("instrument", ""))
            before = [rule for rule in rules if rule.instrument == identifier]
            amended = amend(document, loaded.get(identifier), before, connectivity_of)
            loaded[identifier] = amended.instrument
            rules = [*(rule for rule in rules if rule.instrument != identifier), *amended.rules]
        ordered = sorted(loaded.values(), key=lambda i: (_place(i.id), i.id))
        files = [p for p in DATA.rglob("*") if p.suffix in (".csv", ".toml") and "names" not in p.parts]
        for folder in extra_schedules:
            files.extend(p for p in folder.iterdir() if p.suffix in (".csv", ".toml"))
        return cls(
            instruments=ordered,
            rules=rules,
            counterions=load_counterions(),
            catalog_version=digest(files) + (f"+{content_hash(editions)[:8]}" if editions else ""),
            extra=tuple(extra_schedules),
            editions=tuple(editions),
        )

    def __reduce__(self) -> tuple[Callable[..., Engine], tuple[Any, ...]]:
        return (_load_again, (self._extra, self._editions))

    # -- identity
    # ------------------------------------------------------------------------------------------------

    def identify(self, structure: Structure) -> Identity:
        """The identity layers of a reported structure.

        Raises: StructureError. A variable attachment point is undefined here: `candidates_of` enumerates
        it.
        """
        return self._examiner.examine(structure).identity

    def candidates_of(self, structure: Structure) -> tuple[Structure, ...]:
        """What a structure with a variable attachment point may be, without repeats; else an empty tuple."""
        return expanded(parse(structure))

    # -- law
    # -----------------------------------------------------------------------------------------------------

    def assess(
        self,
        structure: Structure,
        *,
        as_of: date,
        instruments: Sequence[str] | None = None,
        analogues: int = 3,
        home: Sequence[str] = (),
        hint: bool = True,
    ) -> Assessment:
        """Identity, matches and status of one structure on a date.

        Without `hint` the identity comes without its tautomer hash (the law asks for it where it matters all the same).
        `legal_status` is over the UN conventions plus `home`; `status_by_instrument` over all asked. A
        variable attachment point is assessed as the set of its candidates. Raises: StructureError.
        """
        parsed = parse(structure)
        if parsed.variable:
            return self.assess_candidates(
                expanded(parsed), as_of=as_of, instruments=instruments, analogues=analogues, home=home, hint=hint
            )
        return self._assess(self._examiner.examine_parsed(parsed, hint=hint), as_of, self._asked(instruments), analogues, home)

    def assess_candidates(
        self,
        structures: Sequence[Structure],
        *,
        as_of: date,
        instruments: Sequence[str] | None = None,
        analogues: int = 3,
        home: Sequence[str] = (),
        hint: bool = True,
    ) -> Assessment:
        """The status of an isomer set: certain only where all candidates agree. Raises: StructureError for
        any of them.
        """
        if not structures:
            raise StructureError(StructureProblem.EMPTY, "a set of candidates needs at least one structure")
        asked = self._asked(instruments)
        examined: dict[str, Examined] = {}
        for structure in structures:
            for one in self.candidates_of(structure) or (structure,):
                found = self._examiner.examine(one, hint=hint)
                examined.setdefault(f"{found.identity.parent_inchikey} {found.identity.stereo_groups}", found)
        assessments = [self._assess(e, as_of, asked, analogues, home) for e in examined.values()]
        if len(assessments) == 1:
            return assessments[0]
        return assessment_of_set(assessments, analogues)

    def assess_identity(
        self,
        identity: Identity,
        *,
        as_of: date,
        instruments: Sequence[str] | None = None,
        analogues: int = 3,
        home: Sequence[str] = (),
    ) -> Assessment:
        """A stored identity matched again, without the structure text. Raises: StructureError where it
        cannot be read.
        """
        parts = identity.components or (identity,)
        substances = tuple(substance_again(part) for part in parts)
        keys = [part.parent_inchikey for part in parts]
        main = keys.index(identity.parent_inchikey) if identity.parent_inchikey in keys else 0
        return self._assess(Examined(identity, substances, main), as_of, self._asked(instruments), analogues, home)

    def _asked(self, instruments: Sequence[str] | None) -> tuple[str, ...]:
        if instruments is None:
            return tuple(self._by_id)
        unknown = [name for name in instruments if name not in self._by_id]
        if unknown:
            raise KeyError(f"unknown instruments: {', '.join(unknown)}; loaded are {', '.join(self._by_id)}")
        return tuple(name for name in self._by_id if name in instruments)

    def _assess(self, examined: Examined, as_of: date, asked: tuple[str, ...], analogues: int, home: Sequence[str]) -> Assessment:
        several = len(examined.substances) > 1
        matches: list[Match] = []
        for substance in examined.substances:
            found = self._matches(substance, as_of, asked)
            matches.extend(replace(m, component=substance.identity.parent_inchikey) if several else m for m in found)
        ordered = in_order(matches)
        by_instrument = {name: status_of(m for m in ordered if m.instrument == name) for name in asked}
        counted = {*UN_INSTRUMENTS, *home}
        return Assessment(
            identity=examined.identity,
            matches=ordered,
            candidates=(),
            legal_status=status_of(m for m in ordered if m.instrument in counted),
            status_by_instrument=by_instrument,
            analogues=self._analogues.nearest(examined.substances[examined.main], as_of, asked, analogues),
        )

    def _matches(self, substance: Substance, as_of: date | None, asked: tuple[str, ...]) -> list[Match]:
        """All matches of one substance; without a date, of everything in the data."""
        found: list[Match] = []
        as_is = self._as_it_is(substance.identity)
        for indexed in as_is:
            if indexed.entry.instrument in asked:
                hit = Hit(
                    indexed=indexed,
                    basis=Basis.LISTED,
                    certainty=Certainty.CERTAIN,
                    reason=None,
                    why="is this substance as it is",
                )
                found.extend(self._match(hit, as_of, substance))
        if as_is:
            return found
        form = Form.of(substance)
        own = self._listed.hits(form)
        for hit in own:
            if hit.indexed.entry.instrument in asked:
                found.extend(self._match(hit, as_of, substance))
        for derived in self._derivatives.hits(form, own):
            if derived.hit.indexed.entry.instrument in asked:
                found.extend(self._match(derived.hit, as_of, substance, derived))
        drawn = drawn_for_law(substance)
        shared = Shared(drawn.mol)
        for rule, when in self._binding(as_of, asked):
            if rule.least_atoms <= shared.atoms and rule.least_rings <= shared.rings and shared.open_to(rule):
                match = class_match(rule, drawn, own, when, shared)
                if match is not None:
                    found.append(match)
        if self._isomers is not None and self._isomers.instrument in asked:
            found.extend(isomer_matches(self._isomers, drawn, own, as_of))
        return found

    def _rules_binding(self, as_of: date | None, asked: tuple[str, ...]) -> tuple[tuple[Rule, InForce], ...]:
        """The texts of class rules that bind, or may bind, on a date."""
        texts = ((rule, is_text_on(rule, as_of)) for rule in self._rules if rule.instrument in asked)
        return tuple((rule, when) for rule, when in texts if when is not InForce.NO)

    def _as_it_is(self, identity: Identity) -> Sequence[Indexed]:
        """Entries that match only as themselves: by what was reported, or without its labels where nothing
        was removed.
        """
        found = self._listed.as_they_are.get(identity.inchikey, ())
        if not found and identity.isotopes and not identity.removed:
            found = self._listed.as_they_are.get(identity.parent_inchikey, ())
        return found

    def try_rule(self, rule_id: str, structure: Structure, as_of: date) -> tuple[RuleTrial, ...]:
        """What one rule says of a structure, component by component, a miss with the condition that failed.

        Of several dated texts the one that binds on the date is asked, else the newest. Raises: KeyError
        for an unknown rule, StructureError.
        """
        examined = self._examiner.examine(structure)
        if self._isomers is not None and rule_id == self._isomers.id:
            isomers = self._isomers
            return tuple(
                isomer_trial_of(isomers, s, self._listed.hits(Form.of(s)), as_of)
                for s in (drawn_for_law(x) for x in examined.substances)
            )
        texts = [rule for rule in self._rules if rule.id == rule_id]
        if not texts:
            raise KeyError(f"unknown rule: {rule_id}")
        rule = next((r for r in texts if is_text_on(r, as_of) is not InForce.NO), texts[-1])
        return tuple(trial_of(rule, drawn_for_law(s), self._listed.hits(Form.of(s)), as_of) for s in examined.substances)

    def rules(self, instrument: str | None = None) -> tuple[RuleInfo, ...]:
        """Every dated text of every class rule, of one instrument where named."""
        found = [rule_info(rule) for rule in self._rules]
        if self._isomers is not None:
            found.append(rule_info(self._isomers))
        return tuple(info for info in found if instrument in (None, info.instrument))

    def sketch(self, rule_id: str, as_of: date) -> Sketch:
        """The drawing and the conditions of a rule, of the text that binds on the date, else the newest. Raises: KeyError."""
        texts = [rule for rule in self._rules if rule.id == rule_id]
        if not texts:
            if self._isomers is not None and rule_id == self._isomers.id:
                return Sketch(cores=(), conditions=())
            raise KeyError(f"unknown rule: {rule_id}")
        return sketch(next((r for r in texts if is_text_on(r, as_of) is not InForce.NO), texts[-1]))

    def _gravity(self, substance: Substance) -> tuple[Any, ...]:
        """Sort key of a component: the gravest captured match under a convention, whatever its date."""
        matches = self._matches(substance, None, UN_INSTRUMENTS)
        best = min((order_of(m) for m in matches if m.captured), default=None)
        return (best is None, best or ())

    def _match(self, hit: Hit, as_of: date | None, substance: Substance, derived: DerivedHit | None = None) -> list[Match]:
        entry = hit.indexed.entry
        when = in_force(
            as_of,
            not_before=entry.not_before,
            effective_from=entry.effective_from,
            settled_from=entry.settled_from,
            until=entry.until,
        )
        if when is InForce.NO:
            return []
        status, source = entry.text_status, entry.source
        if derived is not None or hit.basis is Basis.STEREOISOMER:
            # What rests on a clause is as sure as the weaker of the two texts, and cites both.
            clause = self._by_id[entry.instrument].clauses[entry.schedule]
            status = max(status, clause.text_status, key=_SURENESS.index)
            source = f"{source}; {clause.source}"
        certainty, reason = weaken(hit.certainty, hit.reason, status, when)
        place = f"Schedule {entry.schedule}" if len(entry.schedule) <= 3 else entry.schedule
        rule = "listed" if hit.basis is Basis.LISTED else "stereoisomers"
        return [
            Match(
                instrument=entry.instrument,
                schedule=entry.schedule,
                entry=entry.name,
                basis=hit.basis,
                certainty=certainty,
                captured=True,
                captured_elsewhere=None,
                reason=reason,
                carve_outs=(),
                rule=derived.rule if derived else f"{entry.instrument.lower()}/{rule}",
                text_status=status,
                explanation=f"{entry.name} is named in {place} of {entry.instrument}, and the structure {hit.why}.",
                atoms=derived.atoms if derived else tuple(range(substance.mol.GetNumAtoms())),
                effective_from=entry.effective_from,
                not_before=entry.not_before,
                source=source,
            )
        ]

    # -- what is in the data
    # -------------------------------------------------------------------------------------

    def coverage(self, instruments: Sequence[str] | None = None, *, as_of: date) -> tuple[Coverage, ...]:
        """What of each instrument is in the data on a date."""
        found = []
        for name in self._asked(instruments):
            instrument = self._by_id[name]
            found.append(
                Coverage(
                    instrument=name,
                    edition=instrument.edition_on(as_of).id,
                    complete=not instrument.not_coded,
                    not_coded=instrument.not_coded,
                )
            )
        return tuple(found)

    def instruments(self) -> tuple[InstrumentInfo, ...]:
        """Every instrument with its editions, rules and counts, in the contract's order."""
        return tuple(instrument_info(instrument, self.rules(instrument.id)) for instrument in self._instruments)

    def entries(self, instrument: str, *, as_of: date) -> tuple[EntryInfo, ...]:
        """The entries of one instrument that bind, or may bind, on a date; those without structure too."""
        (name,) = self._asked((instrument,))
        keys = {id(i.entry): i.key for i in self._listed.all if not i.alias}
        found = []
        for entry in self._by_id[name].entries:
            when = in_force(as_of, not_before=entry.not_before, effective_from=entry.effective_from, until=entry.until)
            if when is not InForce.NO:
                found.append(entry_info(entry, keys.get(id(entry))))
        return tuple(found)

    def groups_of(self, identity: Identity) -> tuple[ProposedGroup, ...]:
        """Chemical and effect groups proposed for the parent, best first; empty where no rule fits.

        Raises: StructureError where a stored parent cannot be read.
        """
        return groups_of(self._groups, settled(substance_again(identity).mol))

    def listed_keys(self) -> frozenset[InChIKey]:
        """Parent InChIKeys of all listed structures."""
        return frozenset(InChIKey(indexed.key) for indexed in self._listed.all)


def weaken(certainty: Certainty, reason: Reason | None, status: TextStatus, when: InForce) -> tuple[Certainty, Reason | None]:
    """A verdict after what is not sure of text and date; the first reason found stays."""
    if reason is None and status in (TextStatus.PARTIAL, TextStatus.UNKNOWN):
        certainty, reason = Certainty.POSSIBLE, Reason.TEXT_UNCERTAIN
    if reason is None and when is InForce.UNCERTAIN:
        certainty, reason = Certainty.POSSIBLE, Reason.DATE_UNCERTAIN
    return certainty, reason


def _place(instrument: str) -> int:
    return INSTRUMENT_ORDER.index(instrument) if instrument in INSTRUMENT_ORDER else len(INSTRUMENT_ORDER)


def _load_again(extra: tuple[Path, ...], editions: tuple[Mapping[str, Any], ...]) -> Engine:
    return Engine.load(extra, editions)
