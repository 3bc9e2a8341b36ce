"""The outbox over the Cloud API: templates and our own words, what errors do to client, number and template, the next channel."""

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert

from reactivation_core.channel_errors import CLOUD_ERRORS
from reactivation_core.whatsapp_templates import own_frames
from reactivation_resources.channels.base import Channel, InboundEvent
from reactivation_resources.channels.waha import Waha
from reactivation_resources.channels.whatsapp_cloud import WhatsAppCloud
from reactivation_resources.channels.whatsapp_templates import WhatsAppTemplates
from reactivation_resources.clock import SimulatedClock
from reactivation_resources.database.engine import Database
from reactivation_resources.database.models import Account
from reactivation_resources.dispatch import dispatch_due
from reactivation_resources.inbox import Inbox
from reactivation_resources.outbox import Cleared, Decision, Outbox, Postponed
from reactivation_resources.template_registry import sync
from reactivation_sandbox.process import Town, running_town
from tests.resources.sending_world import NOON, add_campaign, add_salon, campaign, execute, meanwhile, reply, rows

PARTS = {"name": "Анна", "days_phrase": "почти два месяца", "discount": "10"}


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    with running_town(salons=1, clients=40, history=1, now=NOON) as running:
        graph = WhatsAppTemplates(running.cloud_url, running.access_token)
        for frame in own_frames("ru"):
            graph.submit(running.businesses["101"], frame)
        running.approve_templates()
        yield running


@pytest.fixture
def salon(database: Database, town: Town) -> int:
    """A salon whose number is the town's, and its templates; the account's id."""
    town.mischief(errors=[])
    account = add_salon(database, clients=5)
    execute(
        database,
        "UPDATE channel_accounts SET channel = 'whatsapp_cloud', session = :number, business_id = :business",
        number=town.numbers["101"],
        business=town.businesses["101"],
    )
    people = [one["phone"] for one in town.book(101)["clients"] if one["phone"].startswith("+79000")][:5]
    for client, phone in enumerate(people, start=1):
        execute(database, "UPDATE clients SET phone = :phone WHERE client_id = :client", phone=phone, client=client)
    graph = WhatsAppTemplates(town.cloud_url, town.access_token)
    sync(database, town.businesses["101"], graph.list, NOON)
    return account


@pytest.fixture
def outbox(database: Database) -> Outbox:
    return Outbox(database, SimulatedClock(NOON), templated=frozenset({"whatsapp_cloud"}))


@pytest.fixture
def channels(town: Town) -> dict[str, Channel]:
    return {
        "whatsapp_cloud": WhatsAppCloud(town.cloud_url, town.access_token),
        "waha": Waha(town.waha_url, town.api_key),
    }


def phone_of(database: Database, client: int = 1) -> str:
    ((phone,),) = rows(
        database, "SELECT phone FROM clients WHERE company_id = 1 AND client_id = :client", client=client
    )
    return str(phone)


def planned(database: Database, client: int = 1, **changes: Any) -> UUID:
    return add_campaign(
        database, client, phone=phone_of(database, client), text_parts=PARTS, message_text="Наши слова", **changes
    )


def wrote(database: Database, town: Town, client: int, at: datetime) -> None:
    """A client's message, at the messenger and here."""
    town.write(101, phone_of(database, client), "Здравствуйте", "cloud")
    event = reply("Здравствуйте", phone_of(database, client), session=town.numbers["101"], occurred_at=at)
    Inbox(database).store("whatsapp_cloud", [event], at)


def test_outside_a_clients_day_the_template_that_says_most_goes(
    database: Database, town: Town, salon: int, outbox: Outbox, channels: dict[str, Channel]
) -> None:
    campaign_id = planned(database)
    assert dispatch_due(outbox, channels, "one").counts == {"accepted": 1}
    sent = town.messages()[-1]
    assert (sent["template"], sent["campaign"]) == ("come_back_name_discount", str(campaign_id))
    assert "скидка 10%" in sent["text"]
    assert campaign(database, campaign_id).sent_template == "come_back_name_discount:ru"
    assert salon


def test_inside_a_clients_day_our_own_words_go(
    database: Database, town: Town, salon: int, outbox: Outbox, channels: dict[str, Channel]
) -> None:
    wrote(database, town, 1, NOON - timedelta(hours=3))
    campaign_id = planned(database)
    assert dispatch_due(outbox, channels, "one").counts == {"accepted": 1}
    assert town.messages()[-1]["text"] == "Наши слова"
    assert campaign(database, campaign_id).sent_template is None
    assert salon


@pytest.mark.parametrize("hours", [24, 23.99])
def test_a_day_that_is_over_or_ends_while_the_message_travels_is_no_day(
    database: Database, town: Town, salon: int, outbox: Outbox, channels: dict[str, Channel], hours: float
) -> None:
    at = NOON - timedelta(hours=hours)
    phone = phone_of(database, 2)
    Inbox(database).store("whatsapp_cloud", [reply("Да", phone, session=town.numbers["101"], occurred_at=at)], NOON)
    campaign_id = planned(database, 2)
    dispatch_due(outbox, channels, "one")
    assert campaign(database, campaign_id).sent_template == "come_back_name_discount:ru"
    assert salon


def test_without_a_fitting_template_the_message_waits_with_its_reason(
    database: Database, salon: int, outbox: Outbox, channels: dict[str, Channel]
) -> None:
    execute(database, "UPDATE message_templates SET status = 'PAUSED'")
    campaign_id = planned(database)
    report = dispatch_due(outbox, channels, "one")
    assert report.counts == {"postponed:no_template": 1}
    assert report.next_due_at == NOON + timedelta(minutes=30)
    assert campaign(database, campaign_id).status == "planned"
    assert salon


@pytest.mark.parametrize("code", [code for code, what in CLOUD_ERRORS.items() if what.template])
def test_an_error_of_the_template_takes_it_out_and_the_message_goes_with_another(
    database: Database, town: Town, salon: int, channels: dict[str, Channel], code: int
) -> None:
    campaign_id = planned(database)
    clock = SimulatedClock(NOON)
    outbox = Outbox(database, clock, templated=frozenset({"whatsapp_cloud"}))
    town.mischief(errors=[{"channel": "cloud", "code": code}])
    assert dispatch_due(outbox, channels, "one").counts == {"planned": 1}
    clock.advance_to(NOON + timedelta(minutes=6))
    assert dispatch_due(outbox, channels, "one").counts == {"accepted": 1}
    assert campaign(database, campaign_id).sent_template == "come_back_discount:ru"
    assert salon


def test_a_client_who_has_stopped_marketing_is_never_written_to_again(
    database: Database, town: Town, salon: int, outbox: Outbox, channels: dict[str, Channel]
) -> None:
    campaign_id = planned(database)
    town.mischief(errors=[{"channel": "cloud", "code": 131050}])
    dispatch_due(outbox, channels, "one")
    row = campaign(database, campaign_id)
    assert (row.status, row.completion_reason) == ("failed", "opted_out")
    assert rows(database, "SELECT phone, reason, source FROM suppressions") == [(row.phone, "opted_out", "channel")]
    assert salon


@pytest.mark.parametrize(
    ("code", "state", "resting"),
    [(368, "stopped", False), (131048, "working", True), (131064, "paused", False), (190, "working", True)],
)
def test_an_error_of_the_number_holds_it_and_burns_no_try(
    database: Database, town: Town, salon: int, outbox: Outbox, channels: dict[str, Channel], code: int, state: str, resting: bool
) -> None:  # fmt: skip
    execute(database, "UPDATE channel_accounts SET first_sent_at = :since", since=NOON - timedelta(days=100))
    first, second = planned(database, 1), planned(database, 2)
    town.mischief(errors=[{"channel": "cloud", "code": code}])
    assert dispatch_due(outbox, channels, "one").counts["planned"] == 1
    ((found, until),) = rows(database, "SELECT state, paused_until FROM channel_accounts")
    assert (found, until is not None) == (state, resting)
    tried = [campaign(database, one) for one in (first, second)]
    assert {row.status for row in tried} == {"planned"}
    assert sum(row.tries for row in tried) == 0
    assert rows(database, "SELECT count(*) FROM alerts") == [(1,)]
    assert salon


def test_a_failed_status_means_the_same_as_a_refusal(database: Database, town: Town, salon: int) -> None:
    channel = WhatsAppCloud("http://127.0.0.1:9", "token")
    campaign_id = planned(database, status="unknown", sending_at=NOON, tries=1)
    told = {
        "id": "wamid.9", "status": "failed", "timestamp": "1795000000", "recipient_id": phone_of(database)[1:],
        "biz_opaque_callback_data": str(campaign_id), "errors": [{"code": 131050}],
    }  # fmt: skip
    change = {"field": "messages", "value": {"metadata": {"phone_number_id": town.numbers["101"]}, "statuses": [told]}}
    events = channel.parse_events({"entry": [{"id": "waba", "changes": [change]}]})
    Inbox(database).store("whatsapp_cloud", events, NOON + timedelta(minutes=1))
    row = campaign(database, campaign_id)
    assert (row.status, row.completion_reason, row.error.split(":")[0]) == ("failed", "opted_out", "131050")
    assert rows(database, "SELECT count(*) FROM suppressions") == [(1,)]
    assert salon


def test_our_id_settles_a_lost_answer_whatever_else_went_to_that_chat(
    database: Database, town: Town, salon: int
) -> None:
    campaign_id = planned(database, status="unknown", sending_at=NOON, tries=1)
    ours = ack_of(town, "wamid.1", campaign_id=campaign_id)
    theirs = ack_of(town, "wamid.2")
    Inbox(database).store("whatsapp_cloud", [theirs, ours], NOON + timedelta(minutes=1))
    row = campaign(database, campaign_id)
    assert (row.status, row.provider_message_id) == ("delivered", "wamid.1")
    assert salon


def ack_of(town: Town, message_id: str, campaign_id: UUID | None = None) -> InboundEvent:
    return InboundEvent(
        key=f"status:{message_id}:delivered", kind="ack", session=town.numbers["101"], message_id=message_id,
        ack="delivered", campaign_id=campaign_id, occurred_at=NOON,
    )  # fmt: skip


def test_who_is_not_on_one_channel_is_written_to_on_the_next(
    database: Database, town: Town, salon: int, channels: dict[str, Channel]
) -> None:
    with database.begin() as connection:
        values = {"company_id": 1, "channel": "waha", "session": town.sessions["101"], "preference": 1}
        second = connection.execute(insert(Account).values(**values).returning(Account.account_id)).scalar_one()
    campaign_id = planned(database, account_id=salon)
    town.mischief(errors=[{"channel": "cloud", "code": 131026}])
    clock = SimulatedClock(NOON)
    outbox = Outbox(database, clock, templated=frozenset({"whatsapp_cloud"}))
    assert dispatch_due(outbox, channels, "one").counts == {"planned": 1}
    assert campaign(database, campaign_id).account_id == second
    assert dispatch_due(outbox, channels, "one").counts == {"accepted": 1}
    assert town.messages()[-1]["channel"] == "waha"
    assert salon != second


def test_who_is_on_no_channel_is_left_alone_for_a_month(
    database: Database, town: Town, salon: int, outbox: Outbox, channels: dict[str, Channel]
) -> None:
    campaign_id = planned(database)
    town.mischief(errors=[{"channel": "cloud", "code": 131026}])
    assert dispatch_due(outbox, channels, "one").counts == {"failed": 1}
    assert campaign(database, campaign_id).next_attempt_at == NOON + timedelta(days=30)
    assert salon


@pytest.fixture
def one_business(database: Database, town: Town, salon: int) -> list[int]:
    """The accounts of two salons whose business may write to one client a day; each has one campaign to send."""
    execute(
        database,
        "UPDATE channel_accounts SET clients_a_day = 1, first_sent_at = :since",
        since=NOON - timedelta(days=100),
    )
    second = add_salon(database, 2, clients=2)
    execute(
        database,
        "UPDATE channel_accounts SET channel = 'whatsapp_cloud', business_id = :business, clients_a_day = 1 WHERE company_id = 2",
        business=town.businesses["101"],
    )
    planned(database)
    add_campaign(database, 1, 2, text_parts=PARTS)
    return [salon, second]


def test_numbers_of_one_business_share_its_limit_of_clients(outbox: Outbox, one_business: list[int]) -> None:
    claims, held = outbox.claim_from("one", one_business)
    assert len(claims) == 1
    assert [one.reason for one in held.values()] == ["business_limit"]


def test_two_dispatchers_in_the_same_moment_keep_the_limit_of_a_business(
    database: Database, outbox: Outbox, one_business: list[int]
) -> None:
    first, second = one_business
    decisions: list[Decision] = []
    rival = Outbox(database, outbox.clock, templated=frozenset({"whatsapp_cloud"}))
    threads: list[threading.Thread] = []

    def checkpoint(name: str) -> None:
        if name == "clearing":
            threads.append(meanwhile(database, lambda: decisions.extend(rival.clear(rivals, {}))))

    claims, rivals = outbox.claim_from("one", [first])[0], rival.claim_from("two", [second])[0]
    outbox.checkpoint = checkpoint
    assert isinstance(outbox.clear(claims, {})[0], Cleared)
    threads[0].join()
    assert [one.reason for one in decisions if isinstance(one, Postponed)] == ["business_limit"]
