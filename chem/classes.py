"""Class rules applied: from an evaluated rule to a match that a lawyer and a chemist can check."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from rdkit.Chem.rdchem import Mol

from chem.evaluate import Outcome, evaluate, meets
from chem.fragments import Known
from chem.identity import Substance
from chem.listed import Hit
from chem.parsing import inchikey_of
from chem.positional import IsomerRule, IsomerTrial, try_isomer
from chem.rules import Rule
from chem.timing import InForce, in_force
from chem.values import Basis, Certainty, Match, Reason, RuleInfo, RuleTrial, TextStatus, Verdict


def reason_of(rule: Rule, outcome: Outcome, when: InForce) -> Reason | None:
    """Why a structural match of a rule is only possible, or None where it is certain."""
    if rule.text_status in (TextStatus.PARTIAL, TextStatus.UNKNOWN):
        return Reason.TEXT_UNCERTAIN
    if rule.forced is not None:
        return rule.forced
    if outcome.verdict is Verdict.UNDECIDED:
        return Reason.WORD_UNDEFINED
    return Reason.DATE_UNCERTAIN if when is InForce.UNCERTAIN else None


def elsewhere_of(rule: Rule, substance: Substance, own: Sequence[Hit]) -> str | None:
    """Where a substance that meets the definition is named or excepted, or None."""
    for exclusion in rule.exclude:
        if exclusion.connectivity == substance.identity.connectivity:
            return f"{exclusion.name}: {exclusion.why}"
    if rule.named_elsewhere:
        for hit in own:
            entry = hit.indexed.entry
            if entry.instrument == rule.instrument and hit.basis is Basis.LISTED and hit.reason is None:
                return f"{entry.instrument} {entry.schedule}, {entry.name} by name"
    return None


def is_text_on(rule: Rule | IsomerRule, as_of: date | None) -> InForce:
    """Whether this text of a rule binds on a date."""
    if isinstance(rule, IsomerRule):
        return in_force(as_of, not_before=None, effective_from=rule.effective_from)
    return in_force(as_of, not_before=rule.not_before, effective_from=rule.effective_from, until=rule.until)


class Shared:
    """What rules share about a molecule: cheap patterns asked once, pieces looked at once, its number of atoms and rings."""

    def __init__(self, mol: Mol) -> None:
        self._mol = mol
        self.atoms = mol.GetNumAtoms()
        self.rings = mol.GetRingInfo().NumRings()
        self.pieces: Known = {}
        self._known: dict[str, bool] = {}

    def open_to(self, rule: Rule) -> bool:
        """False where a rule's gate or pre-filter shows that its core cannot be there."""
        for text, query in rule.gates:
            known = self._known.get(text)
            if known is None:
                known = self._known[text] = self._mol.HasSubstructMatch(query)
            if not known:
                return False
        return True


def class_match(rule: Rule, substance: Substance, own: Sequence[Hit], when: InForce, shared: Shared) -> Match | None:
    """The match of one rule whose text binds or may bind, or None where the structure does not meet it."""
    outcome = meets(rule, substance.mol, substance.identity.flat_smiles, shared.pieces)
    if outcome is None:
        return None
    elsewhere = elsewhere_of(rule, substance, own)
    reason = reason_of(rule, outcome, when)
    return Match(
        instrument=rule.instrument,
        schedule=rule.schedule,
        entry=rule.entry,
        basis=Basis.GENERIC,
        certainty=Certainty.CERTAIN if reason is None else Certainty.POSSIBLE,
        captured=elsewhere is None,
        captured_elsewhere=elsewhere,
        reason=reason,
        carve_outs=rule.carve_outs,
        rule=rule.id,
        text_status=rule.text_status,
        explanation=_sentence(rule, outcome, elsewhere, reason),
        atoms=tuple(sorted(outcome.core)),
        effective_from=rule.effective_from,
        not_before=rule.not_before or rule.effective_from,
        source=rule.source,
        details=outcome.details,
    )


def _sentence(rule: Rule, outcome: Outcome, elsewhere: str | None, reason: Reason | None) -> str:
    places = [
        f"{line.piece.smiles} at {line.place}"
        for line in outcome.lines
        if line.piece is not None and line.verdict is not Verdict.OUT
    ]
    found = f" with {', '.join(places[:6])}" if places else ""
    text = f"The structure has the core of {rule.entry} in {rule.provision}{found}"
    if elsewhere is not None:
        text += f", but it is dealt with elsewhere ({elsewhere})"
    elif reason is Reason.NON_STRUCTURAL_CONDITION:
        text += "; the law also asks for an effect that no structure shows"
    elif reason is Reason.TEXT_UNCERTAIN:
        text += "; the text of the provision was not read in full"
    elif reason is Reason.WORD_UNDEFINED:
        text += f"; the text does not settle {outcome.of(Verdict.UNDECIDED)[0]}"
    return text + "."


def isomer_matches(rule: IsomerRule, substance: Substance, own: Sequence[Hit], as_of: date | None) -> list[Match]:
    """Matches of the positional-isomer clause."""
    when = is_text_on(rule, as_of)
    if when is InForce.NO:
        return []
    trial = try_isomer(rule, substance.mol, substance.identity.connectivity)
    elsewhere = _named(rule, own)
    return [
        Match(
            instrument=rule.instrument,
            schedule=rule.schedule,
            entry=f"positional isomers of {indexed.entry.name}",
            basis=Basis.ISOMER,
            certainty=Certainty.CERTAIN if when is InForce.YES else Certainty.POSSIBLE,
            captured=elsewhere is None,
            captured_elsewhere=elsewhere,
            reason=None if when is InForce.YES else Reason.DATE_UNCERTAIN,
            carve_outs=(),
            rule=rule.id,
            text_status=rule.text_status,
            explanation=(
                f"The structure has the formula, the {core} core and the functional groups of "
                f"{indexed.entry.name}, "
                f"placed otherwise ({rule.provision})."
            ),
            atoms=trial.atoms,
            effective_from=rule.effective_from,
            not_before=rule.effective_from,
            source=rule.source,
        )
        for indexed, core in trial.of
    ]


def _named(rule: IsomerRule, own: Sequence[Hit]) -> str | None:
    for hit in own:
        entry = hit.indexed.entry
        if entry.instrument == rule.instrument and hit.basis is Basis.LISTED and hit.reason is None:
            return f"{entry.instrument} {entry.schedule}, {entry.name} by name"
    return None


def trial_of(rule: Rule, substance: Substance, own: Sequence[Hit], as_of: date) -> RuleTrial:
    """What one rule says of one structure, with the condition that failed where it misses."""
    outcome = evaluate(rule, substance.mol, substance.identity.flat_smiles)
    when = is_text_on(rule, as_of)
    inside = outcome.verdict is not Verdict.OUT
    elsewhere = elsewhere_of(rule, substance, own) if inside else None
    return RuleTrial(
        rule=rule.id,
        verdict=outcome.verdict,
        captured=inside and elsewhere is None and when is not InForce.NO,
        captured_elsewhere=elsewhere,
        reason=reason_of(rule, outcome, when) if inside else None,
        in_force=when is not InForce.NO,
        failed="" if inside else outcome.failed,
        details=outcome.details,
        atoms=tuple(sorted(outcome.core)),
    )


def isomer_trial_of(rule: IsomerRule, substance: Substance, own: Sequence[Hit], as_of: date) -> RuleTrial:
    """The same for the positional-isomer clause."""
    trial: IsomerTrial = try_isomer(rule, substance.mol, substance.identity.connectivity)
    when = is_text_on(rule, as_of)
    elsewhere = _named(rule, own) if trial.of else None
    return RuleTrial(
        rule=rule.id,
        verdict=Verdict.IN if trial.of else Verdict.OUT,
        captured=bool(trial.of) and elsewhere is None and when is not InForce.NO,
        captured_elsewhere=elsewhere,
        reason=None,
        in_force=when is not InForce.NO,
        failed=trial.failed,
        details=(),
        atoms=trial.atoms,
    )


def rule_info(rule: Rule | IsomerRule) -> RuleInfo:
    """A rule as shown to readers."""
    if isinstance(rule, IsomerRule):
        return RuleInfo(
            id=rule.id,
            instrument=rule.instrument,
            provision=rule.provision,
            schedule=rule.schedule,
            entry="positional isomers of named hallucinogens",
            text_status=rule.text_status,
            reading="closed",
            not_before=rule.effective_from,
            effective_from=rule.effective_from,
            until=None,
            source=rule.source,
            notes=rule.notes,
            hits=rule.hits,
            near_misses=rule.near_misses,
        )
    return RuleInfo(
        id=rule.id,
        instrument=rule.instrument,
        provision=rule.provision,
        schedule=rule.schedule,
        entry=rule.entry,
        text_status=rule.text_status,
        reading=rule.reading,
        not_before=rule.not_before,
        effective_from=rule.effective_from,
        until=rule.until,
        source=rule.source,
        notes=rule.notes,
        hits=rule.hits,
        near_misses=rule.near_misses,
    )


def connectivity_of(mol: Mol) -> str:
    """First block of the InChIKey."""
    return inchikey_of(mol)[:14]
