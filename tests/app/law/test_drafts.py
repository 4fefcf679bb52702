"""A draft rule is asked of medicines, named and stored substances; what it catches by mistake is listed; nothing becomes law."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from app.chemistry import Chemistry
from app.law import impact
from app.law.draft_pages import EXAMPLE
from app.worker import Worker
from tests.site import client_of, make_site, sign_in, token_in

MEDICINES = """name,smiles,source
bupropion,CC(NC(C)(C)C)C(=O)c1cccc(Cl)c1,test
aspirin,CC(=O)Oc1ccccc1C(=O)O,test
"""


@pytest.fixture
def few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two medicines and one named substance in place of thousands."""
    path = tmp_path / "medicines.csv"
    path.write_text(MEDICINES)
    monkeypatch.setattr(impact, "MEDICINES", path)
    monkeypatch.setattr(impact, "_named", lambda: iter((impact.Asked("mephedrone", "CNC(C)C(=O)c1ccc(C)cc1"),)))


@pytest.mark.usefixtures("few")
def test_a_medicine_hit_by_mistake_is_listed(tmp_path: Path, chemistry: Chemistry) -> None:
    app = make_site(tmp_path)
    context = app.state.context
    context.chemistry = chemistry
    client = client_of(app)
    sign_in(client, "analyst.at@example.org")
    page = client.get("/law/draft")
    assert "cathinones" in page.text
    token = token_in(page.text)
    refused = client.post("/law/draft", data={"csrf_token": token, "document": "instrument = 'X"})
    assert refused.status_code == 422
    assert "There is a problem" in refused.text
    sent = client.post("/law/draft", data={"csrf_token": token, "document": EXAMPLE}, follow_redirects=False)
    assert sent.status_code == 303
    address = sent.headers["location"]
    assert "hx-get" in client.get(address).text
    Worker(context, schedule=False).run_due()
    done = client.get(address).text
    assert "hx-get" not in done
    assert "1 approved medicine is caught" in done
    assert "bupropion" in done
    assert "aspirin" not in done
    assert "mephedrone" in done
    assert context.chemistry.engine.version == chemistry.engine.version  # nothing became law
    other = client_of(app)
    sign_in(other, "authority.de@example.org")
    assert other.get(address).status_code == 403


def test_every_rule_has_its_conditions_in_words_and_is_drawn(chemistry: Chemistry) -> None:
    from tests.factories import NOW

    engine = chemistry.engine
    for rule in {rule.id for rule in engine.rules()}:
        sketch = engine.sketch(rule, NOW.date())
        if rule == "us-csa/positional-isomer":
            continue  # no core of its own: isomers of what the list names
        assert sketch.cores, rule
        assert sketch.conditions[0].label == "Core"
        places = [condition.label for condition in sketch.conditions if condition.label[1:].isdigit()]
        assert places == [f"R{n}" for n in range(1, len(places) + 1)]
        assert all(condition.text.endswith(".") for condition in sketch.conditions)
    with pytest.raises(KeyError):
        engine.sketch("none", NOW.date())


def test_a_day_before_the_rule_says_so(tmp_path: Path, chemistry: Chemistry) -> None:
    app = make_site(tmp_path)
    app.state.context.chemistry = chemistry
    client = client_of(app)
    assert "it begins on 6 Feb 2018" in client.get("/law/rule?id=us-csa/fentanyl-related&as_of=2017-01-01").text
    assert "In force on 24 Nov 2026" in client.get("/law/rule?id=us-csa/fentanyl-related").text
    changed = client.get("/law/instruments/US-CSA/changes?from=2025-07-01&to=2025-08-01").text
    assert "Class rules begun" in changed
    assert "21 U.S.C. 812(c) Schedule I (e)" in changed
    assert client.get("/law/instruments/UN-1961/changes?from=2022-01-01&to=2026-11-24").text.count("2-Methyl-AP-237") >= 1
    assert client.get("/law/instruments/UN-1961/changes?from=soon").status_code == 422


def test_the_command_refuses_what_is_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.cli import main

    monkeypatch.setenv("NPS_DATA_DIR", str(tmp_path))
    draft = tmp_path / "draft.toml"
    draft.write_text(EXAMPLE.split("[[rule]]")[0])
    told = CliRunner().invoke(main, ["schedules", "impact", str(draft)])
    assert told.exit_code == 1
    assert "at least one rule" in told.output
