"""A world of any size in PostgreSQL, made by the database itself: the same parameters give the same world.

    from tests.bench.world import Size, fill
    fill(database, Size(detections=1_000_000))

About 1 minute a million detections. Substances follow a law of few common and many rare ones, laboratories differ in size,
reports grow over the years; a report has one to three detections, one in fifty a harm case. The rows go in without their
triggers, then `rebuild` counts them; everything else is as intake would have stored it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import product
from typing import Any

from sqlalchemy import Connection, insert, text

from app.auth import accounts
from app.persistence.models import Organisation, Person, Substance, SubstanceName
from app.persistence.rollups import rebuild
from app.persistence.session import Database
from app.regions import region_of
from chem.names import fold

END = date(2026, 11, 24)
PASSWORD = "a long demonstration password"
COUNTRIES = (
    "DE", "FR", "GB", "NL", "ES", "IT", "PL", "SE", "BE", "AT", "CZ", "PT", "FI", "DK", "NO", "IE", "HU", "RO",
    "GR", "CH", "US", "CA", "MX", "BR", "AR", "CL", "CO", "AU", "NZ", "JP", "KR", "SG", "CN", "IN", "TH", "PH",
    "MY", "ID", "ZA", "NG", "KE", "EG", "MA", "TR", "UA", "EE", "LV", "LT", "SI", "SK", "HR", "BG", "LU", "MT",
    "CY", "IS", "GE", "AE", "IL", "UY",
)  # fmt: skip
SCAFFOLDS: tuple[tuple[str, str, str, str], ...] = (
    ("fentanyl", "fentanyl_analogue", "opioid", "{0}C(=O)N(c1ccc({1})cc1)C1CCN(CCc2ccccc2)CC1"),
    ("nitazene", "nitazene", "opioid", "CCN(CC)CCn1c(Cc2ccc(O{0})cc2)nc2cc({1})ccc12"),
    ("cathinone", "synthetic_cathinone", "stimulant", "CNC({0})C(=O)c1ccc({1})cc1"),
    ("phenethylamine", "phenethylamine", "classic_hallucinogen", "NCCc1cc(O{0})c({1})cc1OC"),
    ("tryptamine", "tryptamine", "classic_hallucinogen", "CN({0})CCc1c[nH]c2ccc({1})cc12"),
    ("cannabinoid", "synthetic_cannabinoid", "synthetic_cannabinoid", "{0}n1nc(C(=O)NC(C(N)=O)C(C)C)c2ccc({1})cc12"),
    ("piperazine", "piperazine", "stimulant", "{0}N1CCN(c2ccc({1})cc2)CC1"),
    ("benzodiazepine", "benzodiazepine_type", "sedative_hypnotic", "{0}N1C(=O)CN=C(c2ccccc2)c2cc({1})ccc12"),
    ("phencyclidine", "phencyclidine_type", "dissociative", "{0}NC1(c2ccc({1})cc2)CCCCC1=O"),
    ("aniline", "other", "unassigned", "{0}Nc1ccc({1})cc1"),
)
CHAINS = ("C", "CC", "CCC", "C(C)C", "CCCC", "CC(C)C", "CCCCC", "C1CC1", "C1CCCC1", "C1CCCCC1", "CC=C", "CCO", "CCOC", "CCF",
          "CC#C", "CCCCCC", "CCCF", "C1CCC1", "CCSC", "CCCO", "CCCCF", "CCCCCCC", "CCC=C", "CCCOC")  # fmt: skip
RESTS = ("F", "Cl", "Br", "C", "OC", "CC", "C#N", "N(C)C", "SC", "OCC", "C(F)(F)F", "O", "I", "CCC", "C(C)C", "OC(F)F", "N",
         "C=C", "S(C)(=O)=O", "C(=O)OC", "OCCC", "CCCC")  # fmt: skip
BATCH = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large a world is; `years` back from 24 November 2026."""

    detections: int
    substances: int = 300
    organisations: int = 60
    countries: int = 40
    years: int = 5
    seed: float = 0.188


def fill(database: Database, size: Size, say: Callable[[str], None] = lambda _: None) -> None:
    """Fill an empty PostgreSQL database at the newest migration. Raises ValueError on SQLite or where the lists are too short."""
    if database.is_sqlite:
        raise ValueError("a world of this kind is made by PostgreSQL")
    if size.countries > len(COUNTRIES) or size.substances > len(SCAFFOLDS) * len(CHAINS) * len(RESTS):
        raise ValueError("there are not so many countries or structures in the lists")
    _people(database, size)
    with database.engine.begin() as connection:
        connection.execute(insert(Substance), list(_substances(size)))
        connection.execute(insert(SubstanceName), list(_names(size)))
    with database.engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))  # no triggers: counted at the end
        connection.execute(text("SELECT setseed(:seed)"), {"seed": size.seed})
        for statement in _PREPARE:
            connection.execute(text(statement), _numbers(size))
        reports = connection.scalar(text("SELECT count(*) FROM g_report"))
        for start in range(0, int(reports or 0), BATCH):
            for statement in _ROWS:
                connection.execute(text(statement), {"first": start, "last": start + BATCH})
            say(f"{min(start + BATCH, reports):,} of {reports:,} reports")
        for statement in _BESIDE:
            connection.execute(text(statement), _numbers(size))
    say("counting")
    rebuild(database)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))


def _people(database: Database, size: Size) -> None:
    """Laboratories over the countries, an authority in each, and one organisation of every other kind; a person in some."""
    now = datetime(END.year - size.years, END.month, 1, tzinfo=UTC)
    with database.write() as session:
        for n in range(size.organisations):
            country = COUNTRIES[(n * n) % size.countries if n >= size.countries else n]
            session.add(_organisation(f"L{n:05d}", f"Laboratory {n + 1}", "lab", country, now))
        for n, country in enumerate(COUNTRIES[: size.countries]):
            session.add(_organisation(f"A{n:05d}", f"Authority of {country}", "authority", country, now))
        session.add(_organisation("R00000", "Reviewers", "reviewer", "CH", now))
        session.add(_organisation("O00000", "Operator", "operator", "AT", now))
        session.flush()
        password: str | None = None
        for org_id, role in (("L00000", "lab"), ("A00000", "authority"), ("R00000", "reviewer"), ("O00000", "analyst")):
            person: Person = accounts.create_person(
                session, org_id=_id(org_id), email=f"{role}@example.org", name=role, role=role, password=PASSWORD, now=now
            )
            password = password or person.password_hash


def _organisation(number: str, name: str, kind: str, country: str, now: datetime) -> Organisation:
    return Organisation(id=_id(number), name=name, kind=kind, country=country, test=False, flagged=False, created_at=now)


def _id(number: str) -> str:
    return number.ljust(26, "0")


def _structures(size: Size) -> Iterator[tuple[int, tuple[str, str, str, str], str]]:
    combined = product(product(CHAINS, RESTS), SCAFFOLDS)
    for n, ((chain, rest), scaffold) in zip(range(size.substances), combined, strict=False):
        yield n, scaffold, scaffold[3].format(chain, rest)


def _key(smiles: str) -> str:
    letters = "".join(chr(65 + byte % 26) for byte in hashlib.sha256(smiles.encode()).digest())
    return f"{letters[:14]}-{letters[14:22]}SA-N"


def _substances(size: Size) -> Iterator[dict[str, Any]]:
    created = datetime(END.year - size.years, END.month, 1, tzinfo=UTC)
    for n, (word, group, effect, _), smiles in _structures(size):
        controlled = n % 7 == 0
        match = {
            "instrument": "UN-1961", "schedule": "I", "entry": f"{word} {n}", "basis": "listed", "certainty": "certain",
            "captured": True, "captured_elsewhere": None, "reason": None, "carve_outs": [], "rule": "un-1961/listed",
            "text_status": "read", "explanation": "Made for a benchmark.", "atoms": [0, 1, 2], "effective_from": "2020-01-01",
            "not_before": "2020-01-01", "source": "made for a benchmark",
        }  # fmt: skip
        key = _key(smiles)
        yield {
            "id": f"S{n:025d}", "key": f"inchikey:{key}", "name": f"{word} {n}", "inchikey": key, "connectivity": key[:14],
            "smiles": smiles, "inchi": f"InChI=1S/{n}", "formula": "C22H28N2O",
            "monoisotopic_mass": 150 + (n * 7919 % 40000) / 100,
            "identity": {"stereo": "none", "warnings": []}, "chemical_group": group, "effect_group": effect, "group_rule": None,
            "group_confirmed": False, "ordinary": n % 41 == 40, "harmful_adulterant": False, "shipped": n % 3 > 0,
            "legal_status": "controlled" if controlled else "not_controlled", "matches": [match] if controlled else [],
            "engine_version": "bench", "created_at": created, "merged_into": None,
        }  # fmt: skip


def _names(size: Size) -> Iterator[dict[str, Any]]:
    for n, (word, *_), _smiles in _structures(size):
        for kind, name in (("common", f"{word} {n}"), ("code", f"{word[:3].upper()}-{n}"), ("street", f"street name {n}")):
            yield {
                "id": f"N{n:020d}{kind[:5]:0<5}", "substance_id": f"S{n:025d}", "name": name, "folded": fold(name), "kind": kind,
                "language": "en", "source": "made for a benchmark",
            }  # fmt: skip


def _numbers(size: Size) -> dict[str, Any]:
    return {
        "reports": max(int(size.detections / 1.6), 1),
        "substances": size.substances,
        "labs": size.organisations,
        "countries": size.countries,
        "days": size.years * 365,
        "end": END,
        "places": json.dumps([[c, region_of(c)] for c in COUNTRIES[: size.countries]]),
        "alerts": max(100, size.detections // 1000),
        "months": size.years * 12,
        "until": datetime(END.year, END.month, END.day, tzinfo=UTC) + timedelta(hours=11),
    }


# Times of receipt grow with the number of the report, so that ids made of them do as well. Draws are squared to make few of the
# substances and laboratories common. A laboratory's samples are of its own country nine times in ten.
_PREPARE = (
    "CREATE TEMP TABLE g_place ON COMMIT DROP AS SELECT (row_number() OVER ())::int - 1 AS n, value ->> 0 AS country, "
    "value ->> 1 AS region FROM json_array_elements(cast(:places AS json))",
    """CREATE TEMP TABLE g_lab ON COMMIT DROP AS SELECT o.id, p.n AS home,
      (row_number() OVER (ORDER BY o.id))::int - 1 AS n
    FROM organisation o JOIN g_place p USING (country) WHERE o.kind = 'lab'""",
    """CREATE TEMP TABLE g_drawn ON COMMIT DROP AS
    SELECT n, 'Q' || lpad(n::text, 25, '0') AS id, lab, place, sampled, received, context, tlp, detections, has_case, form FROM (
      SELECT n, floor(:labs * power(random(), 1.6))::int AS lab, random() AS place,
        greatest(received::date - floor(power(random(), 3) * 120)::int, date '2000-01-01') AS sampled, received,
        (array['seizure','seizure','seizure','biological','collected','collected','purchase','production_site'])
          [1 + floor(random() * 8)::int] AS context,
        (array['GREEN','GREEN','GREEN','GREEN','GREEN','GREEN','CLEAR','AMBER','AMBER','AMBER+STRICT'])
          [1 + floor(random() * 10)::int] AS tlp,
        1 + floor(random() * 2.2)::int AS detections, random() < 0.02 AS has_case,
        (array['powder','tablet','crystal','capsule','liquid','herbal_sprayed','nasal_spray',NULL])
          [1 + floor(random() * 8)::int] AS form
      FROM (SELECT n, cast(:until AS timestamptz) - make_interval(secs => 86400.0 * :days * (1 - sqrt((n + 1.0) / :reports)))
            AS received FROM generate_series(0, :reports - 1) AS n) AS times
    ) AS drawn""",
    """CREATE TEMP TABLE g_report ON COMMIT DROP AS
    SELECT d.n, d.id, d.sampled, d.received, d.context, d.tlp, d.detections, d.has_case, d.form, l.id AS org_id,
      p.country, p.region
    FROM g_drawn d JOIN g_lab l ON l.n = d.lab
      JOIN g_place p ON p.n = CASE WHEN d.place < 0.9 THEN l.home ELSE floor((d.place - 0.9) * 10 * :countries)::int END""",
    "CREATE INDEX ON g_report (n)",
)
_ROWS = (
    """INSERT INTO report (id, org_id, lab_reference, version, state, outcome, tlp, country, historical, received_at, updated_at,
      answer)
    SELECT id, org_id, 'B-' || n, 1, 'active', 'detected', tlp, country, false, received, received,
      '{"alerts": [], "substances": []}'::jsonb FROM g_report WHERE n >= :first AND n < :last""",
    """INSERT INTO report_version (report_id, version, kind, body, body_sha256, actor, created_at)
    SELECT id, 1, 'created', '{}', repeat('0', 64), 'key:bench', received FROM g_report WHERE n >= :first AND n < :last""",
    """INSERT INTO sample (id, report_id, country, date_sampled, date_precision, sampled_on, context, form, transit, origin,
      destination, sold_as)
    SELECT id, id, country, sampled::text, 'day', sampled, context, form, '[]'::jsonb,
      CASE WHEN n % 5 = 0 THEN 'CN' WHEN n % 5 = 1 THEN 'IN' END, CASE WHEN n % 5 < 2 THEN country END,
      CASE WHEN n % 6 = 0 THEN 'oxycodone' END
    FROM g_report WHERE n >= :first AND n < :last""",
    """INSERT INTO detection (id, report_id, position, substance_id, resolution, candidates, reported_name, relation, abundance,
      purity_percent, purity_as, techniques, schymanski_level, confidence, matches, legal_status, warnings, engine_version,
      org_id, country, region, sampled_on, month, context, received_at, tlp, test, counted, report_version)
    SELECT 'D' || k || lpad(r.n::text, 24, '0'), r.id, k, CASE WHEN drawn.u < 0.97 THEN
        'S' || lpad(floor((SELECT count(*) FROM substance) * power(drawn.v, 3))::int::text, 25, '0') END,
      CASE WHEN drawn.u < 0.97 THEN 'structure' ELSE 'unresolved' END, '[]'::jsonb, 'as reported',
      CASE WHEN drawn.u < 0.93 THEN 'parent' ELSE 'impurity' END, CASE WHEN k = 0 THEN 'primary' ELSE 'minor' END,
      CASE WHEN drawn.w < 0.4 THEN round((drawn.w * 240)::numeric, 1)::float END, CASE WHEN drawn.w < 0.4 THEN 'base' END,
      '["gc", "ms"]'::jsonb, '2a',
      (array['confirmed','confirmed','probable','probable','tentative','screening'])[1 + floor(drawn.c * 6)::int],
      '[]'::jsonb, 'not_controlled', '[]'::jsonb, 'bench', r.org_id, r.country, r.region, r.sampled,
      to_char(r.sampled, 'YYYY-MM'), r.context, r.received, r.tlp, false, true, 1
    FROM g_report r CROSS JOIN generate_series(0, 2) AS k
      CROSS JOIN LATERAL (SELECT random() AS u, random() AS v, random() AS w, random() AS c, r.n + k AS row) AS drawn
    WHERE k < r.detections AND r.n >= :first AND r.n < :last""",
    """INSERT INTO harm_case (id, report_id, position, country, month, seriousness, role, exposure_evidence, toxidrome, icd, tlp,
      test, counted, report_version, received_at)
    SELECT 'C' || lpad(n::text, 25, '0'), id, 0, country, to_char(sampled, 'YYYY-MM'),
      (array['death','life_threatening','intensive_care','hospital_or_emergency_treatment','hospital_or_emergency_treatment'])
        [1 + (n % 5)::int], (array['sole_cause','combined_cause','contributory','undetermined'])[1 + (n % 4)::int], 'biological',
      '[]'::jsonb, '[]'::jsonb, 'AMBER', false, true, 1, received
    FROM g_report WHERE has_case AND n >= :first AND n < :last""",
    """INSERT INTO case_substance (case_id, detection_id, role, substance_id)
    SELECT c.id, d.id, c.role, d.substance_id FROM harm_case c JOIN g_report r ON r.id = c.report_id
      JOIN detection d ON d.report_id = r.id AND d.position = 0 WHERE r.n >= :first AND r.n < :last""",
)
_BESIDE = (
    """INSERT INTO activity_report (id, org_id, country, period, first_day, last_day, context, samples_tested, tlp, test, body,
      actor, received_at)
    SELECT 'T' || lpad(o.n::text, 6, '0') || lpad(m::text, 19, '0'), o.id, o.country, to_char(first, 'YYYY-MM'), first,
      (first + interval '1 month - 1 day')::date, NULL, 50 + 10 * (o.n % 40)::int, 'GREEN', false, '{}', 'key:bench',
      first + interval '40 days'
    FROM (SELECT id, country, row_number() OVER (ORDER BY id) AS n FROM organisation WHERE kind = 'lab') AS o
      CROSS JOIN generate_series(1, :months) AS m
      CROSS JOIN LATERAL (SELECT (date_trunc('month', cast(:end AS date)) - make_interval(months => m))::date AS first) AS f
    WHERE o.n % 2 = 0""",
    """CREATE TEMP TABLE g_alert ON COMMIT DROP AS SELECT (row_number() OVER (ORDER BY d.received_at DESC, d.id))::int AS n, d.*
    FROM (SELECT * FROM detection WHERE substance_id IS NOT NULL ORDER BY received_at DESC LIMIT :alerts) AS d""",
    """INSERT INTO alert (id, type, dedupe_key, rule, substance_id, country, region, level, tlp, state, reviewed, controlled,
      revision, org_id, test, needs_approval, received_at, created_at, issued_at)
    SELECT 'X' || lpad((1000000 - n)::text, 25, '0'), 'first_country', 'bench:' || n, 'first_country/v1', substance_id, country,
      region, 1 + n % 4, CASE WHEN tlp = 'CLEAR' THEN 'CLEAR' ELSE 'GREEN' END, 'issued', true, false, 1, org_id, false, false,
      received_at, received_at, received_at FROM g_alert""",
    """INSERT INTO alert_revision (alert_id, revision, msg_type, audience, level, reviewed, state, tlp, headline, short, summary,
      "full", instruction, numbers, countries, sent_at)
    SELECT a.id, 1, 'Alert', 'full', a.level, true, 'issued', a.tlp, 'A first report', 'A first report.', 'A first report.',
      'A first report.', 'Check your records.', '{}'::jsonb, jsonb_build_array(a.country), a.issued_at FROM alert a""",
    """INSERT INTO alert_evidence (alert_id, report_id, detection_id)
    SELECT 'X' || lpad((1000000 - n)::text, 25, '0'), report_id, id FROM g_alert""",
    """INSERT INTO alert_key (key, alert_id) SELECT dedupe_key, id FROM alert""",
)


def counted(connection: Connection) -> dict[str, int]:
    """How many rows the tables that grow have."""
    tables = ("report", "detection", "harm_case", "detection_cell", "substance_month", "place_month", "alert")
    return {table: int(connection.scalar(text(f"SELECT count(*) FROM {table}")) or 0) for table in tables}
