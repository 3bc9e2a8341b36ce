"""The history in the lake is the journal in PostgreSQL after every refresh, and whole whatever happens on the way."""

import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sqlalchemy import text

from reactivation_resources.clock import SimulatedClock
from reactivation_resources.database.engine import Database
from reactivation_resources.lake import Lake
from reactivation_resources.visit_history import Group, VisitHistory, grouped
from reactivation_resources.visit_segments import ASSET, GRACE, MANIFEST, ORPHAN_AGE, SCHEMA, Manifest, Segment

AT = datetime(2026, 11, 1, 9, 30, tzinfo=UTC)
SMALL = 40
ADD = """
INSERT INTO record_lines (company_id, record_id, line, client_id, starts_at, service_id, price, status, created_at)
SELECT :company, :record, line, :client, CAST(:at AS timestamptz) + line * interval '1 hour', 1, :price, 'attended', :at FROM generate_series(0, :lines - 1) line
ON CONFLICT (company_id, record_id, line) DO UPDATE SET client_id = excluded.client_id, starts_at = excluded.starts_at, price = excluded.price
"""
EXPORT = """
SELECT company_id, client_id, record_id, line, starts_at, staff_id, service_id, (price * 100)::bigint, status, deleted, created_at
FROM record_lines WHERE client_id IS NOT NULL ORDER BY company_id, client_id, starts_at, record_id, line
"""


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


@pytest.fixture
def history(database: Database, lake: Lake) -> VisitHistory:
    return VisitHistory(database, lake, segment_rows=SMALL, rebuild_above=0.5)


def add(
    database: Database, company: int, record: int, client: int | None, *, days: int = 0, lines: int = 1, price: int = 5
) -> None:
    values = {
        "company": company,
        "record": record,
        "client": client,
        "lines": lines,
        "at": AT + timedelta(days=days),
        "price": price,
    }
    execute(database, ADD, **values)


def execute(database: Database, statement: str, **values: Any) -> None:
    with database.begin() as connection:
        connection.execute(text(statement), values)


def fill(database: Database, companies: int, clients: int = 5, visits: int = 2) -> None:
    """Companies of `clients` with `visits` lines each: four companies make a segment."""
    execute(
        database,
        "INSERT INTO record_lines (company_id, record_id, line, client_id, starts_at, price, status, created_at)"
        " SELECT company, client * 100 + visit, 0, client, CAST(:at AS timestamptz) - visit * interval '30 days', 7, 'attended', :at"
        " FROM generate_series(1, :companies) company, generate_series(1, :clients) client, generate_series(1, :visits) visit",
        companies=companies, clients=clients, visits=visits, at=AT,
    )  # fmt: skip


def export(database: Database) -> pl.DataFrame:
    return database.frame(EXPORT, SCHEMA)


def manifest(lake: Lake) -> Manifest:
    return Manifest.model_validate_json(Path(lake.path(ASSET, file=MANIFEST)).read_bytes())


def names(lake: Lake) -> list[str]:
    return [segment.file for segment in manifest(lake).segments]


def check(history: VisitHistory, frame: pl.LazyFrame, database: Database) -> None:
    """The frame is the journal, and the manifest tells the truth about its segments."""
    expected = export(database)
    assert_frame_equal(frame.collect(), expected)
    segments = manifest(history.segments.lake).segments
    for one, following in pairwise(segments):
        assert one.first_company <= one.last_company < following.first_company
    for segment in segments:
        lines = pl.read_parquet(history.segments.lake.path(ASSET, file=segment.file))
        companies = lines["company_id"].unique().sort()
        assert (segment.first_company, segment.last_company) == (companies[0], companies[-1])
        assert (segment.rows, segment.clients) == (lines.height, lines.select("company_id", "client_id").n_unique())
        without_the_last = lines.filter(pl.col("company_id") < segment.last_company)
        assert without_the_last.height <= 1.5 * history.segment_rows


# ---------------------------------------------------------------- what a refresh makes


def change_at_random(database: Database, dice: random.Random) -> None:
    """One transaction as the CRM causes them: bookings, cancellations, other services, clients merged, a salon more or less."""
    company, client, record = dice.randint(1, 9), dice.choice([None, *range(1, 9)]), dice.randint(1, 40)
    some = {"company": company, "record": record, "client": client, "other": dice.randint(1, 12)}
    kind = dice.choices(
        ["add", "delete", "merge", "status", "swap", "salon", "close", "nobody"], [12, 3, 2, 4, 2, 1, 0.7, 1]
    )[0]
    if kind == "add":
        add(
            database,
            company,
            record,
            client,
            days=dice.randint(-50, 9),
            lines=dice.randint(1, 3),
            price=dice.randint(1, 9),
        )
    elif kind == "delete":
        execute(
            database, "DELETE FROM record_lines WHERE company_id = :company AND record_id % 7 = :record % 7", **some
        )
    elif kind == "merge":
        execute(
            database,
            "UPDATE record_lines SET client_id = :other WHERE company_id = :company AND client_id = :client",
            **some,
        )
    elif kind == "status":
        execute(
            database,
            "UPDATE record_lines SET status = 'cancelled', deleted = line = 0 WHERE record_id = :record",
            **some,
        )
    elif kind == "swap":
        execute(
            database,
            "UPDATE record_lines SET client_id = 13 - client_id WHERE company_id = :company AND record_id < :record",
            **some,
        )
    elif kind == "salon":
        execute(
            database,
            "INSERT INTO record_lines (company_id, record_id, line, client_id, starts_at, status, created_at)"
            " SELECT :company + 100 * (:record % 3), 1000 + n, 0, n % 11, CAST(:at AS timestamptz) - n * interval '1 day', 'attended', :at"
            " FROM generate_series(1, :record * 3) n ON CONFLICT DO NOTHING",
            at=AT, **some,
        )  # fmt: skip
    elif kind == "close":
        execute(database, "DELETE FROM record_lines WHERE company_id % 4 = :company % 4", **some)
    else:
        execute(
            database,
            "UPDATE record_lines SET client_id = NULL WHERE company_id = :company AND record_id = :record",
            **some,
        )


@pytest.mark.parametrize("seed", range(5))
def test_after_every_refresh_the_history_is_the_journal(
    history: VisitHistory, database: Database, tmp_path: Path, seed: int
) -> None:
    dice = random.Random(seed)
    for _ in range(40):
        for _ in range(dice.choice([0, 1, 1, 1, 2, 8])):
            change_at_random(database, dice)
        check(history, history.refresh(), database)
    another = VisitHistory(database, Lake(str(tmp_path / "another")), segment_rows=SMALL)
    another.rebuild()
    assert_frame_equal(another.refresh().collect(), history.refresh().collect())


def test_an_empty_journal_gives_an_empty_frame_with_its_columns(history: VisitHistory, database: Database) -> None:
    assert history.refresh().collect_schema() == SCHEMA
    assert history.refresh().collect().height == 0
    add(database, 5, 1, 7)
    check(history, history.refresh(), database)
    execute(database, "DELETE FROM record_lines")
    check(history, history.refresh(), database)


def test_segments_that_nothing_has_touched_stay_as_they_are(
    history: VisitHistory, database: Database, lake: Lake
) -> None:
    fill(database, 24)
    history.refresh()
    before = {file: Path(lake.path(ASSET, file=file)) for file in names(lake)}
    states = {file: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) for file, path in before.items()}
    assert len(before) == 6
    add(database, 7, 999, 3)
    check(history, history.refresh(), database)
    stayed = set(before) & set(names(lake))
    assert len(stayed) == len(before) - 1
    for file in stayed:
        path = before[file]
        assert (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) == states[file]


def test_a_refresh_without_a_change_writes_nothing(history: VisitHistory, database: Database, lake: Lake) -> None:
    fill(database, 4)
    history.refresh()
    before = {path: path.stat().st_mtime_ns for path in Path(lake.root, ASSET).iterdir()}
    check(history, history.refresh(), database)
    assert {path: path.stat().st_mtime_ns for path in Path(lake.root, ASSET).iterdir()} == before


def test_lines_of_nobody_move_the_version_and_no_segment(history: VisitHistory, database: Database, lake: Lake) -> None:
    fill(database, 4)
    history.refresh()
    before = manifest(lake)
    add(database, 2, 999, None)
    check(history, history.refresh(), database)
    assert manifest(lake).version > before.version
    assert manifest(lake).segments == before.segments


def test_segments_are_cut_when_they_grow_and_joined_when_they_shrink(
    history: VisitHistory, database: Database, lake: Lake
) -> None:
    def rows() -> list[int]:
        return [segment.rows for segment in manifest(lake).segments]

    fill(database, 16)
    history.refresh()
    assert rows() == [40, 40, 40, 40]
    execute(database, "DELETE FROM record_lines WHERE client_id > 1 AND company_id <= 4")
    check(history, history.refresh(), database)
    assert rows() == [8, 40, 40, 40]
    add(database, 2, 999, 1)
    check(history, history.refresh(), database)
    assert rows() == [49, 40, 40]
    for record in range(30):
        add(database, 20, record, record % 3)
    check(history, history.refresh(), database)
    assert rows() == [49, 40, 40, 30]


def test_a_company_larger_than_a_segment_has_one_of_its_own(
    history: VisitHistory, database: Database, lake: Lake
) -> None:
    fill(database, 3)
    for record in range(1000, 1100):
        add(database, 2, record, record % 9, lines=2)
    check(history, history.refresh(), database)
    assert [segment.rows for segment in manifest(lake).segments] == [10, 210, 10]


def test_when_most_clients_have_changed_all_is_read_anew(history: VisitHistory, database: Database, lake: Lake) -> None:
    fill(database, 4)
    history.refresh()
    lineage = manifest(lake).lineage
    execute(database, "UPDATE record_lines SET price = price + 1 WHERE client_id <= 2")
    check(history, history.refresh(), database)
    assert manifest(lake).lineage == lineage
    execute(database, "UPDATE record_lines SET price = price + 1 WHERE client_id <= 3")
    check(history, history.refresh(), database)
    assert manifest(lake).lineage != lineage


def test_neighbours_are_written_together_only_where_something_is_written_anyway() -> None:
    def segment(first: int, rows: int) -> Segment:
        return Segment(file=f"{first}", first_company=first, last_company=first + 9, rows=rows, clients=1)

    small = [segment(10, 10), segment(20, 20), segment(30, 50), segment(40, 10), segment(50, 10), segment(60, 80)]
    assert [group.segments for group in grouped(small, [], 100)] == [[one] for one in small]
    assert grouped(small, [(5, 1), (47, 2), (999, 3)], 100) == [
        Group(small[:5], [(5, 1), (47, 2)]),
        Group(small[5:], [(999, 3)]),
    ]
    assert grouped([], [(5, 1)], 100) == [Group([], [(5, 1)])]


# ---------------------------------------------------------------- readers, other writers, sudden ends


def test_a_reader_who_began_before_a_refresh_reads_what_he_began_with(
    history: VisitHistory, database: Database
) -> None:
    fill(database, 6)
    begun = history.refresh()
    there = export(database)
    for number in range(3):
        execute(database, "UPDATE record_lines SET price = price + 1 WHERE client_id = :n", n=number + 1)
        check(history, history.refresh(), database)
    history.rebuild()
    assert_frame_equal(begun.collect(), there)


def test_superseded_segments_go_when_no_reader_can_need_them(database: Database, lake: Lake) -> None:
    clock = SimulatedClock(datetime.now(UTC))
    history = VisitHistory(database, lake, clock=clock, segment_rows=SMALL)
    fill(database, 12)
    history.refresh()
    first = set(names(lake))
    add(database, 1, 999, 1)
    history.refresh()
    second = set(names(lake))
    clock.advance_to(clock.now() + GRACE / 2)
    add(database, 12, 999, 1)
    history.refresh()
    third = set(names(lake))
    assert set(lake.files(ASSET)) == first | second | third | {MANIFEST}
    clock.advance_to(clock.now() + GRACE * 0.6)
    add(database, 12, 999, 2)
    history.refresh()
    fourth = set(names(lake))
    assert set(lake.files(ASSET)) == second | third | fourth | {MANIFEST}
    clock.advance_to(clock.now() + GRACE * 1.1)
    history.rebuild()
    assert set(lake.files(ASSET)) == fourth | set(names(lake)) | {MANIFEST}


def test_what_killed_writers_left_is_cleared_away_in_time(
    history: VisitHistory, database: Database, lake: Lake
) -> None:
    fill(database, 2)
    history.refresh()
    old = time.time() - ORPHAN_AGE.total_seconds() - 60
    for name, written in (
        ("1-2-dead.parquet", old),
        (".dead.tmp", old),
        ("1-2-alive.parquet", time.time()),
        (".alive.tmp", time.time()),
    ):
        path = Path(lake.root, ASSET, name)
        path.write_bytes(b"half")
        os.utime(path, (written, written))
    add(database, 1, 999, 1)
    check(history, history.refresh(), database)
    left = {path.name for path in Path(lake.root, ASSET).iterdir()}
    assert {"1-2-alive.parquet", ".alive.tmp"} < left
    assert not {"1-2-dead.parquet", ".dead.tmp"} & left


_failing: list[int] = []


def _fail(event: str, _arguments: tuple[object, ...]) -> None:
    if event == "os.rename" and _failing:
        _failing[0] -= 1
        if _failing[0] == 0:
            raise OSError("no space left on device")


sys.addaudithook(_fail)


@contextmanager
def failing_at_write(number: int) -> Iterator[None]:
    """The `number`-th file to be finished is not."""
    _failing[:] = [number]
    try:
        yield
    finally:
        _failing.clear()


@pytest.mark.parametrize("work", [VisitHistory.refresh, VisitHistory.rebuild])
def test_a_write_that_fails_leaves_the_old_history_whole(
    history: VisitHistory, database: Database, lake: Lake, work: Callable[[VisitHistory], object]
) -> None:
    fill(database, 8)
    begun = history.refresh()
    there, before = export(database), Path(lake.path(ASSET, file=MANIFEST)).read_bytes()
    execute(database, "UPDATE record_lines SET price = price + 1 WHERE client_id = 1")
    failed = 0
    while True:
        try:
            with failing_at_write(failed + 1):
                work(history)
            break
        except OSError:
            failed += 1
            assert Path(lake.path(ASSET, file=MANIFEST)).read_bytes() == before
            assert_frame_equal(begun.collect(), there)
    assert failed == 3
    check(history, history.refresh(), database)
    # old segments, those whose manifest could not be written, which nobody can tell from published ones, and the present ones
    assert len(lake.files(ASSET)) == 2 + 2 + 2 + 1


def test_an_older_refresher_that_publishes_last_is_mended_by_the_next(
    history: VisitHistory, database: Database, lake: Lake
) -> None:
    fill(database, 12)
    history.refresh()
    add(database, 1, 998, 1)
    history.refresh()
    older = Path(lake.path(ASSET, file=MANIFEST)).read_bytes()
    add(database, 1, 999, 1)
    add(database, 12, 999, 1)
    history.refresh()
    Path(lake.path(ASSET, file=MANIFEST)).write_bytes(older)
    check(history, history.refresh(), database)


@pytest.mark.slow
def test_refreshers_and_writers_at_once_see_whole_transactions_only(database: Database, lake: Lake) -> None:
    """Every transaction moves money from one client to another: a history that adds up is one moment's."""
    fill(database, 6, clients=10, visits=3)
    total = int(export(database)["price_minor"].sum())

    def write(seed: int) -> None:
        dice = random.Random(seed)
        clients = [(company, client) for company in range(1, 7) for client in range(1, 11)]
        for _ in range(30):
            giver, taker = dice.sample(clients, 2)
            execute(
                database,
                "UPDATE record_lines SET price = price + CASE WHEN (company_id, client_id) = (:c, :k) THEN -1 ELSE 1 END"
                " WHERE (company_id, client_id) IN ((:c, :k), (:d, :l)) AND record_id % 100 = 1",
                **dict(zip("ckdl", (*giver, *taker), strict=True)),
            )

    def refresh(seed: int) -> list[tuple[int, int]]:
        own = VisitHistory(database, lake, segment_rows=30 + 10 * seed)
        frames = [own.refresh().select("price_minor", "record_id").collect() for _ in range(25)]
        return [(frame.height, int(frame["price_minor"].sum())) for frame in frames]

    with ThreadPoolExecutor(5) as threads:
        writers = [threads.submit(write, seed) for seed in range(2)]
        readers = [threads.submit(refresh, seed) for seed in range(3)]
        for writer in writers:
            writer.result()
        assert {seen for reader in readers for seen in reader.result()} == {(180, total)}
    check(
        VisitHistory(database, lake, segment_rows=50), VisitHistory(database, lake, segment_rows=50).refresh(), database
    )


# ---------------------------------------------------------------- histories that cannot be trusted


def forget_manifest(lake: Lake, content: bytes) -> None:
    lake.write_bytes(ASSET, MANIFEST, content)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda lake: Path(lake.path(ASSET, file=MANIFEST)).unlink(),
        lambda lake: forget_manifest(lake, b""),
        lambda lake: forget_manifest(lake, b"\x00not json"),
        lambda lake: forget_manifest(lake, b'{"format": 2, "lineage": "x", "version": 1}'),
        lambda lake: forget_manifest(lake, Path(lake.path(ASSET, file=MANIFEST)).read_bytes()[:-40]),
        lambda lake: Path(lake.path(ASSET, file=names(lake)[1])).unlink(),
    ],
    ids=["gone", "empty", "no JSON", "another format", "cut", "segment gone"],
)
def test_a_history_that_cannot_be_read_is_made_anew(
    history: VisitHistory, database: Database, lake: Lake, spoil: Callable[[Lake], None]
) -> None:
    fill(database, 12)
    history.refresh()
    spoil(lake)
    check(history, history.refresh(), database)


RESTORE = """
SET LOCAL session_replication_role = replica;
TRUNCATE record_lines, visit_changes, mirror_versions;
INSERT INTO record_lines SELECT * FROM kept_record_lines;
INSERT INTO visit_changes SELECT * FROM kept_visit_changes;
INSERT INTO mirror_versions SELECT * FROM kept_mirror_versions;
"""


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_database_that_was_restored_gets_its_own_history(
    history: VisitHistory, database: Database, goes_on: bool
) -> None:
    fill(database, 6)
    history.refresh()
    with database.begin() as connection:
        for table in ("record_lines", "visit_changes", "mirror_versions"):
            connection.execute(text(f"CREATE TABLE kept_{table} AS TABLE {table}"))
    add(database, 1, 999, 1)
    execute(database, "DELETE FROM record_lines WHERE client_id = 4")
    check(history, history.refresh(), database)
    execute(database, RESTORE)
    if goes_on:  # the version is beyond the history's by now, and says nothing about what was lost
        add(database, 5, 999, 5)
    check(history, history.refresh(), database)
    check(history, history.refresh(), database)


def test_a_lake_of_another_database_is_not_taken_for_the_present(
    history: VisitHistory, database: Database, lake: Lake
) -> None:
    fill(database, 3)
    history.refresh()
    stranger = manifest(lake).model_copy(update={"lineage": "visits in the lake of others", "version": 1})
    execute(database, "UPDATE record_lines SET price = 99 WHERE company_id = 1")
    lake.write_bytes(ASSET, MANIFEST, stranger.model_dump_json().encode())
    check(history, history.refresh(), database)


def test_a_rebuild_mends_what_was_written_past_the_triggers(history: VisitHistory, database: Database) -> None:
    fill(database, 3)
    history.refresh()
    execute(database, "SET LOCAL session_replication_role = replica; UPDATE record_lines SET price = 99")
    assert history.refresh().collect()["price_minor"].unique().to_list() == [700]
    heard: list[tuple[int, int]] = []
    made = history.rebuild(lambda done, total: heard.append((done, total)))
    check(history, history.refresh(), database)
    assert (made.rows, made.clients) == (30, 15)
    assert heard[0] == (0, 30)
    assert heard[-1] == (30, 30)
    assert heard == sorted(heard)


def test_the_database_remembers_one_lineage_a_lake(history: VisitHistory, database: Database) -> None:
    fill(database, 2)
    for _ in range(3):
        history.rebuild()
    with database.begin() as connection:
        remembered = connection.execute(text("SELECT count(*) FROM mirror_versions WHERE name <> 'records'")).scalar()
    assert remembered == 1


def test_a_lake_by_url_is_kept_the_same_way(database: Database, tmp_path: Path) -> None:
    (tmp_path / ASSET).mkdir()
    clock = SimulatedClock(datetime.now(UTC))
    lake = Lake(tmp_path.as_uri())
    history = VisitHistory(database, lake, clock=clock, segment_rows=SMALL)
    fill(database, 4)
    assert_frame_equal(history.refresh().collect(), export(database))
    for record in (998, 999):
        add(database, 1, record, 1)
        assert_frame_equal(history.refresh().collect(), export(database))
        assert len(lake.files(ASSET)) == 3
        clock.advance_to(clock.now() + GRACE * 1.1)
