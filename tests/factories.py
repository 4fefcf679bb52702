"""Rows for tests, made directly with the ORM: organisations, people, substances, detections, cases, alerts."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from app.auth import accounts
from app.persistence.base import new_id
from app.persistence.models import (
    Alert,
    AlertEvidence,
    AlertRevision,
    CaseSubstance,
    Detection,
    HarmCase,
    Organisation,
    Person,
    Report,
    ReportVersion,
    Sample,
    Substance,
    SubstanceName,
)
from chem.names import fold

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
PASSWORD = "a long demonstration password"
ENGINE = "test-1"

_REGIONS = {"DE": "Europe", "FR": "Europe", "MT": "Europe", "GB": "Europe", "US": "Americas", "CA": "Americas", "AU": "Oceania"}


def match(
    instrument: str = "UN-1961",
    schedule: str = "I",
    entry: str = "Fentanyl",
    *,
    basis: str = "listed",
    certainty: str = "certain",
    captured: bool = True,
    reason: str | None = None,
    atoms: tuple[int, ...] = (),
) -> dict[str, Any]:
    """A match as it is stored."""
    return {
        "instrument": instrument,
        "schedule": schedule,
        "entry": entry,
        "basis": basis,
        "certainty": certainty,
        "captured": captured,
        "captured_elsewhere": None if captured else "another entry",
        "reason": reason,
        "carve_outs": [],
        "rule": f"{instrument.lower()}/listed",
        "text_status": "read",
        "explanation": f"The structure is that of the entry {entry}.",
        "atoms": list(atoms),
        "effective_from": "1964-12-13",
        "not_before": "1964-12-13",
        "source": "Single Convention on Narcotic Drugs, 1961, Schedule I",
    }


@dataclass
class World:
    """A session and what was put into it so far, by short names."""

    session: Session
    now: datetime = NOW
    organisations: dict[str, Organisation] = field(default_factory=dict)
    people: dict[str, Person] = field(default_factory=dict)
    _references: int = 0

    def organisation(
        self, kind: str = "lab", country: str = "DE", *, name: str | None = None, test: bool = False
    ) -> Organisation:
        name = name or f"Test {kind} {country}"
        org = accounts.create_organisation(self.session, name=name, kind=kind, country=country, test=test, now=self.now)
        self.organisations[name] = org
        return org

    def person(self, org: Organisation, *, role: str | None = None, email: str | None = None, theme: str = "system") -> Person:
        role = role or {"operator": "analyst"}.get(org.kind, org.kind)
        email = email or f"{role}.{org.country.lower()}@example.org"
        person = accounts.create_person(
            self.session, org_id=org.id, email=email, name=f"Test {role}", role=role, password=PASSWORD, now=self.now
        )
        person.theme = theme
        self.people[email] = person
        return person

    def substance(
        self,
        name: str,
        *,
        smiles: str | None = None,
        inchikey: str | None = None,
        group: str = "other",
        effect: str = "unassigned",
        status: str = "not_controlled",
        matches: tuple[dict[str, Any], ...] = (),
        names: tuple[tuple[str, str], ...] = (),
        shipped: bool = True,
        ordinary: bool = False,
    ) -> Substance:
        """`names` are (name, kind)."""
        row = Substance(
            key=f"inchikey:{inchikey}" if inchikey else f"material:{fold(name)}",
            name=name,
            inchikey=inchikey,
            connectivity=inchikey.split("-")[0] if inchikey else None,
            smiles=smiles,
            inchi=f"InChI=1S/{name}" if smiles else None,
            formula="C22H28N2O" if smiles else None,
            monoisotopic_mass=336.2202 if smiles else None,
            identity={"stereo": "none", "warnings": []} if smiles else None,
            chemical_group=group,
            effect_group=effect,
            legal_status=status,
            matches=list(matches),
            shipped=shipped,
            ordinary=ordinary,
            engine_version=ENGINE,
            created_at=self.now,
        )
        self.session.add(row)
        self.session.flush()
        for text, kind in ((name, "common"), *names):
            self.session.add(
                SubstanceName(substance_id=row.id, name=text, folded=fold(text), kind=kind, source="Test list, read 2026-11-24")
            )
        self.session.flush()
        return row

    def detection(
        self,
        org: Organisation,
        substance: Substance | None,
        *,
        sampled_on: date | None = None,
        country: str | None = None,
        tlp: str = "GREEN",
        confidence: str = "confirmed",
        relation: str = "parent",
        context: str = "seizure",
        received_at: datetime | None = None,
        label: str | None = None,
        test: bool = False,
        counted: bool = True,
    ) -> Detection:
        """A report with one sample and one detection in it."""
        self._references += 1
        day = sampled_on or (self.now - timedelta(days=20)).date()
        received = received_at or datetime(day.year, day.month, day.day, 9, tzinfo=UTC) + timedelta(days=9)
        received = min(received, self.now)
        country = country or org.country
        name = label or (substance.name if substance else "unknown powder")
        reference = f"T-{self._references:05d}"
        resolution = "structure" if substance is not None else "unresolved"
        answer = {"substances": [{"name": name, "first_in": "none", "other_labs": 0, "confidence": confidence, "warnings": []}]}
        report = Report(
            org_id=org.id,
            lab_reference=reference,
            version=1,
            tlp=tlp,
            country=country,
            received_at=received,
            updated_at=received,
            answer=answer,
        )
        self.session.add(report)
        self.session.flush()
        body = {"lab_reference": reference, "sample": {"country": country}, "substances": [{"name": name}]}
        self.session.add(
            ReportVersion(
                report_id=report.id,
                version=1,
                kind="created",
                body=json.dumps(body),
                body_sha256="0" * 64,
                actor="key:test",
                created_at=received,
            )
        )
        self.session.add(
            Sample(
                report_id=report.id,
                country=country,
                date_sampled=day.isoformat(),
                date_precision="day",
                sampled_on=day,
                context=context,
                form="powder",
                transit=[],
            )
        )
        detection = Detection(
            report_id=report.id,
            position=0,
            substance_id=substance.id if substance else None,
            resolution=resolution,
            candidates=[],
            reported_name=name,
            relation=relation,
            techniques=["gc", "ms"],
            confidence=confidence,
            matches=substance.matches if substance else [],
            legal_status=substance.legal_status if substance else "unresolved",
            warnings=[],
            engine_version=ENGINE,
            org_id=org.id,
            country=country,
            region=_REGIONS.get(country, "Europe"),
            sampled_on=day,
            month=f"{day:%Y-%m}",
            context=context,
            received_at=received,
            tlp=tlp,
            test=test or org.test,
            counted=counted,
            report_version=1,
        )
        self.session.add(detection)
        self.session.flush()
        return detection

    def case(
        self, detection: Detection, *, seriousness: str = "death", role: str = "combined_cause", tlp: str = "AMBER"
    ) -> HarmCase:
        case = HarmCase(
            report_id=detection.report_id,
            position=0,
            country=detection.country,
            month=detection.month,
            seriousness=seriousness,
            role=role,
            exposure_evidence="biological",
            toxidrome=[],
            icd=[],
            tlp=tlp,
            test=detection.test,
            report_version=1,
            received_at=detection.received_at,
        )
        self.session.add(case)
        self.session.flush()
        self.session.add(CaseSubstance(case_id=case.id, detection_id=detection.id, role=role))
        self.session.flush()
        return case

    def alert(
        self,
        substance: Substance | None,
        *,
        headline: str = "First report in Germany",
        alert_type: str = "first_country",
        level: int = 2,
        countries: tuple[str, ...] = ("DE",),
        tlp: str = "GREEN",
        state: str = "issued",
        reviewed: bool = True,
        audience: str = "full",
        at: datetime | None = None,
        org: Organisation | None = None,
        evidence: tuple[Detection, ...] = (),
        numbers: dict[str, Any] | None = None,
    ) -> Alert:
        """An alert in one revision."""
        at = at or self.now - timedelta(hours=2)
        alert = Alert(
            type=alert_type,
            dedupe_key=f"{alert_type}:{new_id()}",
            rule=f"{alert_type}/v1",
            substance_id=substance.id if substance else None,
            group=substance.chemical_group if substance else None,
            country=countries[0] if countries else None,
            region="Europe",
            level=level,
            tlp=tlp,
            state=state,
            reviewed=reviewed,
            controlled=False,
            revision=1,
            org_id=org.id if org else None,
            received_at=at,
            created_at=at,
            issued_at=None if state == "draft" else at,
        )
        self.session.add(alert)
        self.session.flush()
        self.session.add(
            AlertRevision(
                alert_id=alert.id,
                revision=1,
                msg_type="Alert",
                audience=audience,
                level=level,
                reviewed=reviewed,
                state=state,
                tlp=tlp,
                headline=headline,
                short=f"{headline}. Confirmed by one laboratory.",
                summary=f"{headline}. The substance was found in a powder and is confirmed by one laboratory.",
                full=f"{headline}.\n\nThe substance was found in a powder. The batch size and the origin are not known.",
                instruction="Check your own records and tell the laboratories of your country.",
                numbers=numbers or {},
                countries=list(countries),
                sent_at=at,
            )
        )
        for detection in evidence:
            self.session.add(AlertEvidence(alert_id=alert.id, report_id=detection.report_id, detection_id=detection.id))
        self.session.flush()
        return alert
