"""Explanations over a small salon whose numbers are worked out by hand."""

import io
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from sqlalchemy import insert

from reactivation_cli.explain import explain, print_explanation
from reactivation_cli.explanation import Explanation
from reactivation_core.exclusions import REASONS
from reactivation_core.planning import campaign_id
from reactivation_resources.clock import SimulatedClock
from reactivation_resources.database import models
from reactivation_resources.database.engine import Database
from reactivation_resources.embedded.servers import ServerUrls
from reactivation_resources.platform import Platform
from reactivation_resources.settings import Settings

DAY = date(2026, 11, 20)  # a Friday; its instant is 10:00 in Moscow
AS_OF = datetime(2026, 11, 20, 7, tzinfo=UTC)
CUT, COLOUR, MANICURE = 1, 2, 3
REGULAR, RECENT, OPTED_OUT, LATER, EARLIER, STRANGER, GONE = range(1, 8)
SHARED = "+79000000045"


def visit(client: int, day: str, service: int = CUT, **changes: Any) -> dict[str, Any]:
    starts_at = datetime.fromisoformat(f"{day}T09:00:00+00:00")
    return {
        "company_id": 1, "line": 0, "client_id": client, "service_id": service, "starts_at": starts_at, "created_at": starts_at,
        "price": Decimal("2500.50"), "status": "attended", **changes,
    }  # fmt: skip


def fill(database: Database) -> None:
    visits = [
        *(visit(REGULAR, day) for day in ("2026-08-01", "2026-09-01", "2026-10-01")),
        visit(REGULAR, "2026-09-01", COLOUR),
        visit(RECENT, "2026-11-10"),
        visit(OPTED_OUT, "2026-09-20"),
        visit(OPTED_OUT, "2026-12-01", status="booked", created_at=datetime(2026, 11, 1, tzinfo=UTC)),
        visit(LATER, "2026-10-10"),
        visit(EARLIER, "2026-09-10"),
        visit(GONE, "2026-09-10"),
    ]
    with database.begin() as connection:
        company = {"company_id": 1, "title": "Салон", "timezone": "Europe/Moscow", "country": "RU", "currency": "RUB"}
        connection.execute(
            insert(models.Company).values(
                **company, consent_basis="agreement", accepted_risks=["whatsapp_ru"], phone="+79000000999"
            )
        )
        connection.execute(insert(models.CompanySettings).values(company_id=1, enabled=True))
        connection.execute(insert(models.Account).values(account_id=7, company_id=1, channel="waha", session="salon"))
        titles = {CUT: ("Стрижка", 2500), COLOUR: ("Окрашивание", 6000), MANICURE: ("Маникюр", 2000)}
        for service, (title, price) in titles.items():
            connection.execute(
                insert(models.Service).values(company_id=1, service_id=service, title=title, list_price=price)
            )
        for service, days, active in ((CUT, 28, True), (COLOUR, 45, True), (MANICURE, 21, False)):
            rule = {"company_id": 1, "service_id": service, "manual_interval": days, "active": active}
            connection.execute(insert(models.ServiceRule).values(**rule))
        for client in range(1, 8):
            phone = SHARED if client in (LATER, EARLIER) else f"+7900000000{client}"
            card = {
                "company_id": 1,
                "client_id": client,
                "name": "Ольга [Б]",
                "phone": phone,
                "deleted": client == GONE,
            }
            connection.execute(insert(models.Client).values(**card))
        for number, row in enumerate(visits):
            connection.execute(insert(models.RecordLine).values(record_id=number, **row))
        connection.execute(
            insert(models.Suppression).values(
                company_id=1, phone="+79000000003", reason="opted_out", source="reply", at=datetime(2026, 10, 1, 12, tzinfo=UTC)
            )
        )  # fmt: skip


@pytest.fixture
def platform(database: Database, database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Platform]:
    fill(database)
    settings = Settings(
        _env_file=None, reactivation_home=tmp_path, yclients_base_url="http://127.0.0.1:1", waha_base_url=None
    )
    opened = Platform(settings, SimulatedClock(AS_OF + timedelta(minutes=30)), ServerUrls(database_url, redis_url))
    yield opened
    opened.close()


def on_screen(explanation: Explanation) -> str:
    screen = io.StringIO()
    print_explanation(explanation, Console(file=screen, width=250, highlight=False))
    return screen.getvalue()


def plan(platform: Platform, client: int, **changes: Any) -> str:
    """Write a day's plan with one campaign."""
    campaign = campaign_id(1, client, 1, 1)
    row = {
        "company_id": 1, "client_id": client, "service_id": CUT, "decision": "planned", "reason": "", "campaign_id": campaign,
        "episode_no": 1, "attempt_number": 1, "discount_percent": 10, "lane": "cold", "send_after": AS_OF + timedelta(hours=2),
        "segment": "regular", "priority": 0.5, "days_since": 50, "phone": f"+7900000000{client}", "account_id": 7,
        "retry_interval_days": 14, "max_attempts": 3, "expires_at": AS_OF + timedelta(hours=24), **changes,
    }  # fmt: skip
    platform.campaign_log.write_plan(DAY, AS_OF, [1], [row])
    return campaign


def write_text(platform: Platform, campaign: str) -> None:
    text = {
        "campaign_id": campaign, "stage": "offer", "tone": "friendly", "text_source": "template", "template_id": "t", "message_cost": 0, "writing": "{}",
        "text_template": "{name}, ждём!", "message_text": "Ольга, ждём!", "text_parts": "{}", "told": 0, "personalization": "{}",
    }  # fmt: skip
    platform.campaign_log.write_texts([text])


def test_a_due_client_is_explained_with_every_number_that_made_it_due(platform: Platform) -> None:
    found = explain(platform, 1, REGULAR, DAY)
    cut, colour, manicure = found.rules
    assert (cut.service_id, cut.visits, cut.days_since, cut.interval_days, cut.interval_source) == (
        CUT,
        3,
        50,
        28,
        "manual",
    )
    # gaps of 31 and 30 days; (2 * 30.5 + 3 * 28) / 5 = 29; ceil(1.5 * 29) = 44
    assert (cut.gaps, cut.own_days, cut.rhythm_days, cut.due_after, cut.due) == (2, 30.5, 29.0, 44, True)
    assert cut.words == "due: 50 days > 44 (own rhythm)"
    assert colour.words == "due: 80 days > 45 (interval)"
    assert manicure.words == "not due: the rule is off"
    assert found.chosen is not None
    assert found.chosen.why == "most visits of the due services: 3, the next has 1"
    assert (found.past.visits, found.past.spent_minor, found.past.loyalty, found.past.segment) == (
        3,
        1_000_200,
        2,
        "regular",
    )
    assert found.past.days_since_any == 50
    assert found.as_of.isoformat() == "2026-11-20T10:00:00+03:00"
    assert [check.reason for check in found.checks] == list(REASONS)
    assert not any(check.applies for check in found.checks)
    assert found.decision.decision == "eligible"
    assert (found.decision.rank, found.decision.due_clients, found.decision.eligible_clients) == (1, 4, 2)
    assert found.plan is None
    assert "has not been run yet" in found.plan_words


def test_all_checks_are_shown_also_those_after_the_first_that_applies(platform: Platform) -> None:
    found = explain(platform, 1, OPTED_OUT, DAY)
    applying = {check.reason: check.words for check in found.checks if check.applies}
    assert applying == {
        "opted_out": "on the suppression list since 2026-10-01 15:00 (opted_out)",
        "upcoming_record": "next record 2026-12-01 12:00",
    }
    assert (found.decision.decision, found.decision.reason, found.decision.rank_eligible) == (
        "excluded",
        "opted_out",
        None,
    )
    assert found.verdict.startswith("Due, but excluded: opted_out (on the suppression list")


def test_of_clients_with_one_phone_the_one_that_stays_is_named(platform: Platform) -> None:
    found = explain(platform, 1, EARLIER, DAY)
    assert found.decision.reason == "duplicate_phone"
    words = next(check.words for check in found.checks if check.reason == "duplicate_phone")
    assert words == f"the same number as client {LATER}; client {LATER} stays: latest visit, then lowest id"
    assert explain(platform, 1, LATER, DAY).decision.decision == "eligible"


@pytest.mark.parametrize(
    ("client", "verdict", "words"),
    [
        (RECENT, "Not due by any rule.", "not due: 10 days, due after 28 (interval)"),
        (STRANGER, "Not due: no attended visit is known.", "not due: never came for it"),
        (GONE, "Not due: the client's card is deleted in the CRM.", "not due: never came for it"),
    ],
)
def test_a_client_that_is_not_due_hears_it_from_every_rule(
    platform: Platform, client: int, verdict: str, words: str
) -> None:
    found = explain(platform, 1, client, DAY)
    assert found.verdict == verdict
    assert len(found.rules) == 3
    assert all(rule.words.startswith("not due: ") for rule in found.rules)
    assert found.rules[0].words == words
    assert found.checks == ()
    assert verdict in on_screen(found)


def test_the_plan_the_messages_and_the_replies_of_a_client_are_read_back_in_local_time(platform: Platform) -> None:
    campaign = plan(platform, REGULAR)
    write_text(platform, campaign)
    with platform.database.begin() as connection:
        sent = {
            "at": AS_OF + timedelta(hours=3),
            "event": "accepted",
            "from_status": "sending",
            "to_status": "accepted",
        }
        connection.execute(insert(models.CampaignEvent).values(campaign_id=campaign, **sent))
        message: dict[str, Any] = {
            "inbox_id": 5,
            "channel": "waha",
            "event_key": "k",
            "kind": "message",
            "company_id": 1,
        }
        message |= {"body": "Звоните +79000000001", "occurred_at": AS_OF, "received_at": AS_OF}
        connection.execute(insert(models.InboxMessage).values(**message))
        reply: dict[str, Any] = {
            "inbox_id": 5,
            "company_id": 1,
            "client_id": REGULAR,
            "campaign_id": campaign,
            "day": DAY,
        }
        reply |= {"received_at": AS_OF, "response_type": "positive", "intent": "call_me", "layer": "rule"}
        connection.execute(insert(models.ClientResponse).values(**reply))
    found = explain(platform, 1, REGULAR, DAY)
    assert found.decision.decision == "eligible"  # the day's own campaign does not make it wait for a reply
    assert found.plan is not None
    assert found.plan.words == "planned to be sent after 2026-11-20 12:00"
    assert (found.plan.attempt_number, found.plan.discount_percent, found.plan.lane) == (1, 10, "cold")
    [history] = found.campaigns
    assert [(event.status, f"{event.at:%H:%M}") for event in history.events] == [
        ("planned", "10:00"),
        ("accepted", "13:00"),
    ]
    assert found.account is not None
    assert (found.account.level, found.account.daily, found.account.cold_quota) == ("cold", 20, 5)
    assert found.account.window == "open 10:00 to 19:00 on 2026-11-20"
    screen = on_screen(found)
    assert "Ольга, ждём!" in screen
    assert "Ольга [Б]" in screen
    assert "Звоните +7900***0001" in screen
    assert "+79000000001" not in screen


def test_the_json_holds_no_name_no_phone_and_no_text_that_may_hold_them(platform: Platform) -> None:
    campaign = plan(platform, REGULAR)
    write_text(platform, campaign)
    printed = json.dumps(explain(platform, 1, REGULAR, DAY).as_json(), ensure_ascii=False)
    assert "Ольга" not in printed
    assert "+79000000001" not in printed
    assert '"phone": "+7900***0001"' in printed
    assert json.loads(printed)["campaigns"][0]["text_template"] == "{name}, ждём!"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"decision": "held_out"}, "held out: counted from 2026-11-20 12:00 as if messaged"),
        ({"decision": "deferred", "reason": "daily_limit", "campaign_id": None, "send_after": None}, "deferred to another day: the number's daily limit"),
    ],
)  # fmt: skip
def test_held_out_and_deferred_clients_are_told_why(platform: Platform, changes: dict[str, Any], words: str) -> None:
    plan(platform, REGULAR, **changes)
    found = explain(platform, 1, REGULAR, DAY)
    assert found.plan_words.startswith(words)
    assert words in found.verdict


def test_what_the_day_s_run_wrote_is_compared_with_what_is_found_now(platform: Platform) -> None:
    from reactivation_assets.detection import inactivity_inputs
    from reactivation_core.inactivity import detect_inactive

    platform.lake.write("inactive_clients", detect_inactive(inactivity_inputs(platform, AS_OF), AS_OF), DAY)
    assert explain(platform, 1, REGULAR, DAY).materialized == "the day's run found the same"
    with platform.database.begin() as connection:
        at = AS_OF - timedelta(days=1)
        connection.execute(
            insert(models.Pause).values(
                company_id=1, client_id=REGULAR, at=at, until=AS_OF + timedelta(days=9), reason="by_hand"
            )
        )
    found = explain(platform, 1, REGULAR, DAY)
    assert found.decision.reason == "paused"
    assert found.materialized.startswith("the day's run found eligible")


def test_a_past_day_knows_only_what_was_known_then(platform: Platform) -> None:
    found = explain(platform, 1, OPTED_OUT, date(2026, 9, 25))
    assert found.verdict == "Not due by any rule."
    assert found.past.upcoming_at is None
    assert found.rules[0].days_since == 5


def test_an_unknown_company_or_client_is_an_error_that_says_what_to_do(platform: Platform) -> None:
    with pytest.raises(
        LookupError, match=r"company 2 is not known \(known are 1\): load it with `reactivation import`"
    ):
        explain(platform, 2, 1, DAY)
    with pytest.raises(LookupError, match="client 99 is not known in this company: take the id from"):
        explain(platform, 1, 99, DAY)


def test_a_day_that_has_not_begun_is_refused(platform: Platform) -> None:
    with pytest.raises(ValueError, match="2026-11-21 has not begun"):
        explain(platform, 1, REGULAR, date(2026, 11, 21))
