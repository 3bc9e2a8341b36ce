"""Check-ups of real servers, a real town and a real code location, well and unwell."""

import io
import json
import os
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr
from rich.console import Console
from sqlalchemy import create_engine, insert, text
from sqlalchemy.engine import make_url

from reactivation_cli import doctor, doctor_machine, doctor_world
from reactivation_cli.doctor import Finding, diagnose, print_findings, worst
from reactivation_cli.finding import ok, warning
from reactivation_core.message_templates import own_source
from reactivation_resources.clock import SystemClock
from reactivation_resources.database import models
from reactivation_resources.database.engine import Database
from reactivation_resources.embedded.servers import ServerUrls
from reactivation_resources.platform import Platform
from reactivation_resources.settings import Settings
from reactivation_sandbox.process import Town, running_town

PASSWORD = "s3cret-pass"
PHONES = ("+79000000001", "+79000000002")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory without a `.env`, an environment without our variables."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("REACTIVATION_"):
            monkeypatch.delenv(name)


def settings_of(tmp_path: Path, **values: Any) -> Settings:
    return Settings(_env_file=None, **{"reactivation_home": tmp_path / "home", **values})


@pytest.fixture
def platform(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Platform]:
    opened = Platform(settings_of(tmp_path), SystemClock(), ServerUrls(database_url, redis_url))
    yield opened
    opened.close()


def add_salon(
    database: Database, company_id: int, *, session: str | None = None, enabled: bool = True, **card: Any
) -> None:
    company = {
        "company_id": company_id,
        "title": "Салон",
        "timezone": "Europe/Moscow",
        "country": "RU",
        "currency": "RUB",
    }
    with database.begin() as connection:
        connection.execute(insert(models.Company).values(**{**company, "phone": PHONES[0], **card}))
        connection.execute(insert(models.CompanySettings).values(company_id=company_id, enabled=enabled))
        if session is not None:
            account = {"company_id": company_id, "channel": "waha", "session": session, "phone": PHONES[0]}
            connection.execute(insert(models.Account).values(**account))


def seen(findings: Iterable[Finding]) -> dict[str, tuple[str, str]]:
    return {finding.name: (finding.status, finding.words) for finding in findings}


def words_of(findings: Iterable[Finding]) -> list[str]:
    return [f"{finding.status}: {finding.words}" for finding in findings]


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    with running_town(seed=3, salons=1, clients=20, now="2026-11-20T07:00:00+00:00") as running:
        yield running


def in_town(platform: Platform, town: Town, **changes: Any) -> Platform:
    """The platform with the town as CRM and messenger."""
    world = {
        "yclients_base_url": town.yclients_url, "yclients_partner_token": SecretStr(town.partner), "yclients_user_token": SecretStr(town.user),
        "waha_base_url": town.waha_url, "waha_api_key": SecretStr(town.api_key), "waha_webhook_key": SecretStr(town.hmac_key),
    }  # fmt: skip
    return Platform(platform.settings.model_copy(update=world | changes), platform.clock, platform.urls)


@pytest.mark.slow
def test_a_whole_check_up_of_a_healthy_platform_finds_no_failure(
    platform: Platform, town: Town, database_url: str, redis_url: str
) -> None:
    [(company, session)] = town.sessions.items()
    add_salon(platform.database, int(company), session=session, consent_basis="agreement")
    urls = {"database_url": SecretStr(database_url), "redis_url": SecretStr(redis_url)}
    findings = diagnose(in_town(platform, town, **urls).settings)
    found = seen(findings)
    assert worst(findings) == "warning"
    assert {name for name, (status, _) in found.items() if status == "ok"} >= {
        "configuration", "home", "lake", "postgresql", "redis", "schema", "clock", "time zones", "crm", "channel", "lost answers", "inbox",
        "alerts", "code location", "dagster storage", f"account 1 of company {company}",
    }  # fmt: skip
    assert found["crm"][1] == f"answers and takes the token (company {company})"
    assert found["dagster daemon"][0] == "warning"
    assert "17 assets, 5 schedules, 4 sensors" in found["code location"][1]
    assert found["daily run"][1].startswith("not materialized for ")
    printed = json.dumps([finding.as_json() for finding in findings])
    for secret in (town.partner, town.user, town.api_key, town.hmac_key, make_url(database_url).password, PHONES[0]):
        assert str(secret) not in printed


def test_servers_that_do_not_answer_are_told_without_their_passwords(tmp_path: Path) -> None:
    nowhere = {
        "database_url": SecretStr(f"postgresql://somebody:{PASSWORD}@127.0.0.1:1/nothing"),
        "redis_url": SecretStr(f"redis://:{PASSWORD}@127.0.0.1:1/0"),
    }
    findings = diagnose(settings_of(tmp_path, **nowhere))
    found = seen(findings)
    assert found["postgresql"][0] == found["redis"][0] == "failure"
    assert found["not checked"] == ("warning", "everything that needs PostgreSQL")
    assert PASSWORD not in json.dumps([finding.as_json() for finding in findings])
    assert worst(findings) == "failure"


def test_pending_migrations_are_told_and_not_made(servers: tuple[str, str], tmp_path: Path) -> None:
    name = f"empty_{uuid4().hex[:12]}"
    url = make_url(servers[0])
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
        own = SecretStr(url.set(database=name).render_as_string(hide_password=False))
        findings = diagnose(settings_of(tmp_path, database_url=own, redis_url=SecretStr(servers[1])))
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()
    schema = next(finding for finding in findings if finding.name == "schema")
    assert schema.words.startswith("at nothing, this version needs ")
    assert schema.advice == "Run `reactivation migrate`."
    assert findings[-1].words == "everything that needs an up-to-date schema"


def test_an_unknown_variable_is_named_wherever_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REACTIVATION_CORN", "0 10 * * *")
    (tmp_path / ".env").write_text("REACTIVATION_DAYLY_LIMIT=5\nSOMETHING_ELSE=1\n")
    [finding] = doctor_machine.configuration(settings_of(tmp_path))
    assert finding.status == "failure"
    assert finding.words == "unknown variable REACTIVATION_CORN, REACTIVATION_DAYLY_LIMIT"


def test_secrets_that_everybody_may_read_and_a_platform_that_is_off_are_warnings(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("WAHA_API_KEY=1\n")
    dotenv.chmod(0o644)
    findings = doctor_machine.configuration(settings_of(tmp_path, reactivation_enabled=False))
    assert [(finding.status, finding.advice.split()[0]) for finding in findings] == [
        ("warning", "chmod"),
        ("warning", "Set"),
    ]


def test_a_home_and_a_lake_that_cannot_be_written_to_are_failures(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = settings_of(tmp_path, reactivation_home=tmp_path / "file" / "home")
    [home], [lake] = doctor_machine.home(settings), doctor_machine.lake(settings)
    assert (home.status, lake.status) == ("failure", "failure")
    assert "REACTIVATION_HOME" in home.advice
    assert "REACTIVATION_LAKE" in lake.advice


def test_the_lake_is_left_as_it_was(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    [finding] = doctor_machine.lake(settings)
    assert finding.status == "ok"
    assert list(Path(settings.lake_root).iterdir()) == []


def test_what_a_salon_lacks_is_named_with_the_company(platform: Platform) -> None:
    assert words_of(doctor_world.companies(platform)) == ["warning: none is known"]
    add_salon(platform.database, 1, consent_basis=" ")
    add_salon(platform.database, 2, enabled=False, consent_basis="agreement", crm_status="frozen", session="two")
    assert words_of(doctor_world.companies(platform)) == [
        "warning: no active rule in company 1, 2",
        "warning: no consent basis in company 1",
        "warning: no sending number in company 1",
        "warning: reactivation is off in company 2",
        "warning: the CRM refuses company 2",
        "ok: 2 known, 1 of them enabled",
    ]


def test_a_salon_in_an_unknown_zone_is_a_failure(platform: Platform) -> None:
    add_salon(platform.database, 5, timezone="Europe/Moskow")
    assert words_of(doctor_world.zones(platform)) == ["failure: unknown zone in company 5"]


def test_a_token_that_is_not_accepted_is_told_as_that(platform: Platform, town: Town) -> None:
    company = int(next(iter(town.sessions)))
    assert words_of(doctor_world.crm(platform)) == ["warning: YCLIENTS_PARTNER_TOKEN is not set"]
    assert words_of(doctor_world.crm(in_town(platform, town))) == [
        "warning: configured, but no salon of the CRM is known"
    ]
    add_salon(platform.database, company)
    for token in ("yclients_partner_token", "yclients_user_token"):
        [finding] = doctor_world.crm(in_town(platform, town, **{token: SecretStr("wrong-token")}))
        assert finding.status == "failure"
        assert finding.words.startswith(f"the token is not accepted for company {company}")
        assert "wrong-token" not in finding.words
    assert words_of(doctor_world.crm(in_town(platform, town))) == [
        f"ok: answers and takes the token (company {company})"
    ]
    town.fail("/api/v1/company", status=402, count=1)
    [expired] = doctor_world.crm(in_town(platform, town))
    assert (expired.status, "HTTP 402" in expired.words, "licence" in expired.advice) == ("failure", True, True)
    away = in_town(platform, town, yclients_base_url="http://127.0.0.1:1/api/v1")
    assert words_of(doctor_world.crm(away))[0].startswith("failure: http://127.0.0.1:1/api/v1 does not answer")


def test_the_state_of_a_number_says_what_to_do(platform: Platform, town: Town) -> None:
    [(company, session)] = town.sessions.items()
    add_salon(platform.database, int(company), session=session)

    def findings(**changes: Any) -> list[Finding]:
        [check] = doctor_world.account_checks(in_town(platform, town, **changes)).values()
        return list(check())

    assert words_of(findings()) == [f"ok: waha session {session}: WORKING"]
    assert "WAHA_API_KEY is not accepted" in findings(waha_api_key=SecretStr("wrong"))[0].advice
    assert "WAHA_BASE_URL" in findings(waha_base_url="http://127.0.0.1:1")[0].advice
    town.set_session(session, "FAILED")
    assert "WORKING" in findings()[0].advice
    town.set_session(session, "WORKING")
    with platform.database.begin() as connection:
        connection.execute(text("UPDATE channel_accounts SET state = 'stopped', phone = :other"), {"other": PHONES[1]})
    told = words_of(findings())
    assert told[:2] == [
        "warning: its number is not the salon's phone",
        "warning: is stopped until its session works again: nothing is sent from it",
    ]
    assert not any(phone in " ".join(told) for phone in PHONES)


def test_a_channel_without_its_keys_is_told(platform: Platform, town: Town) -> None:
    assert words_of(doctor_world.channels(platform)) == [
        "warning: neither WAHA_BASE_URL nor WHATSAPP_ACCESS_TOKEN is set: nothing can be sent"
    ]
    bare = in_town(platform, town, waha_api_key=None, waha_webhook_key=None)
    assert [finding.status for finding in doctor_world.channels(bare)] == ["failure", "warning", "ok"]


def test_what_waits_for_people_is_told(platform: Platform) -> None:
    add_salon(platform.database, 1, session="one")
    now = datetime.now(UTC)
    old = now - timedelta(hours=2)
    with platform.database.begin() as connection:
        connection.execute(insert(models.Client).values(company_id=1, client_id=1, name="Анна", phone=PHONES[1]))
        campaign = {
            "campaign_id": uuid4(), "company_id": 1, "client_id": 1, "episode_no": 1, "attempt_number": 1, "day": now.date(), "service_id": 1,
            "phone": PHONES[1], "status": "unknown", "lane": "warm", "segment": "regular", "priority": 0.5, "days_since": 50,
            "retry_interval_days": 14, "max_attempts": 3, "planned_at": old, "send_after": old, "expires_at": now, "sending_at": old,
        }  # fmt: skip
        connection.execute(insert(models.Campaign).values(**campaign))
        for number, kind in enumerate(("message", "message", "malformed")):
            event = {"channel": "waha", "event_key": str(number), "kind": kind, "occurred_at": old, "received_at": old}
            connection.execute(insert(models.InboxMessage).values(**event))
        alert = {"kind": "ban", "fold_key": "x", "message": "Stopped.", "times": 2, "first_at": old, "last_at": old}
        connection.execute(insert(models.Alert).values(**alert))
    [lost] = doctor_world.unknown_campaigns(platform)
    assert lost.words == f"1 messages may or may not have left, the oldest {old:%Y-%m-%d}, company 1"
    assert words_of(doctor_world.inbox(platform)) == [
        "warning: 2 replies wait to be read",
        "warning: 1 events of the last week could not be read",
    ]
    assert words_of(doctor_world.alerts(platform)) == [
        f"warning: Stopped. (ban, last {old:%Y-%m-%d %H:%M} UTC, 2 times)"
    ]


def test_a_check_that_breaks_or_hangs_is_a_finding_and_no_more() -> None:
    let_go = threading.Event()

    def breaks() -> Iterable[Finding]:
        yield ok("first", "fine")
        raise RuntimeError("broken\nwith details")

    def hangs() -> Iterable[Finding]:
        let_go.wait(60)
        return []

    [first, broken] = doctor._isolated("some", breaks)
    assert (first.status, broken.words) == ("ok", "the check itself failed: RuntimeError: broken")
    began = time.monotonic()
    [hung] = doctor._isolated("other", hangs, 0.2)
    assert time.monotonic() - began < 10
    assert (hung.status, hung.words) == ("failure", "no answer within 0 s")
    let_go.set()


def test_secrets_and_phones_are_taken_out_of_words_whoever_put_them_there(tmp_path: Path) -> None:
    settings = settings_of(
        tmp_path, waha_api_key=SecretStr("key-of-waha"), redis_url=SecretStr(f"redis://:{PASSWORD}@x:1/0")
    )
    dirty = warning("any", f"key-of-waha refused {PHONES[0]}", f"password {PASSWORD}")
    clean = doctor._clean(dirty, settings, None)
    assert (clean.words, clean.advice) == ("*** refused +7900***0001", "password ***")


def test_findings_are_printed_with_their_advice_and_counted() -> None:
    screen = io.StringIO()
    findings = [ok("home", "[fine]"), warning("crm", "not set", "Set it.")]
    print_findings(findings, Console(file=screen, width=100))
    lines = screen.getvalue().splitlines()
    assert lines[:3] == ["ok       home: [fine]", "warning  crm: not set", "         Set it.".ljust(100)]
    assert lines[-1] == "0 failures, 1 warnings, 1 fine"
    assert worst([]) == "ok"


def test_without_a_key_the_texts_of_people_are_no_failure(platform: Platform) -> None:
    assert words_of(doctor_world.model(platform)) == [
        "ok: GEMINI_API_KEY is not set: messages come from texts of people"
    ]


def test_the_model_is_asked_for_and_its_refusal_says_what_to_do(platform: Platform, town: Town) -> None:
    key = {"gemini_base_url": town.gemini_url, "gemini_api_key": SecretStr(town.gemini_key)}
    add_salon(platform.database, 1)
    add_salon(platform.database, 2, currency="CHF")
    found = list(doctor_world.model(in_town(platform, town, **key)))
    assert words_of(found) == [
        "ok: gemini-3.5-flash-lite answers; 0.00 of 20.00 dollars spent today",
        "warning: no rate for CHF: its cost counts as nothing",
    ]
    (refused,) = doctor_world.model(in_town(platform, town, **key | {"gemini_api_key": SecretStr(PASSWORD)}))
    assert refused.status == "failure"
    assert "HTTP 400" in refused.words
    assert PASSWORD not in refused.words
    assert "GEMINI_API_KEY" in refused.advice
    (silent,) = doctor_world.model(in_town(platform, town, **key | {"gemini_base_url": "http://127.0.0.1:1"}))
    assert "does not answer" in silent.words


def test_an_installations_own_texts_are_looked_at(platform: Platform, town: Town, tmp_path: Path) -> None:
    own = tmp_path / "texts"
    own.mkdir()
    text = own_source("ru").replace("Записать вас {visit}? 😊", "Записать вас {visit} бесплатно? 😊", 1)
    (own / "ru.txt").write_text(text, encoding="utf-8")
    *warned, last = doctor_world.model(in_town(platform, town, reactivation_texts=own))
    assert {(one.name, one.status, "бесплатно" in one.words) for one in warned} == {("message texts", "warning", True)}
    assert last.status == "ok"
    (own / "ru.txt").write_text("Привет", encoding="utf-8")
    (broken,) = doctor_world.model(in_town(platform, town, reactivation_texts=own))
    assert broken.status == "failure"
    assert "line 1" in broken.words
