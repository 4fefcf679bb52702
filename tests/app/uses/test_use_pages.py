"""Pages of the register: a partner declares and withdraws, an analyst decides; faults stand at their fields."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from sqlalchemy import select

from app.persistence.models import LegitimateUse, Organisation, Substance
from tests.factories import NOW
from tests.site import client_of, close_site, make_site, post, signed_in

PARTNER, ANALYST, LAB = "industry.gb@example.org", "analyst.at@example.org", "lab.de@example.org"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    app = make_site(tmp_path_factory.mktemp("site"))
    yield app
    close_site(app)


def substance_id(site: FastAPI, name: str) -> str:
    with site.state.context.database.read() as session:
        return session.scalars(select(Substance.id).where(Substance.name == name)).one()


def test_a_form_says_each_fault_at_its_field_and_keeps_what_was_typed(site: FastAPI) -> None:
    partner = signed_in(site, PARTNER)
    pff = substance_id(site, "para-Fluorofentanyl")
    form = f"/legitimate-uses/new?substance_id={pff}"
    assert "<strong>Substance:</strong> para-Fluorofentanyl" in partner.get(form).text
    wrong = post(partner, "/legitimate-uses/new", form, use="known", source="", note="kept", countries="de, xx",
                 until="2026-99-01", substance_id=pff)  # fmt: skip
    assert wrong.status_code == 422
    assert "<title>Error: " in wrong.text
    for fault in ("countries", "source", "until"):
        assert f'<a href="#{fault}">' in wrong.text, fault
        assert f'id="{fault}-fault"' in wrong.text, fault
    assert ">\nkept</textarea>" in wrong.text
    rule = post(partner, "/legitimate-uses/new", form, use="known", source="a register", substance_id=pff)
    assert 'id="kind-fault">Kind: say it for a known use' in rule.text
    nothing = post(partner, "/legitimate-uses/new", form, use="none", source="a register")
    assert 'id="substance-fault">Substance: give its id' in nothing.text
    unknown = post(
        partner, "/legitimate-uses/new", form, use="none", source="a register", substance_id="01JD0000000000000000000000"
    )
    assert 'id="substance-fault">There is no substance of this id.' in unknown.text
    stored = post(partner, "/legitimate-uses/new", form, use="known", kind="research", source="a register", countries="gb; de",
                  substance_id=pff)  # fmt: skip
    assert (stored.status_code, stored.headers["location"]) == (303, "/legitimate-uses")
    again = post(partner, "/legitimate-uses/new", form, use="known", kind="research", source="a register", substance_id=pff)
    assert again.status_code == 422
    assert '<a href="/legitimate-uses">You declared this before' in again.text
    listed = partner.get("/legitimate-uses").text
    assert "Germany, United Kingdom" in listed
    with site.state.context.database.read() as session:
        (row,) = session.execute(select(LegitimateUse.id, LegitimateUse.countries)).all()
    assert row.countries == ["DE", "GB"]
    assert post(partner, f"/legitimate-uses/{row.id}/withdraw", "/legitimate-uses", reason="for the next test").status_code == 303


def test_a_declaration_is_decided_with_a_note_and_withdrawn_with_a_reason(site: FastAPI) -> None:
    partner, analyst, lab = (signed_in(site, who) for who in (PARTNER, ANALYST, LAB))
    pff = substance_id(site, "para-Fluorofentanyl")
    form = f"/legitimate-uses/new?substance_id={pff}"
    for kind in ("clinical_study", "industrial_product"):
        post(partner, "/legitimate-uses/new", form, use="known", kind=kind, source=f"source of {kind}", substance_id=pff)
    with site.state.context.database.read() as session:
        ids = dict(session.execute(select(LegitimateUse.kind, LegitimateUse.id)).all())
        partner_name = session.scalars(select(Organisation.name).where(Organisation.kind == "industry")).one()
    assert partner_name in analyst.get("/legitimate-uses").text
    assert "2 declarations" in analyst.get("/legitimate-uses").text
    assert "No confirmed declaration is on file" in lab.get("/legitimate-uses").text
    path = f"/legitimate-uses/{ids['clinical_study']}/decide"
    silent = post(analyst, path, "/legitimate-uses", decision="confirmed")
    assert silent.status_code == 422
    assert f'id="note-{ids["clinical_study"]}-fault"' in silent.text
    undecided = post(analyst, path, "/legitimate-uses", note="looked")
    assert 'value="looked"' in undecided.text
    assert post(analyst, path, "/legitimate-uses", decision="confirmed", note="read the register").status_code == 303
    other = f"/legitimate-uses/{ids['industrial_product']}/decide"
    assert post(analyst, other, "/legitimate-uses", decision="refused", note="no such entry").status_code == 303
    assert "Nothing waits: every declaration is decided." in analyst.get("/legitimate-uses").text
    assert "no such entry" in partner.get("/legitimate-uses").text
    seen = lab.get("/legitimate-uses").text
    assert "source of clinical_study" in seen
    assert "source of industrial_product" not in seen
    assert partner_name not in seen
    section = client_of(site).get(f"/substances/{pff}").text.partition('id="medical"')[2].partition("</section>")[0]
    assert "Under study" in section
    assert f"confirmed by an analyst on {NOW.day} Nov 2026" in section
    withdraw = f"/legitimate-uses/{ids['clinical_study']}/withdraw"
    short = post(partner, withdraw, "/legitimate-uses", reason="x")
    assert short.status_code == 422
    assert "<details open>" in short.text
    assert post(partner, withdraw, "/legitimate-uses", reason="the study has ended").status_code == 303
    assert "No confirmed declaration is on file" in lab.get("/legitimate-uses").text
    section = client_of(site).get(f"/substances/{pff}").text.partition('id="medical"')[2].partition("</section>")[0]
    assert "No declaration of industry is confirmed" in section
