"""Messages say the facts of their campaign, the same words every time, and nothing that may not be said."""

from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from reactivation_core.message_facts import MessageFacts, SlotFact
from reactivation_core.message_rules import judge_message
from reactivation_core.message_templates import own_source, parse
from reactivation_core.messages import OPT_OUT_LINE
from reactivation_resources.database.engine import Database
from reactivation_resources.message_orders import FAVOURITE
from reactivation_resources.message_writing import MessageWriter, rewrite_message
from reactivation_resources.offered_slots import offered
from tests.resources.sending_world import NOON, add_campaign, add_salon, campaign, execute, rows

SLOT = {"rank": 1, "spare": False, "staff_id": 5, "starts_at": "2026-11-26T15:30:00+00:00"}
SECOND = SLOT | {"rank": 2, "starts_at": "2026-11-27T08:00:00+00:00"}
SPARE = SLOT | {"rank": 3, "spare": True, "starts_at": "2026-11-28T08:00:00+00:00"}


@pytest.fixture
def salon(database: Database) -> Database:
    add_salon(database, clients=40)
    execute(database, "INSERT INTO staff (company_id, staff_id, name) VALUES (1, 5, 'Ольга Петрова')")
    execute(database, "INSERT INTO services (company_id, service_id, title) VALUES (1, 1, 'Женская стрижка')")
    return database


def planned(database: Database, client_id: int = 1, **changes: Any) -> UUID:
    return add_campaign(database, client_id, **{"message_text": None, "slots": [SLOT, SPARE], **changes})


def write(
    database: Database, *campaigns: UUID, favourites: dict[tuple[int, int], int] | None = None, **options: Any
) -> list[Any]:
    """Write campaigns and read them back, in the order of their clients; those that have a text keep it."""
    ids = [str(one) for one in campaigns]
    MessageWriter(database, **options).write(ids, favourites or {}, NOON.date(), NOON)
    return rows(
        database,
        "SELECT * FROM reactivation_campaigns WHERE campaign_id = ANY(CAST(:ids AS uuid[])) ORDER BY company_id, client_id",
        ids=ids,
    )


def forget(database: Database) -> None:
    execute(database, "UPDATE reactivation_campaigns SET message_text = NULL, text_template = NULL, template_id = NULL")


def rewrite(database: Database, one: UUID, slots: list[dict[str, Any]]) -> str:
    with database.begin() as connection:
        words, parts, told = rewrite_message(connection, str(one), slots)
    assert (told > 0) == ("slots" in parts)
    assert (parts["name"], parts.get("slots", "") in words) == ("Анна", True)
    return words


def test_a_message_names_the_client_the_slot_and_how_to_stop(salon: Database) -> None:
    (found,) = write(salon, planned(salon, discount_percent=10))
    words = found.message_text
    assert "Анна" in words
    assert "26 ноября" in words
    assert "18:30" in words
    assert "10" in words
    assert words.endswith(OPT_OUT_LINE["ru"])
    assert "28 ноября" not in words  # a spare
    assert (found.stage, found.tone, found.text_source, found.message_cost) == ("offer", "friendly", "template", 0)
    assert found.writing == {"fallback": "no_key"}
    assert "{name}" in found.text_template
    assert "Анна" not in found.text_template


def test_how_to_stop_is_said_once_an_episode(salon: Database) -> None:
    (found,) = write(salon, planned(salon, attempt_number=2))
    assert OPT_OUT_LINE["ru"] not in found.message_text


def test_the_same_campaign_is_written_in_the_same_words(salon: Database) -> None:
    many = [planned(salon, client) for client in range(1, 41)]
    first = write(salon, *many)
    forget(salon)
    assert write(salon, *reversed(many)) == first
    assert len({found.template_id for found in first}) >= 3  # neighbours differ


@pytest.mark.parametrize("business", ["beauty", "barbershop", "dental", "fitness", "other"])
@pytest.mark.parametrize("tone", ["friendly", "professional", "casual"])
@pytest.mark.parametrize("language", ["ru", "en"])
def test_every_text_passes_the_judge(salon: Database, business: str, tone: str, language: str) -> None:
    execute(
        salon,
        "UPDATE companies SET business_type = :business, language = :language",
        business=business,
        language=language,
    )
    execute(salon, "UPDATE reactivation_settings SET tone = :tone", tone=tone)
    many = [
        planned(
            salon,
            client,
            days_since=(30, 60, 300)[client % 3],
            discount_percent=(0, 10)[client % 2],
            slots=([], [SLOT], [SLOT, SECOND, SPARE])[client % 3],
            attempt_number=1 + client % 2,
        )
        for client in range(1, 25)
    ]
    texts = write(salon, *many, favourites={(1, client): 5 for client in range(1, 12)})
    assert len(texts) == 24
    for found in texts:
        row = campaign(salon, found.campaign_id)
        zone = ZoneInfo("Europe/Moscow")
        slots = tuple(
            SlotFact(datetime.fromisoformat(s["starts_at"]).astimezone(zone), "Ольга Петрова")
            for s in row.slots
            if not s["spare"]
        )
        facts = MessageFacts(
            name="Анна", service_title="Женская стрижка", staff_name="Ольга Петрова", days_inactive=row.days_since,
            discount_percent=row.discount_percent, slots=slots, business_type=business, tone=tone, language=language,
            first_contact=row.attempt_number == 1,
        )  # fmt: skip
        assert judge_message(found.message_text, facts) == []


def test_a_favourite_is_named_only_when_she_may_be(salon: Database) -> None:
    many = [planned(salon, client, days_since=300, slots=[]) for client in range(1, 41)]
    without = write(salon, *many)
    forget(salon)
    named = write(salon, *many, favourites={(1, client): 5 for client in range(1, 41)})
    assert not any("Ольг" in found.message_text for found in without)
    assert any("Ольга" in found.message_text for found in named)
    assert all(found.personalization == {} for found in without)
    assert all(found.personalization == {FAVOURITE: 5} for found in named)


def test_a_favourite_who_has_left_is_not_named(salon: Database) -> None:
    execute(salon, "UPDATE staff SET active = false")
    many = [planned(salon, client, days_since=300, slots=[]) for client in range(1, 41)]
    assert not any(
        "Ольг" in found.message_text for found in write(salon, *many, favourites={(1, c): 5 for c in range(1, 41)})
    )


def test_a_salon_that_offers_no_slots_has_none_in_its_texts(salon: Database) -> None:
    execute(salon, "UPDATE reactivation_settings SET include_slots_in_message = false")
    one = planned(salon)
    (found,) = write(salon, one)
    assert "ноября" not in found.message_text
    assert "ноября" not in rewrite(salon, one, [SLOT])


def test_slots_are_told_by_their_time_whichever_is_best(salon: Database) -> None:
    best = SECOND | {"starts_at": "2026-11-27T15:30:00+00:00"}
    (found,) = write(salon, planned(salon, slots=[best, SLOT, SECOND]))
    assert "в четверг, 26 ноября, в 18:30; в пятницу, 27 ноября, в 11:00 или в 18:30" in found.message_text


def test_the_best_slot_is_told_when_only_one_fits_and_the_others_are_no_offer(salon: Database) -> None:
    titled = {"days_since": 30, "discount_percent": 10, "slots": [SECOND, SLOT, SPARE]}
    execute(salon, "UPDATE services SET title = 'Ламинирование и тонирование ресниц'")
    (found,) = write(salon, planned(salon, **titled))
    assert "27 ноября" in found.message_text
    assert "26 ноября" not in found.message_text
    assert [slot["told"] for slot in found.slots] == [True, False, False]
    assert found.text_parts["slots"] == "в пятницу, 27 ноября, в 11:00"
    assert [one.starts_at.day for one in offered(found.slots)] == [27]


@pytest.mark.parametrize("slots", [None, []])
def test_without_slots_there_is_still_a_message(salon: Database, slots: Any) -> None:
    (found,) = write(salon, planned(salon, slots=slots))
    assert "ноября" not in found.message_text


def test_a_message_is_written_again_in_the_same_words_with_other_slots(salon: Database) -> None:
    one = planned(salon, 7, days_since=300, personalization={FAVOURITE: 5})
    (found,) = write(salon, one, favourites={(1, 7): 5})
    assert rewrite(salon, one, [SLOT, SPARE]) == found.message_text
    other = rewrite(salon, one, [SECOND])
    assert "27 ноября" in other
    assert "26 ноября" not in other
    assert ("Ольг" in other) == ("Ольг" in found.message_text)


@pytest.mark.parametrize(
    "name", ["", "клиент", "Иванова Анна 89160000000", "\u202eанна", "{discount}", "Скидка 99%", "x" * 80, "<b>", "7"]
)
@pytest.mark.parametrize(
    "title", ["", "Скидка 50% на всё!!! www.site.ru", "*Акция* {slots}", "СТРИЖКА (60 мин)", "т" * 200]
)
def test_whatever_the_crm_calls_people_and_services_a_text_comes_out(salon: Database, name: str, title: str) -> None:
    execute(salon, "UPDATE clients SET name = :name", name=name)
    execute(salon, "UPDATE services SET title = :title", title=title)
    found = write(salon, planned(salon, 1), planned(salon, 2, days_since=20), planned(salon, 3, days_since=99))
    assert all(row.message_text for row in found)
    assert len(found) == 3


def test_a_service_the_mirror_does_not_know_is_not_named(salon: Database) -> None:
    (found,) = write(salon, planned(salon, service_id=99))
    assert found.message_text


def test_a_company_without_settings_holds_up_no_other(salon: Database) -> None:
    add_salon(salon, 2)
    one, two = planned(salon), add_campaign(salon, 1, 2, message_text=None)
    execute(salon, "DELETE FROM reactivation_settings WHERE company_id = 2")
    found = write(salon, one, two)
    assert [bool(row.message_text) for row in found] == [True, False]


def test_a_client_does_not_read_her_last_message_again(salon: Database) -> None:
    for client in range(1, 21):
        first = planned(salon, client)
        (said,) = write(salon, first)
        execute(
            salon,
            "UPDATE reactivation_campaigns SET status = 'accepted', sent_at = now() WHERE campaign_id = :id",
            id=first,
        )
        (following,) = write(salon, planned(salon, client, attempt_number=2))
        assert following.text_template != said.text_template


def test_texts_of_the_installations_own(salon: Database) -> None:
    line = "[{name}, ]здравствуйте! Вы не были у нас {days_phrase}.[ Свободно {slots}.][ Скидка {discount}%.] Записать вас? 🌷"
    source = own_source("ru")
    start, end = source.index("== offer, friendly =="), source.index("== offer, professional ==")
    book = parse(source[:start] + "== offer, friendly ==\n" + line + "\n\n" + source[end:], "ru")
    (found,) = write(salon, planned(salon), books={"ru": book})
    assert found.text_template == line
    assert found.template_id == "ru/offer/friendly/0"


def test_a_campaign_that_no_text_fits_is_left_without_one_and_the_rest_goes_on(salon: Database) -> None:
    bad = "[{name}, ]здравствуйте! Вы не были у нас {days_phrase}. Всё бесплатно. Записать вас? 🌷"
    source = own_source("ru")
    start, end = source.index("== offer, friendly =="), source.index("== offer, professional ==")
    book = parse(source[:start] + "== offer, friendly ==\n" + bad + "\n\n" + source[end:], "ru")
    ids = [planned(salon, 1), planned(salon, 2, days_since=200)]
    report = MessageWriter(salon, books={"ru": book}).write([str(one) for one in ids], {}, NOON.date(), NOON)
    assert (report.messages, report.unwritten) == (1, 1)
    assert campaign(salon, ids[0]).message_text is None
    assert campaign(salon, ids[1]).message_text
