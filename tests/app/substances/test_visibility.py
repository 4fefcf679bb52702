"""What each role's numbers are computed over, and which of them are hidden (domain guide, section 7)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from app.auth.permissions import Principal, Role
from app.persistence.session import Database
from app.sharing.masking import MASK_BELOW, MASKED, CellState, counted, masked_cells, total_of
from app.substances import queries
from app.substances.search import Sort, search_substances
from tests.databases import ready
from tests.factories import NOW, World


def principal(role: Role, country: str = "DE", org_id: str = "nobody", *, test: bool = False) -> Principal:
    return Principal(
        actor="key:test", org_id=org_id, org_name="Test", kind="lab", country=country, role=role, test=test
    )  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    database = Database(f"sqlite:///{tmp_path / 'visibility.sqlite'}", pool_size=2)
    ready(database)
    with Session(database.engine) as session:
        yield World(session)
    database.dispose()


@given(st.dictionaries(st.integers(), st.integers(0, 60), max_size=12))
def test_masking_hides_small_cells_and_never_leaves_one_alone(counts: dict[int, int]) -> None:
    found = masked_cells(counts)
    hidden = {key for key, cell in found.items() if cell == MASKED}
    for key, n in counts.items():
        if 0 < n < MASK_BELOW:
            assert key in hidden
        if n == 0:
            assert found[key] == counted(0)
    if hidden and any(n >= MASK_BELOW for n in counts.values()):
        assert len(hidden) != 1
    assert total_of(found).at_least == sum(n for key, n in counts.items() if key not in hidden)
    assert (total_of(found).cell.state is CellState.MASKED) == bool(hidden)


def test_rows_above_the_readers_label_do_not_exist_for_them(world: World) -> None:
    lab, other = world.organisation("lab", "DE"), world.organisation("lab", "FR", name="Other")
    authority = world.organisation("authority", "FR")
    known = {label: world.substance(f"Substance {label}", shipped=False) for label in ("CLEAR", "GREEN", "AMBER", "RED")}
    for label, substance in known.items():
        world.detection(other, substance, tlp=label)

    def seen(reader: Principal | None) -> set[str]:
        page = search_substances(world.session, reader, now=NOW)
        ids = {row.id for row in page.items}
        assert page.total == len(ids)
        for label, substance in known.items():
            exists = queries.substance_detail(world.session, reader, substance.id) is not None
            assert exists == (substance.id in ids), label
        return {label for label, substance in known.items() if substance.id in ids}

    assert seen(None) == {"CLEAR"}
    assert seen(principal(Role.INDUSTRY)) == {"CLEAR"}
    assert seen(principal(Role.ADMIN)) == {"CLEAR"}
    assert seen(principal(Role.LAB, org_id=lab.id)) == {"CLEAR", "GREEN"}
    assert seen(principal(Role.LAB, "FR", org_id=other.id)) == {"CLEAR", "GREEN", "AMBER", "RED"}
    assert seen(principal(Role.AUTHORITY, "DE")) == {"CLEAR", "GREEN"}
    assert seen(principal(Role.AUTHORITY, "FR", org_id=authority.id)) == {"CLEAR", "GREEN", "AMBER"}
    assert seen(principal(Role.REVIEWER)) == {"CLEAR", "GREEN", "AMBER"}


def test_shipped_substances_exist_for_everybody(world: World) -> None:
    world.substance("Opium", shipped=True)
    assert [row.name for row in search_substances(world.session, None, now=NOW).items] == ["Opium"]


def test_a_test_laboratory_is_seen_by_itself_alone(world: World) -> None:
    tester = world.organisation("lab", "DE", test=True)
    substance = world.substance("Trial", shipped=False)
    world.detection(tester, substance)
    assert search_substances(world.session, principal(Role.ANALYST), now=NOW).items[0].detections == counted(0)
    assert not search_substances(world.session, principal(Role.LAB), now=NOW).items
    own = search_substances(world.session, principal(Role.LAB, org_id=tester.id, test=True), now=NOW)
    assert own.items[0].detections == counted(1)


def test_the_public_gets_counts_masked_and_a_laboratory_does_not(world: World) -> None:
    lab = world.organisation("lab", "DE")
    substance = world.substance("Rare")
    for n in range(3):
        world.detection(lab, substance, tlp="CLEAR", sampled_on=NOW.date() - timedelta(days=20 + n))
    ids = (substance.id,)
    for reader, masked in ((None, True), (principal(Role.INDUSTRY), True), (principal(Role.LAB), False)):
        row = search_substances(world.session, reader, now=NOW).items[0]
        series = queries.detections_by_month(world.session, reader, ids, now=NOW)
        countries = queries.detections_by_country(world.session, reader, ids, now=NOW)
        split = queries.confidence_split(world.session, reader, ids, now=NOW)
        shown = [row.detections, countries.rows[0].total, split.counted, dict(split.rows)["confirmed"], series.total.cell]
        assert all((cell == MASKED) == masked for cell in shown)
        if masked:
            assert not [point for point in series.points if point.total.n not in (0, None)]


def test_the_order_of_masked_counts_does_not_show(world: World) -> None:
    lab = world.organisation("lab", "DE")
    few, more = world.substance("A few"), world.substance("B more")
    for n in range(4):
        world.detection(lab, more, tlp="CLEAR")
        if n == 0:
            world.detection(lab, few, tlp="CLEAR")
    rows = search_substances(world.session, None, now=NOW, sort=Sort.DETECTIONS, descending=True).items
    assert [row.id for row in rows] == sorted([few.id, more.id])


def test_confirmed_and_probable_are_hidden_together(world: World) -> None:
    """Their sum is a cell of its own, so one of them alone would tell the other."""
    lab = world.organisation("lab", "DE")
    substance = world.substance("Split")
    for n in range(40):
        confidence = "probable" if n < 2 else "tentative" if n < 8 else "confirmed"
        world.detection(lab, substance, tlp="CLEAR", confidence=confidence)
    split = queries.confidence_split(world.session, None, (substance.id,), now=NOW)
    cells = dict(split.rows)
    assert cells["confirmed"] == cells["probable"] == MASKED
    assert split.counted == counted(34)


def test_counts_of_cases_are_masked_for_those_who_may_not_open_them(world: World) -> None:
    lab, other = world.organisation("lab", "DE"), world.organisation("lab", "MT", name="Small")
    substance = world.substance("Deadly")
    for n in range(3):
        world.case(world.detection(lab, substance), role="sole_cause" if n else "combined_cause")
    ids = (substance.id,)

    def deaths(reader: Principal | None) -> queries.CaseSummary:
        return queries.cases_of(world.session, reader, ids)

    assert deaths(principal(Role.LAB, org_id=lab.id)).deaths == counted(3)
    assert deaths(principal(Role.LAB, org_id=lab.id)).sole_cause == counted(2)
    assert deaths(principal(Role.AUTHORITY, "DE")).deaths == counted(3)
    assert deaths(principal(Role.ANALYST)).deaths == counted(3)
    assert deaths(principal(Role.REVIEWER)).deaths == counted(3)
    assert deaths(principal(Role.LAB, org_id=other.id)).deaths == MASKED
    assert deaths(principal(Role.AUTHORITY, "FR")).deaths == MASKED
    assert not deaths(None).any  # the public may not see the GREEN detections, so not their cases

    world.case(world.detection(other, substance))
    assert deaths(principal(Role.REVIEWER)).deaths == MASKED  # a country under 1 million inhabitants


def test_a_month_without_any_report_is_no_data_and_not_zero(world: World) -> None:
    lab = world.organisation("lab", "DE")
    substance, other = world.substance("One"), world.substance("Two")
    world.detection(lab, substance, sampled_on=NOW.date().replace(day=2))
    world.detection(lab, other, sampled_on=(NOW.date().replace(day=1) - timedelta(days=5)))
    points = queries.detections_by_month(world.session, principal(Role.LAB), (substance.id,), now=NOW).points
    assert [(p.total.state, p.total.n) for p in points[-3:]] == [
        (CellState.NO_DATA, None),
        (CellState.COUNTED, 0),
        (CellState.COUNTED, 1),
    ]
    assert points[-1].arriving


def test_only_parents_of_the_right_confidence_that_still_count_are_counted(world: World) -> None:
    lab = world.organisation("lab", "DE")
    substance = world.substance("Parent")
    world.detection(lab, substance)
    world.detection(lab, substance, relation="metabolite")
    world.detection(lab, substance, confidence="screening")
    world.detection(lab, substance, counted=False)
    reader = principal(Role.LAB)
    assert queries.detections_by_month(world.session, reader, (substance.id,), now=NOW).total.cell == counted(1)
    assert search_substances(world.session, reader, now=NOW).items[0].detections == counted(1)


def test_stereoisomers_are_counted_together(world: World) -> None:
    lab = world.organisation("lab", "DE")
    flat = world.substance("Flat", smiles="CC(N)Cc1ccccc1", inchikey="KWTSXDURSIMDCE-UHFFFAOYSA-N")
    left = world.substance("Left", smiles="C[C@H](N)Cc1ccccc1", inchikey="KWTSXDURSIMDCE-QMMMGPOBSA-N")
    world.detection(lab, flat)
    world.detection(lab, left)
    reader = principal(Role.LAB)
    detail = queries.substance_detail(world.session, reader, flat.id)
    assert isinstance(detail, queries.SubstanceDetail)
    assert set(detail.members) == {flat.id, left.id}
    assert detail.stereo_siblings == ((left.id, "Left"),)
    assert {row.detections for row in search_substances(world.session, reader, now=NOW).items} == {counted(2)}


def test_a_merged_substance_leads_to_the_other(world: World) -> None:
    kept, merged = world.substance("Kept"), world.substance("Merged")
    merged.merged_into = kept.id
    world.session.flush()
    assert queries.substance_detail(world.session, None, merged.id) == queries.MergedInto(id=kept.id)
    assert [row.name for row in search_substances(world.session, None, now=NOW).items] == ["Kept"]
