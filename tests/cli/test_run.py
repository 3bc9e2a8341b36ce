"""The commands as a stranger would use them: real processes, embedded servers, a home of their own."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from reactivation_resources.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home for the commands of this file."""
    return tmp_path_factory.mktemp("home")


def reactivation(home: Path, *words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the command with nothing configured but its home."""
    return run(home, "reactivation_cli.main", *words, status=status)


def run(home: Path, module: str, *words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a module as a command with nothing configured but the home."""
    ours = ("REACTIVATION_", "DATABASE_URL", "REDIS_URL", "YCLIENTS_", "WAHA_", "DAGSTER_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environment |= {"REACTIVATION_HOME": str(home), "COLUMNS": "120"}
    command = [sys.executable, "-m", module, *words]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == status, done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def imported(home: Path) -> Path:
    """A home with the example book."""
    reactivation(home, "import", "--template", str(home / "book"))
    reactivation(home, "import", str(home / "book"))
    return home


def test_the_example_book_can_be_imported_and_a_second_time_changes_nothing(imported: Path) -> None:
    again = reactivation(imported, "import", str(imported / "book"), "--json")
    report = json.loads(again.stdout)
    assert report["clients"] > 0
    assert report["records"] > 0
    assert report["rejected"] == {}
    assert set(report["changed"].values()) == {0}


def test_a_folder_that_is_no_book_is_refused_with_words(home: Path, tmp_path: Path) -> None:
    refused = reactivation(home, "import", str(tmp_path), status=1)
    assert "company.json" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_an_unknown_variable_is_named(home: Path) -> None:
    command = [sys.executable, "-m", "reactivation_cli.main", "run"]
    environment = {**os.environ, "REACTIVATION_HOME": str(home), "REACTIVATION_TIMEZON": "Europe/Moscow"}
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "REACTIVATION_TIMEZON" in done.stderr


@pytest.fixture
def book(tmp_path: Path, real_book: Path) -> Path:
    """A home of its own with a real salon's book."""
    reactivation(tmp_path, "import", str(real_book))
    return tmp_path


def test_a_past_day_of_the_real_book_is_analysis_only(book: Path) -> None:
    words = ("run", "--company", "7001", "--day", "2018-07-30")
    report = json.loads(reactivation(book, *words, "--json").stdout)
    assert report["due"] == 407
    assert report["excluded"] == {"upcoming_record": 38, "visited_recently": 16}
    assert report["eligible"] == 353
    assert {report[name] for name in ("planned", "held_out", "messages", "sent")} == {0}
    assert report["deferred"] == {}

    listed = reactivation(book, *words, "--list", "inactive_clients")
    rows = list(csv.DictReader(io.StringIO(listed.stdout)))
    assert len(rows) == 407
    assert list(rows[0])[:11] == [
        "company_id", "client_id", "service_id", "last_visit", "days_since", "days_since_any", "due_after", "decision",
        "reason", "segment", "priority",
    ]  # fmt: skip
    assert all((row["decision"] == "eligible") == (row["reason"] == "") for row in rows)


def test_a_simulated_day_is_lived_to_the_end_and_a_second_time_sends_nothing_more(book: Path) -> None:
    words = ("run", "--company", "7001", "--day", "2018-07-30", "--simulate")
    report = json.loads(reactivation(book, *words, "--json").stdout)
    assert report["due"] == 407
    assert report["planned"] == report["messages"] == report["sent"] > 0
    assert report["planned"] + report["held_out"] + sum(report["deferred"].values()) == report["eligible"]
    again = reactivation(book, *words, "--list", "sent_campaigns")
    rows = list(csv.DictReader(io.StringIO(again.stdout)))
    assert len({row["client_id"] for row in rows}) == len(rows) == report["sent"]


def test_dagsters_own_commands_work_in_the_checkout_with_nothing_configured(imported: Path) -> None:
    words = ("--select", "inactive_clients", "--partition", "2026-10-01", "-m", "reactivation_assets.definitions")
    done = run(imported, "dagster", "asset", "materialize", *words)
    assert "RUN_SUCCESS" in done.stderr + done.stdout
    assert (imported / "lake" / "inactive_clients" / "day=2026-10-01" / "part.parquet").is_file()


def test_the_demo_ends_well_and_leaves_its_days_behind(home: Path) -> None:
    shown = reactivation(home, "demo", "--days", "2", "--salons", "1", "--clients", "120")
    assert "Funnel" in shown.stdout
    assert "reactivation up --demo" in shown.stdout
    assert len(list((home / "demo" / "lake" / "inactive_clients").glob("day=*/part.parquet"))) == 2
    assert not re.search(r"\+7900\d{7}", shown.stdout)


def test_every_variable_is_in_the_readme() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert [name for name in Settings.model_fields if f"`{name.upper()}`" not in readme] == []
