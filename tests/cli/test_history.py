"""`reactivation rebuild-history` writes the history from nothing and says what it wrote."""

import json
from pathlib import Path

import pytest
from sqlalchemy import text

from reactivation_cli.history import rebuild_history
from reactivation_resources.database.engine import Database
from reactivation_resources.lake import Lake
from reactivation_resources.mirror import Mirror
from reactivation_resources.settings import Settings


@pytest.mark.parametrize("as_json", [True, False])
def test_the_history_is_written_from_nothing(
    database: Database, redis_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    with database.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO record_lines (company_id, record_id, line, client_id, starts_at, status, created_at)"
                " SELECT 1, n, 0, n % 7, now(), 'attended', now() FROM generate_series(1, 1500) n"
            )
        )
    settings = Settings.load(database_url=database.url, redis_url=redis_url, reactivation_home=tmp_path)
    rebuild_history(settings, as_json=as_json)
    shown = capsys.readouterr()
    lake = Lake(settings.lake_root)
    if as_json:
        report = json.loads(shown.out)
        assert (report["rows"], report["clients"], report["segments"]) == (1500, 7, 1)
        assert Path(report["location"]).is_file()
    else:
        assert "1,500 lines of 7 clients in 1 segments" in shown.err.replace("\n", " ")
    written = set(lake.files("visits"))
    assert len(written) == 2
    assert Mirror(database, lake).snapshot("records").collect().height == 1500
    assert set(lake.files("visits")) == written
