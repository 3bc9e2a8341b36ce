"""A file of the lake is whole or absent."""

import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from reactivation_resources.lake import DRAFT_AGE, Lake

DAY = date(2026, 11, 22)
FRAME = pl.DataFrame({"company_id": [1, 2], "name": ["Анна", None]}, schema={"company_id": pl.Int64, "name": pl.String})


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(f"{tmp_path}/lake/")


def test_what_is_written_is_read_back(lake: Lake) -> None:
    path = lake.write("plan", FRAME, DAY)
    assert path == f"{lake.root}/plan/day=2026-11-22/part.parquet"
    assert_frame_equal(lake.scan("plan", DAY).collect(), FRAME)
    assert lake.rows("plan", DAY) == 2
    assert not lake.exists("plan")


def test_an_unpartitioned_asset_has_one_file(lake: Lake) -> None:
    assert lake.write("visits", FRAME.lazy()) == f"{lake.root}/visits/part.parquet"
    assert_frame_equal(lake.scan("visits").collect(), FRAME)


def test_writing_again_replaces_the_file_even_by_a_frame_read_from_it(lake: Lake) -> None:
    lake.write("plan", FRAME, DAY)
    lake.write("plan", lake.scan("plan", DAY).filter(pl.col("company_id") == 2), DAY)
    assert lake.rows("plan", DAY) == 1


def test_an_empty_frame_keeps_its_columns(lake: Lake) -> None:
    lake.write("plan", FRAME.clear(), DAY)
    assert lake.rows("plan", DAY) == 0
    assert lake.scan("plan", DAY).collect_schema() == FRAME.schema


def test_metadata_comes_back_and_a_missing_file_has_none(lake: Lake) -> None:
    assert lake.metadata("visits") == {}
    lake.write("visits", FRAME, metadata={"version": "17"})
    assert lake.metadata("visits")["version"] == "17"
    lake.write("visits", FRAME.lazy(), metadata={"version": "18"})
    assert lake.metadata("visits")["version"] == "18"


def test_a_missing_file_is_told_with_what_to_do(lake: Lake) -> None:
    with pytest.raises(FileNotFoundError, match="no campaign_plan of 2026-11-22: materialize it first"):
        lake.scan("campaign_plan", DAY)
    with pytest.raises(FileNotFoundError, match="no visits"):
        lake.rows("visits")


def test_days_are_read_as_one_frame_and_missing_ones_are_left_out(lake: Lake) -> None:
    first, second = FRAME.head(1), FRAME.tail(1)
    lake.write("plan", first, DAY)
    lake.write("plan", second, date(2026, 11, 24))
    found = lake.scan_days("plan", [DAY, date(2026, 11, 23), date(2026, 11, 24)])
    assert found is not None
    assert_frame_equal(found.collect(), FRAME)
    assert lake.scan_days("plan", [date(2026, 11, 23)]) is None


def test_a_frame_that_cannot_be_computed_leaves_the_old_file_and_no_draft(lake: Lake) -> None:
    lake.write("plan", FRAME, DAY)
    broken = FRAME.lazy().with_columns(pl.col("name").str.to_integer(strict=True))
    with pytest.raises(pl.exceptions.PolarsError):
        lake.write("plan", broken, DAY)
    assert_frame_equal(lake.scan("plan", DAY).collect(), FRAME)
    assert [file.name for file in Path(lake.path("plan", DAY)).parent.iterdir()] == ["part.parquet"]


@pytest.fixture(params=["folder", "url"])
def any_lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    (tmp_path / "visits").mkdir()
    return Lake(str(tmp_path) if request.param == "folder" else tmp_path.as_uri())


def test_an_asset_of_several_files_lists_and_removes_them(any_lake: Lake) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    assert any_lake.files("nothing") == {}
    any_lake.write("visits", FRAME, file="1.parquet")
    any_lake.write("visits", FRAME.lazy(), file="2.parquet", row_group_size=1)
    assert any_lake.read_bytes("visits", "list.json") is None
    any_lake.write_bytes("visits", "list.json", b"[1]")
    any_lake.write_bytes("visits", "list.json", b"[1, 2]")
    assert any_lake.read_bytes("visits", "list.json") == b"[1, 2]"
    found = any_lake.files("visits")
    assert set(found) == {"1.parquet", "2.parquet", "list.json"}
    assert all(before < written < datetime.now(UTC) + timedelta(seconds=1) for written in found.values())
    for _ in range(2):
        any_lake.remove("visits", "1.parquet")
        assert set(any_lake.files("visits")) == {"2.parquet", "list.json"}


def test_drafts_of_killed_writers_are_cleared_away_when_they_are_old(lake: Lake) -> None:
    lake.write("plan", FRAME)
    folder = Path(lake.path("plan")).parent
    for name, age in ((".old.tmp", DRAFT_AGE * 2), (".young.tmp", DRAFT_AGE / 2)):
        (folder / name).touch()
        written = (datetime.now(UTC) - age).timestamp()
        os.utime(folder / name, (written, written))
    lake.write("plan", FRAME)
    assert {path.name for path in folder.iterdir()} == {"part.parquet", ".young.tmp"}
    assert set(lake.files("plan")) == {"part.parquet"}


KILLED_AT_WORK = """
import os, signal, sys
import polars as pl
from reactivation_resources.lake import Lake

def die(frame):
    os.kill(os.getpid(), signal.SIGKILL)

Lake(sys.argv[1]).write(sys.argv[2], pl.LazyFrame({"n": range(1000)}).map_batches(die))
"""
KILLED_AT_RENAME = """
import os, signal, sys
import polars as pl
from reactivation_resources.lake import Lake

sys.addaudithook(lambda event, _: os.kill(os.getpid(), signal.SIGKILL) if event == "os.rename" else None)
Lake(sys.argv[1]).write(sys.argv[2], pl.DataFrame({"n": range(1000)}))
"""


@pytest.mark.parametrize("script", [KILLED_AT_WORK, KILLED_AT_RENAME])
@pytest.mark.parametrize("there_before", [False, True])
def test_a_killed_writer_leaves_the_file_as_it_was(lake: Lake, script: str, there_before: bool) -> None:
    if there_before:
        lake.write("visits", FRAME)
    killed = subprocess.run([sys.executable, "-c", script, lake.root, "visits"], check=False)
    assert killed.returncode == -9
    assert lake.exists("visits") == there_before
    if there_before:
        assert_frame_equal(lake.scan("visits").collect(), FRAME)
