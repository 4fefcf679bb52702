"""Any valid report round-trips: posted, read, corrected, read, withdrawn, with its whole history, on both databases."""

from __future__ import annotations

import itertools
import json
from datetime import date
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql

from app.intake import vocabularies as v
from app.persistence.models import Detection, HarmCase, Incident, Sample
from tests.conftest import NOW, Service

# one of each kind of what a substance can be: structure, salt, set, names known, unknown and ambiguous, a class, a mixture
WHAT: list[dict[str, Any]] = [
    {"structure": {"smiles": "CCC(=O)N(c1ccc(F)cc1)C1CCN(CCc2ccccc2)CC1.Cl"}},
    {"structure": {"smiles": "CNC(C)C(=O)c1ccc(C)cc1"}, "name": "mephedrone", "cas": "1189805-46-6"},
    {"structure": {"inchi": "InChI=1S/C10H15N/c1-9(11-2)8-10-6-4-3-5-7-10/h3-7,9,11H,8H2,1-2H3"}},
    {"structure": {"candidates": [{"smiles": "CNC(C)C(=O)c1ccccc1C"}, {"smiles": "CNC(C)C(=O)c1cccc(C)c1"}]}},
    {"structure": {"smiles": "*c1ccccc1"}},
    {"name": "isotonitazene or protonitazene"},
    {"name": "Ketamin HCl"},
    {"name": "Fentanyl or Analog"},
    {"name": "No Library Match"},
    {"name": "Zölibat \u200b 7 „x“"},
    {"cas": "437-38-7"},
    {"inchikey": "PJMPHNIQZUBGLI-UHFFFAOYSA-N"},
    {"structure": {"smiles": "CN1CCC[C@H]1c1cccnc1.CN1C=NC2=C1C(=O)N(C(=O)N2C)C"}},
]
text = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=60).map(str.strip).filter(bool)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


dates = st.dates(min_value=date(2019, 1, 1), max_value=NOW.date())
written = st.tuples(dates, st.sampled_from([4, 7, 10])).map(lambda pair: pair[0].isoformat()[: pair[1]])


@st.composite
def samples(draw: st.DrawFn) -> dict[str, Any]:
    context = draw(st.sampled_from(sorted(v.CONTEXTS)))
    details = v.CONTEXTS[context]
    return {
        "country": draw(st.sampled_from(["DE", "FR", "MT", "US", "CA"])),
        "date_sampled": draw(written),
        "context": context,
        "context_detail": draw(maybe(st.sampled_from(details))) if details else None,
        "form": draw(maybe(st.sampled_from(v.FORMS))),
        "matrix": draw(maybe(st.sampled_from(v.MATRICES))),
        "sold_as": draw(maybe(text)),
        "quantity": draw(
            maybe(
                st.fixed_dictionaries(
                    {"value": st.floats(0.001, 1e6, allow_nan=False), "unit": st.sampled_from(v.UNITS)},
                    optional={"basis": st.sampled_from(v.BASES)},
                )
            )
        ),
        "origin": draw(maybe(st.sampled_from(["CN", "NL"]))),
        "transit": draw(st.lists(st.sampled_from(["BE", "PL"]), max_size=2)),
    }


substances = st.builds(
    lambda what, more: what | {name: value for name, value in more.items() if value is not None},
    st.sampled_from(WHAT),
    st.fixed_dictionaries(
        {
            "relation": st.sampled_from(v.RELATIONS),
            "abundance": maybe(st.sampled_from(v.ABUNDANCES)),
            "purity_percent": maybe(st.floats(0, 100, allow_nan=False)),
            "purity_as": maybe(st.sampled_from(v.PURITY_AS)),
            "techniques": st.lists(st.sampled_from(sorted(v.TECHNIQUES | set(v.COMBINED))), max_size=4),
            "schymanski_level": maybe(st.sampled_from(v.SCHYMANSKI)),
            "reference_material": maybe(st.sampled_from(v.REFERENCE_MATERIALS)),
            "isomers_excluded": maybe(st.sampled_from(v.ISOMERS_EXCLUDED)),
            "concentration": maybe(
                st.fixed_dictionaries(
                    {"value": st.floats(0, 1e6, allow_nan=False), "unit": st.sampled_from(v.CONCENTRATION_UNITS)}
                )
            ),
        }
    ),
)


@st.composite
def reports(draw: st.DrawFn) -> dict[str, Any]:
    found = draw(st.lists(substances, max_size=4))
    cases = st.fixed_dictionaries(
        {"seriousness": st.sampled_from(v.SERIOUSNESS), "role": st.sampled_from(v.ROLES)},
        optional={"route": st.sampled_from(v.ROUTES), "age_band": st.sampled_from(v.AGE_BANDS), "pss": st.integers(0, 4)},
    )
    body: dict[str, Any] = {"sample": draw(samples()), "substances": found, "tlp": draw(st.sampled_from(v.TLP))}
    if not found:
        body["outcome"] = "none_detected"
    else:
        body["cases"] = draw(st.lists(cases, max_size=2))
    if comment := draw(maybe(text)):
        body["comment"] = comment
    return body


def shown_as_sent(shown: dict[str, Any], body: dict[str, Any]) -> None:
    """What comes back is what was sent, field by field, as far as the presentation has the field."""
    for name, value in body["sample"].items():
        if name == "quantity" and value is not None:
            value = {"basis": None, **value}
        assert shown["sample"][name] == value, name
    assert [s["reported_name"] for s in shown["substances"]] == [s.get("name") for s in body["substances"]]
    assert [s["reported_structure"] for s in shown["substances"]] == [s.get("structure") for s in body["substances"]]
    for back, sent in zip(shown["substances"], body["substances"], strict=True):
        for name in ("relation", "abundance", "purity_percent", "purity_as", "concentration"):
            assert back[name] == sent.get(name), name
    assert len(shown["cases"]) == len(body.get("cases", []))
    assert (shown["tlp"], shown["outcome"]) == (body["tlp"], body.get("outcome", "detected"))


def test_any_valid_report_round_trips(service: Service) -> None:
    key = service.key("lab", "DE")
    client = service.client
    numbers = itertools.count(1)

    @settings(max_examples=15, suppress_health_check=list(HealthCheck))
    @given(first=reports(), second=reports())
    def trip(first: dict[str, Any], second: dict[str, Any]) -> None:
        reference = f"RT-{next(numbers)}"
        first, second = first | {"lab_reference": reference}, second | {"lab_reference": reference}
        posted = client.post("/v1/reports", json=first, headers=key)
        assert posted.status_code == 201, posted.text
        address = f"/v1/reports/{posted.json()['id']}"
        read = client.get(address, headers=key)
        assert read.headers["etag"] == '"1"'
        shown_as_sent(read.json(), first)
        corrected = client.put(address, json=second, headers=key | {"If-Match": read.headers["etag"]})
        assert corrected.status_code == 200, corrected.text
        read = client.get(address, headers=key)
        assert read.headers["etag"] == '"2"'
        shown_as_sent(read.json(), second)
        stale = client.put(address, json=first, headers=key | {"If-Match": '"1"'})
        assert stale.status_code == 412
        withdrawn = client.post(f"{address}/withdraw", json={"reason": "a test"}, headers=key)
        assert withdrawn.status_code == 200, withdrawn.text
        read = client.get(address, headers=key).json()
        assert (read["state"], read["version"]) == ("withdrawn", 3)
        history = client.get(f"{address}/versions", headers=key).json()["items"]
        assert [item["kind"] for item in history] == ["created", "corrected", "withdrawn"]
        assert [item["report"] for item in history] == [json.loads(json.dumps(first)), json.loads(json.dumps(second)), None]

    trip()


WIDTHS: dict[tuple[type, str], tuple[str, ...]] = {
    (Sample, "context"): tuple(v.CONTEXTS),
    (Sample, "context_detail"): tuple(detail for details in v.CONTEXTS.values() for detail in details),
    (Sample, "matrix"): v.MATRICES,
    (Sample, "form"): v.FORMS,
    (Sample, "quantity_unit"): v.UNITS,
    (Sample, "quantity_basis"): v.BASES,
    (Detection, "relation"): v.RELATIONS,
    (Detection, "abundance"): v.ABUNDANCES,
    (Detection, "purity_as"): v.PURITY_AS,
    (Detection, "schymanski_level"): v.SCHYMANSKI,
    (Detection, "reference_material"): v.REFERENCE_MATERIALS,
    (Detection, "isomers_excluded"): v.ISOMERS_EXCLUDED,
    (Detection, "tlp"): v.TLP,
    (Detection, "confidence"): v.CONFIDENCE,
    (HarmCase, "seriousness"): v.SERIOUSNESS,
    (HarmCase, "role"): v.ROLES,
    (HarmCase, "exposure_evidence"): v.EXPOSURE_EVIDENCE,
    (HarmCase, "route"): v.ROUTES,
    (HarmCase, "outcome"): v.OUTCOMES,
    (HarmCase, "intent"): v.INTENTS,
    (HarmCase, "age_band"): v.AGE_BANDS,
    (HarmCase, "sex"): v.SEXES,
    (HarmCase, "naloxone"): v.NALOXONE,
    (Incident, "kind"): v.INCIDENT_KINDS,
    (Incident, "mode"): v.TRANSPORT_MODES,
    (Incident, "sale_channel"): v.SALE_CHANNELS,
}


def test_every_value_of_a_vocabulary_fits_its_column() -> None:
    for (model, column), values in WIDTHS.items():
        kind = model.__table__.columns[column].type.dialect_impl(postgresql.dialect())  # type: ignore[attr-defined]
        assert max(map(len, values)) <= kind.length, (model.__tablename__, column)  # type: ignore[attr-defined]
