from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from reactivation_sandbox.process import Town, running_town
from reactivation_sandbox.town import Town as World
from tests.sandbox.paging import pages

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def big() -> Iterator[Town]:
    with running_town(salons=2, clients=120, history=15, ready_within_s=120) as town:
        yield town


def test_every_client_has_as_many_records_as_asked_over_two_years(big: Town) -> None:
    for company in (101, 102):
        book = big.book(company)
        rows = [row for row in book["records"] if row["client_id"]]
        assert len(rows) == 120 * 15
        assert {row["client_id"] for row in rows} == {row["client_id"] for row in book["clients"]}
        starts = [datetime.fromisoformat(row["starts_at"]) for row in rows]
        assert NOW - timedelta(days=750) < min(starts) < NOW - timedelta(days=700)
        ahead = [row for row, at in zip(rows, starts, strict=True) if at > NOW]
        assert 0 < len(ahead) < 40
        assert all(row["attendance"] in {0, 2} for row in ahead)
        past = [row for row, at in zip(rows, starts, strict=True) if at <= NOW and not row["deleted"]]
        missed = sum(row["attendance"] == -1 for row in past)
        assert 0.02 < missed / len(past) < 0.09
        assert all(row["attendance"] in {1, -1} for row in past)
        assert 0.02 < sum(row["deleted"] for row in rows) / len(rows) < 0.1
        assert all(row["created"] < row["starts_at"] and row["created"] < row["changed"] for row in rows if row["starts_at"] < NOW.isoformat())  # fmt: skip
        last = {row["client_id"]: row["starts_at"] for row in sorted(past, key=lambda row: row["starts_at"])}
        assert 0.2 < sum(at < "2026-09-15" for at in last.values()) / 120 < 0.7


def test_it_is_the_same_town_every_time_and_lives_on() -> None:
    def town(seed: int) -> World:
        return World(seed=seed, now=NOW, salons=1, clients=60, history=8)

    def rows(town: World) -> list[object]:
        return [
            (r.record_id, r.client_id, r.starts_at, r.attendance, r.changed) for r in town.salons[101].records.values()
        ]

    one, other = town(4), town(4)
    assert rows(one) == rows(other)
    assert rows(one) != rows(town(5))
    before = len(rows(one))
    list(one.advance(NOW + timedelta(days=20)))
    assert len(rows(one)) > before
    assert all(row.deleted or row.attendance in {1, -1} for row in one.salons[101].records.values() if row.client_id and row.ends_at < one.now)  # fmt: skip


def test_pages_of_a_big_salon_are_one_list(big: Town) -> None:
    headers = {
        "Authorization": f"Bearer {big.partner}, User {big.user}",
        "Accept": "application/vnd.yclients.v2+json",
    }
    with httpx.Client(base_url=big.yclients_url, headers=headers, trust_env=False) as crm:
        found = [row["id"] for row in pages(crm, "/records/101", with_deleted=1)]
    assert found == [row["record_id"] for row in big.book(101)["records"]]
