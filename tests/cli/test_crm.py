"""`reactivation connect` and `reactivation mirror` on a salon of the town, and what they say when the CRM does not play along."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from reactivation_cli import crm, doctor_world
from reactivation_resources.clock import SystemClock
from reactivation_resources.database.engine import Database
from reactivation_resources.embedded.servers import ServerUrls
from reactivation_resources.platform import Platform
from reactivation_resources.settings import Settings
from reactivation_sandbox.process import Town, running_town

REPOSITORY = Path(__file__).resolve().parents[2]
SECRET = "an-invented-secret-of-a-webhook"
OTHER_APP = "https://other.example.org/hook?key=theirs"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    with running_town(seed=5, salons=2, clients=40, now=datetime.now(UTC)) as running:
        yield running


@pytest.fixture
def company(town: Town) -> Iterator[int]:
    """A salon of a town that was begun again."""
    town.reset()
    yield min(int(company) for company in town.sessions)
    town.heal()


@pytest.fixture
def settings(town: Town, database_url: str, redis_url: str, tmp_path: Path) -> Settings:
    return Settings.load(
        database_url=database_url,
        redis_url=redis_url,
        reactivation_home=tmp_path / "home",
        yclients_base_url=town.yclients_url,
        yclients_partner_token=town.partner,
        yclients_user_token=town.user,
        yclients_webhook_secret=SECRET,
    )


@pytest.fixture
def platform(settings: Settings, database_url: str, redis_url: str) -> Iterator[Platform]:
    opened = Platform(settings, SystemClock(), ServerUrls(database_url, redis_url))
    yield opened
    opened.close()


def connect(settings: Settings, company: int, session: str = "salon-1", **changes: Any) -> None:
    usual = {"business_type": "beauty", "consent_basis": "agreed at the desk", "session": session, "enabled": False}
    crm.connect(settings, company, **{**usual, "webhook_url": None, **changes})


def mirrored(database: Database, company: int) -> dict[str, int]:
    counts = {
        "clients": "SELECT count(*) FROM clients WHERE company_id = :company AND NOT deleted",
        "records": "SELECT count(DISTINCT record_id) FROM record_lines WHERE company_id = :company AND NOT deleted",
        "services": "SELECT count(*) FROM services WHERE company_id = :company AND active",
        "rules": "SELECT count(*) FROM service_reactivation_rules WHERE company_id = :company",
    }
    with database.begin() as connection:
        return {
            name: connection.execute(text(query), {"company": company}).scalar_one() for name, query in counts.items()
        }


def shown(words: str) -> dict[str, str]:
    """The rows of a printed table."""
    return {name.strip(): value.strip() for name, value in re.findall(r"[│|]([^│|]+)[│|]([^│|]+)[│|]", words)}


def reactivation(settings: Settings, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the command as an operator does."""
    ours = ("REACTIVATION_", "DATABASE_URL", "REDIS_URL", "YCLIENTS_", "WAHA_", "DAGSTER_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    values = {name: getattr(settings, name) for name in settings.model_fields_set}
    configured = {
        name.upper(): value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in values.items()
    }
    return subprocess.run(
        [sys.executable, "-m", "reactivation_cli.main", *words],
        cwd=REPOSITORY, env={**kept, "COLUMNS": "120", **configured, **environment}, capture_output=True, text=True,
        timeout=240, check=False,
    )  # fmt: skip


def test_an_operator_connects_a_salon_and_mirrors_it_again(
    settings: Settings, platform: Platform, company: int
) -> None:
    platform.crm.run(lambda client: client.add_hook_url(company, OTHER_APP))
    done = reactivation(
        settings, "connect", str(company), "--business-type", "beauty", "--consent-basis", "agreed at the desk",
        "--session", "salon-1", "--enable", "--webhook-url", "http://127.0.0.1:9/",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    stored, table = mirrored(platform.database, company), shown(done.stdout)
    assert stored["clients"] > 30
    assert stored["records"] > 50
    assert {name: table[name] for name in ("clients", "records", "services")} == {
        name: f"{stored[name]:,}" for name in ("clients", "records", "services")
    }
    assert table["rules"] == f"{stored['rules']:,} ({stored['rules']:,} new)"
    assert (table["sending number"], table["webhooks"], table["reactivation"]) == (
        "session salon-1", "ours and 1 of others", "on",
    )  # fmt: skip
    assert "reactivation doctor" in done.stderr
    assert SECRET not in done.stdout + done.stderr
    hooks = platform.crm.run(lambda client: client.hooks_settings(company))
    assert hooks.urls == (OTHER_APP, f"http://127.0.0.1:9/api/reactivation/webhooks/yclients/{SECRET}")
    assert (hooks.active, hooks.record, hooks.client) == (True, True, True)

    again = reactivation(settings, "mirror", "--company", str(company), "--json")
    assert again.returncode == 0, again.stderr[-3000:]
    report = json.loads(again.stdout)
    assert (report["companies"], report["failed"]) == (1, {})
    assert mirrored(platform.database, company) == stored


def test_connecting_again_changes_nothing_but_turning_on(
    settings: Settings, platform: Platform, company: int, capsys: pytest.CaptureFixture[str]
) -> None:
    connect(settings, company)
    assert shown(capsys.readouterr().out)["reactivation"] == "off"
    stored = mirrored(platform.database, company)
    with platform.database.begin() as connection:
        connection.execute(text("UPDATE service_reactivation_rules SET manual_interval = 77"))
        connection.execute(text("UPDATE companies SET crm_status = 'uninstalled'"))
    connect(settings, company, enabled=True, business_type="dental")
    table = shown(capsys.readouterr().out)
    assert (table["reactivation"], table["rules"]) == ("on", f"{stored['rules']:,} (0 new)")
    assert mirrored(platform.database, company) == stored
    with platform.database.begin() as connection:
        [row] = connection.execute(text("SELECT business_type, crm_status FROM companies"))
        assert set(connection.execute(text("SELECT manual_interval FROM service_reactivation_rules")).scalars()) == {77}
    assert tuple(row) == ("beauty", "active")


@pytest.mark.parametrize(
    ("status", "advice"), [(401, "YCLIENTS_USER_TOKEN"), (402, "licence"), (403, "rights"), (404, "number")]
)
@pytest.mark.parametrize("call", ["company/{}/", "records/{}"])
def test_a_salon_that_refuses_is_told_with_what_to_do(
    settings: Settings,
    town: Town,
    company: int,
    capsys: pytest.CaptureFixture[str],
    call: str,
    status: int,
    advice: str,
) -> None:
    town.fail(f"/api/v1/{call.format(company)}", kind="status", status=status, count=1000)
    with pytest.raises(SystemExit, match="1"):
        connect(settings, company)
    words = capsys.readouterr().err
    assert f"HTTP {status}" in words
    assert advice in " ".join(words.split())
    assert "Traceback" not in words


def test_a_crm_that_is_away_and_a_number_nobody_has_are_told(
    settings: Settings, company: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        connect(settings, 999_999)
    assert "HTTP 404" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        connect(settings.model_copy(update={"yclients_base_url": "http://127.0.0.1:1/api/v1"}), company)
    assert "YCLIENTS_BASE_URL" in capsys.readouterr().err


def test_one_company_that_fails_makes_the_mirror_end_with_1_and_the_other_is_read(
    settings: Settings, town: Town, company: int, capsys: pytest.CaptureFixture[str]
) -> None:
    other = max(int(company) for company in town.sessions)
    connect(settings, company)
    connect(settings, other, session="salon-2")
    town.fail(f"/api/v1/records/{company}", kind="status", status=402, count=1000)
    capsys.readouterr()
    assert crm.mirror(settings, [], as_json=False) is False
    told = capsys.readouterr()
    assert "companies: 2," in told.out
    assert f"company {company}:" in told.err
    assert "renew its licence" in " ".join(told.err.split())
    assert f"company {other}:" not in told.err
    assert crm.mirror(settings, [other], as_json=False) is True
    failed = reactivation(settings, "mirror", "--json")
    assert failed.returncode == 1
    assert list(json.loads(failed.stdout)["failed"]) == [str(company)]


def test_what_cannot_be_done_is_refused_before_anything_is_asked_or_stored(
    settings: Settings, platform: Platform, town: Town, company: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with platform.database.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO companies (company_id, title, timezone, country, currency, crm_source)"
                " VALUES (7, 'Из книги', 'Europe/Moscow', 'RU', 'RUB', 'import')"
            )
        )
    calls = town.calls()["counts"]
    without_token = settings.model_copy(update={"yclients_user_token": None})
    without_secret = settings.model_copy(update={"yclients_webhook_secret": None})
    for act, words in (
        (lambda: connect(without_token, company), "YCLIENTS_USER_TOKEN"),
        (lambda: connect(without_secret, company, webhook_url="https://host"), "YCLIENTS_WEBHOOK_SECRET is not set"),
        (lambda: connect(settings, company, webhook_url="host"), "--webhook-url host"),
        (lambda: connect(settings, 7), "imported from files"),
        (lambda: crm.mirror(settings, [7], as_json=False), "company 7 is not mirrored"),
        (lambda: crm.mirror(settings, [company], as_json=False), f"reactivation connect {company}"),
    ):
        with pytest.raises(SystemExit, match="1"):
            act()
        assert words in " ".join(capsys.readouterr().err.split())
    assert town.calls()["counts"] == calls
    with platform.database.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM companies")).scalar_one() == 1


def test_a_number_that_is_another_salons_is_told(
    settings: Settings, town: Town, company: int, capsys: pytest.CaptureFixture[str]
) -> None:
    other = max(int(company) for company in town.sessions)
    connect(settings, company)
    capsys.readouterr()
    connect(settings, other)
    told = capsys.readouterr()
    assert shown(told.out)["sending number"] == "none"
    assert "session salon-1 is not this salon's" in told.err


def test_the_check_up_says_whether_the_crm_can_tell_of_changes(settings: Settings, platform: Platform) -> None:
    def found(**changes: Any) -> list[tuple[str, str]]:
        changed = Platform(settings.model_copy(update=changes), SystemClock(), platform.urls)
        return [(finding.status, finding.words) for finding in doctor_world.crm_webhook(changed)]

    assert found(yclients_partner_token=None) == []
    assert found(yclients_webhook_secret=None) == [
        ("warning", "YCLIENTS_WEBHOOK_SECRET is not set: bookings are seen once an hour only")
    ]
    assert found() == [("ok", "YCLIENTS_WEBHOOK_SECRET is set; nothing was heard in the last week")]
    with platform.database.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO inbox (channel, event_key, kind, company_id, error, occurred_at, received_at, processed_at)"
                " VALUES ('yclients', 'unread:5', 'crm', 5, 'unknown company', now(), now(), now())"
            )
        )
    warning, heard = found()
    assert warning == ("warning", "events came in the last week of company 5, unknown here")
    assert heard[1].startswith("YCLIENTS_WEBHOOK_SECRET is set; last heard 20")


def test_a_number_at_the_cloud_api_is_used_first_and_a_risk_is_accepted(
    settings: Settings, platform: Platform, company: int
) -> None:
    connect(settings, company, cloud=("106540352242922", "102290129340398"), accepted_risks=["whatsapp_ru"])
    connect(settings, company)  # once more changes nothing
    with platform.database.begin() as connection:
        query = "SELECT channel, session, business_id FROM channel_accounts ORDER BY preference"
        accounts = [tuple(row) for row in connection.execute(text(query))]
        risks = connection.execute(text("SELECT accepted_risks FROM companies")).scalar_one()
    assert accounts == [("whatsapp_cloud", "106540352242922", "102290129340398"), ("waha", "salon-1", None)]
    assert risks == ["whatsapp_ru"]


def test_a_risk_that_is_none_is_refused_by_name(
    settings: Settings, company: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        connect(settings, company, accepted_risks=["moon"])
    assert "--accept-risk moon" in capsys.readouterr().err
