"""Forms, purity, companions and routes of all samples: exact, split by confidence, each with what it is of."""

from __future__ import annotations

import re
from typing import Any

import pytest

from app.auth.permissions import Principal, Role
from app.substances import samples
from app.substances.sample_figures import beside_figure, forms_figure, purity_figure, routes_of
from app.substances.samples import Split, samples_of
from tests.conftest import Service

SURE = {"techniques": ["gc-ms", "nmr"], "schymanski_level": "1", "reference_material": "certified", "isomers_excluded": "yes"}
LIKELY = {"techniques": ["gc-ms"], "schymanski_level": "2a", "reference_material": "library_only"}


def _report(n: int) -> dict[str, Any]:
    """Fifteen: n below 12 tablets of n + 1 per cent as base; two patient-owned powders as salt; one falsified medicine."""
    sample: dict[str, Any] = {"country": "DE", "date_sampled": "2026-10-03", "context": "seizure"}
    found: dict[str, Any] = {"name": "isotonitazene", **(SURE if n % 3 else LIKELY)}
    if n < 12:
        sample |= {"form": "tablet"}
        found |= {"purity_percent": float(n + 1), "purity_as": "base"}
    elif n < 14:
        sample |= {"form": "powder", "context": "collected", "context_detail": "patient_owned"}
        found |= {"purity_percent": 80.5, "purity_as": "salt"}
    else:
        sample |= {"form": "falsified_medicine"}
    if n in (0, 1, 2):
        sample |= {"origin": "CN", "transit": ["NL"], "destination": "DE"}
    if n == 3:
        sample |= {"destination": "FR"}
    beside = [{"name": "caffeine", "techniques": ["gc-ms"]}] if n < 5 else []
    return {"lab_reference": f"S-{n}", "sample": sample, "substances": [found, *beside]}


def _filled(service: Service) -> tuple[dict[str, str], Principal, str]:
    lab = service.key("lab", "DE", name="The laboratory")
    ids = set()
    for n in range(15):
        answer = service.client.post("/v1/reports", json=_report(n), headers=lab)
        assert answer.status_code == 201, answer.text
        ids.add(answer.json()["substances"][0]["substance_id"])
    (substance,) = ids
    reader = Principal(
        actor="key:x", org_id=service.org_id("The laboratory"), org_name="", kind="lab", country="DE", role=Role.LAB, test=False
    )
    return lab, reader, substance


def test_every_sample_is_counted_with_its_confidence(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    _, reader, substance = _filled(service)
    with service.context.database.read() as session:
        found = samples_of(session, reader, [substance])
    assert found.looked_at == Split(10, 5)
    assert found.of == "all 15 samples"
    assert found.forms == (("tablet", Split(8, 4)), ("powder", Split(1, 1)), ("falsified_medicine", Split(1, 0)))
    assert found.details["patient_owned"] == Split(1, 1)
    tablets, powders = found.purities
    assert (tablets.form, tablets.basis, tablets.count, tablets.middle) == ("tablet", "base", Split(8, 4), 6.5)
    assert (tablets.low, tablets.high) == (3.75, 9.25)
    assert tablets.values == tuple(float(n) for n in range(1, 13))
    assert (powders.middle, powders.low, powders.high) == (80.5, None, None)
    assert found.beside == (("caffeine", Split(3, 2)),)
    assert [(r.origin, r.transit, r.destination, r.count) for r in found.routes] == [
        ("CN", ("NL",), "DE", Split(2, 1)), ("", (), "FR", Split(0, 1)),
    ]  # fmt: skip
    monkeypatch.setattr(samples, "MOST", 6)
    with service.context.database.read() as session:
        newest = samples_of(session, reader, [substance])
    assert newest.of == "the newest 6 samples"
    assert newest.looked_at.n == 6
    assert dict(newest.forms)["falsified_medicine"].n == 1
    assert newest.beside == ()
    other = Principal(actor="key:y", org_id="0" * 26, org_name="", kind="lab", country="FR", role=Role.LAB, test=False)
    with service.context.database.read() as session:
        abroad = samples_of(session, other, [substance])
    assert abroad.routes == ()  # a route shows to the sender and its country's authority
    assert routes_of(abroad) is None


def test_each_figure_says_what_it_is_of(sqlite_service: Service) -> None:
    service = sqlite_service
    lab, reader, substance = _filled(service)
    with service.context.database.read() as session:
        found = samples_of(session, reader, [substance])
    forms, purity, beside = (make("X", found) for make in (forms_figure, purity_figure, beside_figure))
    routes = routes_of(found)
    assert forms
    assert purity
    assert beside
    assert routes
    assert forms.title == "X came most often as tablet: 12 of 15 samples"
    assert [value.text for value in forms.rows[0]] == ["Tablet", "12", "8", "4"]
    assert purity.title == "X, tablet: median 6.5 % as base; half of 12 samples between 3.8 and 9.2 %"
    assert purity.denominator == "Purity is stated for 14 of 15 samples; [x] not stated for 1."
    assert [value.text for value in purity.rows[1]][:4] == ["Powder, as salt", "2", "1", "1"]
    assert purity.rows[1][6].text == "under 10 samples"
    assert [value.text for value in beside.rows[0]] == ["caffeine", "5", "3", "2", "33.3 %", "15.2 to 58.3 %"]
    assert routes.title == "3 of 4 reports with a route name China as origin"
    assert routes.rows[0] == ("China", "Netherlands", "Germany", Split(2, 1))
    assert routes.rows[1][:3] == ("[x] not stated", "[x] not stated", "France")
    assert routes.denominator.startswith("Of 15 samples; for 11 the route is not stated or not open to you")
    path = f"/substances/{substance}/detections-by-purity"
    public = service.client.get(f"{path}.csv")
    assert public.status_code == 404  # purity is not public
    page = service.client.get(f"/substances/{substance}").text
    assert "Forms, purity and routes show to laboratories, authorities and reviewers." in page
    assert re.search(r"Detections split into falsified, diverted and patient-owned", page)
    assert lab
