from datetime import UTC, date, datetime, time, timedelta

from reactivation_sandbox.dialog import Event
from reactivation_sandbox.offers import discount, mentions, offered
from reactivation_sandbox.town import Town

NOW = datetime(2026, 11, 2, 8, tzinfo=UTC)
TODAY = date(2026, 11, 2)  # a Monday


def at(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime.combine(date(2026, 11, day), time(hour, minute))


def sent_to_everyone(text: str) -> tuple[Town, list[Event]]:
    town = Town(seed=5, now=NOW, salons=3, clients=150)
    for salon in town.salons.values():
        for person in list(salon.people.values()):
            if person.chat:
                town.dialog.send(salon.session, person.chat, text)
    return town, list(town.advance(NOW + timedelta(days=4)))


def test_a_client_reads_dates_and_hours_out_of_russian_and_english_messages() -> None:
    assert offered("в среду, 4 ноября, в 18:30 или в 19:00", TODAY) == [at(4, 18, 30), at(4, 19)]
    assert offered("завтра в 10:00, в чт 12:15, 07.11 в 9:00", TODAY) == [at(3, 10), at(5, 12, 15), at(7, 9)]
    assert offered("понедельник 14:00", TODAY) == [at(9, 14)]
    assert offered("Nov 5 at 6:30 pm, Saturday 11:00 am or 12:15 pm", TODAY) == [
        at(5, 18, 30),
        at(7, 11),
        at(7, 12, 15),
    ]
    assert offered("Приходите 3 января в 12:00", TODAY) == [datetime.combine(date(2027, 1, 3), time(12))]
    assert offered("среди мастеров, this month, 31 ноября", TODAY) == []
    assert discount("скидка 15 % до пятницы") == 15
    assert mentions("Запишу к Лилии на среду", "Лилия")
    assert not mentions("Лилипуты", "Анна")


def test_receipts_and_answers_carry_the_message_they_belong_to() -> None:
    town, events = sent_to_everyone("Записать вас в среду, 4 ноября, в 18:30 или в четверг в 12:00?")
    ours = {message.message_id for message in town.dialog.messages}
    acks = [e for e in events if e.event == "message.ack"]
    assert {e.payload["id"] for e in acks} == ours
    assert {e.payload["ackName"] for e in acks} == {"SERVER", "DEVICE", "READ", "ERROR"}
    order = [e.at for e in events]
    assert order == sorted(order)
    assert any(e.copies == 2 for e in events)
    read = {e.payload["id"]: e.at for e in acks if e.payload["ackName"] == "READ"}
    device = {e.payload["id"]: e.at for e in acks if e.payload["ackName"] == "DEVICE"}
    assert any(device[key] > read[key] for key in read.keys() & device.keys())
    assert any(key not in device for key in read)
    quotes = [e.payload["replyTo"] for e in events if e.event == "message" and e.payload["replyTo"]]
    assert quotes
    assert all(quote["id"] in ours for quote in quotes if isinstance(quote, dict))


def test_agreeing_clients_get_a_booking_in_the_journal_at_an_offered_time() -> None:
    town, _ = sent_to_everyone("Записать вас в среду, 4 ноября, в 18:30 или в четверг в 12:00? Скидка 10%")
    agreed = [m for m in town.dialog.messages if m.intent in {"confirm", "choose_slot"} and m.record_id]
    assert len(agreed) > 10
    chosen = [town.salons[m.company_id or 0].records[m.record_id or 0] for m in agreed]
    assert all(r.discount == 10 and r.created > NOW for r in chosen)
    assert chosen[0].cost == round(sum(line.price for line in chosen[0].lines) * 0.9, 2)
    assert all(m.replies for m in agreed)
    picked = [r for r, m in zip(chosen, agreed, strict=True) if m.intent == "choose_slot"]
    assert picked
    assert {r.local for r in picked} <= {at(4, 18, 30), at(5, 12)}  # the others found the time gone, and took another


def test_someone_who_said_stop_never_books_through_a_message_again() -> None:
    town, _ = sent_to_everyone("Давно не виделись! Записать вас?")
    stopped = [m for m in town.dialog.messages if m.intent == "opt_out"]
    assert stopped
    for message in stopped:
        town.dialog.send(message.session, message.chat, "И всё-таки?")
    first = len(town.dialog.messages) - len(stopped)
    list(town.advance(town.now + timedelta(days=4)))
    assert {m.intent for m in town.dialog.messages[first:]} <= {"ignore", "complaint", None}


def test_a_number_that_is_not_on_the_messenger_gets_an_error_receipt() -> None:
    town = Town(seed=5, now=NOW, salons=1, clients=20)
    assert not town.dialog.reachable("79009999999")
    message = town.dialog.send("company_101", "79009999999", "Здравствуйте")
    acks = [
        e.payload["ackName"]
        for e in town.advance(NOW + timedelta(minutes=5))
        if e.payload.get("id") == message.message_id
    ]
    assert acks == ["ERROR"]
