"""Search by structure: right answers, bounded in time, and only what exists for the reader."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rdkit import Chem, DataStructs

from app.persistence.models import Substance
from app.substances.structures import StructureIndex
from chem.errors import StructureError, StructureProblem
from chem.library import Library, Query, QueryForm, Search
from chem.similarity import fingerprint
from tests.bench.library import structures
from tests.conftest import Service
from tests.site import client_of, make_site, sign_in, token_in

FENTANYL = "CCC(=O)N(c1ccccc1)C1CCN(CCc2ccccc2)CC1"
HOSTILE = (
    "[*]" + "~[*]" * 40,
    "[*]~1" + "~[*]" * 40 + "~1",
    "*" * 60,
    "[*]" + "(~[*])(~[*])~[*]" * 20,
    "[$([*]~[*]~[*]~[*]~[*]~[*]~[*]~[*])]" * 12,
    "~".join(["[#6,#7,#8]"] * 70),
    "[" * 900,
    "[$(" * 300 + "C" + ")]" * 300,
    "(" * 500,
    "C1~2~3~4" * 30,
)


def smiles(text: str, search: Search = Search.SUBSTRUCTURE, least: float = 0.0) -> Query:
    return Query(search=search, form=QueryForm.SMILES, text=text, least=least)


@pytest.fixture(scope="module")
def plain() -> list[tuple[str, str]]:
    return [(f"{n:04}", text) for n, text in enumerate(structures(400))]


@pytest.mark.parametrize("text", ["c1ccccc1", "C1CCNCC1", "C(=O)N", "CNC(C)C", "Oc1ccccc1", "C1CC1", "[I]", "[nH]1cccc1"])
def test_a_substructure_is_found_where_the_toolkit_finds_it(plain: list[tuple[str, str]], text: str) -> None:
    query = Chem.MolFromSmiles(text)
    wanted = {identifier for identifier, stored in plain if Chem.MolFromSmiles(stored).HasSubstructMatch(query)}
    found = Library(plain).find(smiles(text))
    assert {one.id for one in found} == wanted
    assert [one.similarity for one in found] == sorted((one.similarity for one in found), reverse=True)


def test_similarity_is_tanimoto_sorted_and_cut(plain: list[tuple[str, str]]) -> None:
    query = fingerprint(Chem.MolFromSmiles(FENTANYL))
    wanted = {i: round(DataStructs.TanimotoSimilarity(query, fingerprint(Chem.MolFromSmiles(s))), 4) for i, s in plain}
    found = Library(plain).find(smiles(FENTANYL, Search.SIMILARITY, 0.3))
    assert {one.id: one.similarity for one in found} == {i: value for i, value in wanted.items() if value >= 0.3}
    assert [(-one.similarity, one.id) for one in found] == sorted((-one.similarity, one.id) for one in found)


# the service


@pytest.fixture
def stocked(sqlite_service: Service) -> Service:
    """Three laboratories' reports: one substance everybody may know, one that only its laboratory may."""
    own = sqlite_service.key("lab", "DE", name="Own")
    for n, (text, tlp) in enumerate(
        ((FENTANYL, "CLEAR"), ("CCCCC(=O)N(c1ccc(Br)cc1)C1CCN(CCc2ccccc2)CC1", "AMBER"), ("CNC(C)C(=O)c1ccccc1CC", "GREEN"))
    ):
        body = {
            "lab_reference": str(n),
            "sample": {"country": "DE", "date_sampled": "2026-11-20", "context": "seizure"},
            "substances": [{"structure": {"smiles": text}, "techniques": ["gc-ms"], "reference_material": "certified"}],
            "tlp": tlp,
        }
        answer = sqlite_service.client.post("/v1/reports", json=body, headers=own)
        assert answer.status_code == 201, answer.text
    sqlite_service.own = own  # type: ignore[attr-defined]
    return sqlite_service


def search(service: Service, key: dict[str, str], **body: Any) -> Any:
    return service.client.post("/v1/substances/search", json=body, headers=key)


def test_each_reader_finds_what_exists_for_them(stocked: Service) -> None:
    own: dict[str, str] = stocked.own  # type: ignore[attr-defined]
    other, industry = stocked.key("lab", "FR"), stocked.key("industry", "GB")
    for query in (
        {"smiles": "c1ccc(CCN2CCCCC2)cc1", "mode": "substructure"},
        {"smarts": "[#6]1~[#6]~[#7]~[#6]~[#6]~[#6]~1", "mode": "substructure"},
        {"smiles": f"{FENTANYL}.Cl", "mode": "similarity", "min_similarity": 0.3},
    ):
        counts = {}
        for name, key in (("own", own), ("other", other), ("industry", industry)):
            answer = search(stocked, key, **query)
            assert answer.status_code == 200, answer.text
            counts[name] = (answer.json()["total"], len(answer.json()["items"]))
        assert counts == {"own": (2, 2), "other": (1, 1), "industry": (1, 1)}
    first = search(stocked, own, smiles=f"{FENTANYL}.Cl", mode="similarity").json()["items"][0]
    assert (first["name"].lower(), first["similarity"]) == ("fentanyl", 1.0)


def test_pages_join_without_gap_or_repeat(stocked: Service) -> None:
    own: dict[str, str] = stocked.own  # type: ignore[attr-defined]
    whole = [row["id"] for row in search(stocked, own, smiles="c1ccccc1", mode="substructure").json()["items"]]
    assert len(whole) == 3
    seen: list[str] = []
    cursor = None
    while True:
        extra = {"cursor": cursor} if cursor else {}
        page = search(stocked, own, smiles="c1ccccc1", mode="substructure", limit=1, **extra).json()
        assert page["total"] == 3
        seen += [row["id"] for row in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == whole
    assert search(stocked, own, smiles="C", mode="similarity", cursor="x").status_code == 422


def test_what_is_stored_later_is_found_at_once(stocked: Service) -> None:
    own: dict[str, str] = stocked.own  # type: ignore[attr-defined]
    assert search(stocked, own, smiles="C1CC1", mode="substructure").json()["total"] == 0
    with stocked.context.database.write() as session:
        session.add(
            Substance(
                key="inchikey:TEST", name="Test", smiles="NC1CC1", legal_status="not_controlled", matches=[], shipped=True,
                engine_version="x", created_at=stocked.clock.at,
            )
        )  # fmt: skip
    assert search(stocked, own, smiles="C1CC1", mode="substructure").json()["total"] == 1
    with stocked.context.database.write() as session:
        row = session.query(Substance).where(Substance.name == "Test").one()
        row.merged_into = session.query(Substance).where(Substance.name != "Test").first().id  # type: ignore[union-attr]
    assert search(stocked, own, smiles="C1CC1", mode="substructure").json()["total"] == 0


def test_wrong_searches_name_the_field(stocked: Service) -> None:
    own: dict[str, str] = stocked.own  # type: ignore[attr-defined]
    for body, pointer in (
        ({"smiles": "c1ccc", "mode": "substructure"}, "/smiles"),
        ({"smiles": "c1ccc", "mode": "similarity"}, "/smiles"),
        ({"smarts": "[C", "mode": "substructure"}, "/smarts"),
        ({"smarts": "C", "mode": "similarity"}, "/smarts"),
        ({"smarts": "C"}, "/mode"),
        ({"smiles": "C" * 160, "mode": "substructure"}, "/smiles"),
    ):
        answer = search(stocked, own, **body)
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"][0]["pointer"] == pointer


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StructureIndex]:
    """An index over 2,000 stored structures."""
    from app.persistence.session import Database
    from tests.conftest import NOW
    from tests.databases import ready

    database = Database(f"sqlite:///{tmp_path_factory.mktemp('index') / 'nps.sqlite'}")
    ready(database)
    with database.write() as session:
        session.add_all(
            Substance(
                key=f"inchikey:{n}", name=str(n), smiles=text, legal_status="not_controlled", matches=[], engine_version="x",
                created_at=NOW,
            )
            for n, text in enumerate(structures(2_000))
        )  # fmt: skip
    made = StructureIndex(database)
    yield made
    made.close()
    database.dispose()


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_pattern_ends_in_time(index: StructureIndex, text: str) -> None:
    index.find(smiles("C"), deadline_s=30)  # the index is there
    start = time.monotonic()
    try:
        index.find(Query(search=Search.SUBSTRUCTURE, form=QueryForm.SMARTS, text=text), deadline_s=1.0)
    except StructureError as error:
        assert error.code in (StructureProblem.TIMEOUT, StructureProblem.UNREADABLE, StructureProblem.TOO_LARGE)  # noqa: PT017
    assert time.monotonic() - start < 5
    assert len(index.find(smiles("c1ccccc1"), deadline_s=30)) > 1_000


def test_the_page_finds_by_every_way(tmp_path: Path, chemistry: Any) -> None:
    app = make_site(tmp_path)
    app.state.context.chemistry = chemistry
    client = client_of(app)
    assert client.get("/structure-search").status_code == 303
    sign_in(client, "lab.de@example.org")
    token = token_in(client.get("/structure-search").text)
    for mode, text, name in (
        ("exact", f"{FENTANYL}.Cl", "Fentanyl</a>"),
        ("substructure", "C1CCNCC1", "para-Fluorofentanyl"),
        ("similarity", FENTANYL, "para-Fluorofentanyl"),
    ):
        answer = client.post("/structure-search", data={"csrf_token": token, "mode": mode, "structure": text})
        assert answer.status_code == 200
        assert name in answer.text
        assert "Amberine" not in answer.text
    refused = client.post("/structure-search", data={"csrf_token": token, "mode": "substructure", "structure": "c1ccc"})
    assert refused.status_code == 422
    assert 'role="alert"' in refused.text
    app.state.context.structures.close()
