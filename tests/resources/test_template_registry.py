"""The registry follows the messenger: what it keeps, what it says later, and what errors of sends say."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from reactivation_core.whatsapp_templates import Template, own_frames
from reactivation_resources.channels.base import TemplateCall
from reactivation_resources.channels.whatsapp_templates import WhatsAppTemplates
from reactivation_resources.database.engine import Database
from reactivation_resources.template_registry import Kept, Synced, apply_event, call_for, for_sending, mark, store, sync
from reactivation_sandbox.process import Town, running_town
from tests.resources.sending_world import NOON, rows

FRAME = own_frames("ru")[-1]
PARTS = {"name": "Анна", "days_phrase": "почти два месяца"}
LATER = NOON + timedelta(hours=1)


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    with running_town(salons=1, clients=5, history=1) as running:
        yield running


def kept(template: Template = FRAME, status: str = "APPROVED", **changes: Any) -> Kept:
    return Kept(replace(template, **changes), "id-1", status)


def sendable(database: Database, business: str = "waba") -> TemplateCall | None:
    with database.begin() as connection:
        return call_for(for_sending(connection, [business]).get(business, []), PARTS, "ru")


def test_a_business_is_brought_up_to_date_over_every_page(database: Database, town: Town) -> None:
    graph = WhatsAppTemplates(town.cloud_url, town.access_token)
    business = town.businesses["101"]
    for number in range(105):
        graph.submit(business, replace(FRAME, name=f"own_{number:03}"))
    graph.submit(business, FRAME)
    assert sync(database, business, graph.list, NOON) == Synced(kept=106, usable=1, gone=0)
    assert sendable(database, business) is None  # nothing is approved yet
    town.approve_templates()
    assert sync(database, business, graph.list, LATER).usable == 1
    assert sendable(database, business) == TemplateCall("come_back_plain", "ru", ("почти два месяца",))


def test_what_is_gone_at_the_messenger_is_gone_here(database: Database) -> None:
    store(database, "waba", [kept(), kept(name="another")], NOON)
    assert store(database, "waba", [kept()], LATER) == Synced(kept=1, usable=1, gone=1)
    assert rows(database, "SELECT name FROM message_templates") == [("come_back_plain",)]
    assert store(database, "other", [], LATER).gone == 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"body": "Здравствуйте, {{1}}! Вы были у нас давно, ждём вас снова."},
            "what stands in its places is not known",
        ),
        ({"buttons": ()}, "no quick-reply button"),
        ({"category": "UTILITY"}, "the category is UTILITY"),
    ],
)
def test_a_template_that_may_not_go_says_why(database: Database, changes: dict[str, Any], reason: str) -> None:
    assert store(database, "waba", [kept(**changes)], NOON).usable == 0
    ((found,),) = rows(database, "SELECT reason FROM message_templates")
    assert reason in found
    assert sendable(database) is None


def test_a_template_with_places_named_after_our_parts_is_filled_by_name(database: Database) -> None:
    words = "Здравствуйте, {{name}}! Вы были у нас {{days_phrase}} назад, ждём вас снова."
    store(database, "waba", [kept(name="own", body=words, named=True)], NOON)
    assert sendable(database) == TemplateCall("own", "ru", ("Анна", "почти два месяца"), ("name", "days_phrase"))


def change(**value: Any) -> dict[str, Any]:
    named = {"message_template_name": FRAME.name, "message_template_language": "ru"}
    return {"field": "message_template_status_update", "value": {**named, **value}}


@pytest.mark.parametrize("event", ["PAUSED", "DISABLED", "REJECTED", "PENDING_DELETION"])
def test_the_messengers_word_takes_a_template_out_and_brings_it_back(database: Database, event: str) -> None:
    store(database, "waba", [kept()], NOON)
    assert told(database, change(event=event, reason="LOW_QUALITY"))
    assert sendable(database) is None
    assert rows(database, "SELECT status, reason FROM message_templates") == [(event, "LOW_QUALITY")]
    told(database, change(event="APPROVED"))
    assert sendable(database) is not None


def test_quality_and_category_are_followed(database: Database) -> None:
    store(database, "waba", [kept()], NOON)
    told(database, change(new_quality_score="YELLOW"))
    assert rows(database, "SELECT quality FROM message_templates") == [("YELLOW",)]
    told(database, change(new_category="UTILITY"))
    assert sendable(database) is None


def test_a_change_of_an_unknown_template_changes_nothing_and_one_without_a_name_is_an_error(database: Database) -> None:
    store(database, "waba", [kept()], NOON)
    assert not told(database, change(event="PAUSED", message_template_name="stranger"))
    with pytest.raises(ValueError, match="message_template_name"):
        told(database, {"value": {"event": "PAUSED"}})
    assert sendable(database) is not None


@pytest.mark.parametrize("effect", ["pause", "disable", "resync"])
def test_an_error_of_a_send_takes_the_template_out_until_it_is_looked_at_again(database: Database, effect: Any) -> None:
    store(database, "waba", [kept()], NOON)
    with database.begin() as connection:
        mark(connection, "waba", FRAME.name, "ru", effect, LATER, "the places do not fit")
    assert sendable(database) is None
    store(database, "waba", [kept()], LATER + timedelta(hours=1))
    assert sendable(database) is not None


def told(database: Database, payload: dict[str, Any]) -> bool:
    with database.begin() as connection:
        return apply_event(connection, "waba", payload, LATER)
