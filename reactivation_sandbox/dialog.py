"""What passes between a salon and its clients by messenger: messages, receipts, replies, and the bookings that come of them."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING

from reactivation_sandbox.behaviour import BOOK, BOOK_QUIETLY, IGNORE, Situation, decide, liking
from reactivation_sandbox.mischief import Mischief
from reactivation_sandbox.offers import discount, mentions, offered
from reactivation_sandbox.people import Person
from reactivation_sandbox.phrases import MONTHS, ORDINALS, WEEKDAYS, phrases
from reactivation_sandbox.salon import Record, Salon

if TYPE_CHECKING:
    from reactivation_sandbox.town import Town

ACKS = {"ERROR": -1, "PENDING": 0, "SERVER": 1, "DEVICE": 2, "READ": 3}
STATUSES = {"ERROR": "failed", "SERVER": "sent", "DEVICE": "delivered", "READ": "read"}
NOT_THERE = 131026  # the Cloud API's word for a phone that is not on the messenger


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the messenger, as its channel reports it. `copies` above one means that it is reported again."""

    event_id: str
    event: str
    session: str
    payload: dict[str, object]
    at: datetime
    copies: int = 1
    channel: str = "waha"


@dataclass(slots=True)
class Message:
    """One message accepted from a salon, and what came of it.

    `session` is the channel's name of the salon's number. `callback` is what the Cloud API gives back with every status. `arrived` is in
    seconds of the server's monotonic clock, `real_at` the real instant. `lost`: its answer was cut off. `fails`: the code it fails with.
    """

    message_id: str
    session: str
    chat: str
    text: str
    at: datetime
    number: int
    company_id: int | None = None
    client_id: int | None = None
    read_at: datetime | None = None
    intent: str | None = None
    replies: list[str] = field(default_factory=list)
    record_id: int | None = None
    would_return_at: datetime | None = None
    channel: str = "waha"
    callback: str | None = None
    template: str | None = None
    arrived: float = 0.0
    real_at: datetime | None = None
    lost: bool = False
    fails: int | None = None


class Dialog:
    """The messenger side of the town."""

    def __init__(self, town: "Town") -> None:
        self._town = town
        self.messages: list[Message] = []
        self.statuses: dict[str, str] = {}
        self.heard_at: dict[tuple[str, str], datetime] = {}
        self.mischief = Mischief()
        self.quiet = False  # clients neither read nor answer
        self._written: dict[tuple[str, str], int] = {}
        self._inbound: dict[str, int] = {}
        self._events = 0
        self._outbox: list[Event] = []

    def move_in(self, town: "Town") -> None:
        """Belong to another town object from now on."""
        self._town = town

    def drain(self) -> list[Event]:
        """Events since the last call."""
        events, self._outbox = self._outbox, []
        return events

    def salon_of(self, session: str) -> Salon | None:
        """Whose number a session or a number of the Cloud API is; `default` is the first salon's."""
        salons = self._town.salons
        if session == "default":
            return next(iter(salons.values()), None)
        digits = session.removeprefix("company_")
        if not digits.isdigit():
            return None
        salon = salons.get(int(digits if digits != session else digits[1:]))
        return salon if salon is not None and session in (salon.session, salon.number_id) else None

    def status(self, session: str) -> str | None:
        """The state of a session, None when there is no such session."""
        return self.statuses.get(session, "WORKING") if self.salon_of(session) else None

    def set_status(self, session: str, status: str) -> None:
        """Put a session into a state and report it."""
        self.statuses[session] = status
        self._emit("session.status", session, {"name": session, "status": status})

    def reachable(self, digits: str) -> bool:
        """Whether this number is on the messenger."""
        return any(_chats(salon).get(digits, (None, False))[1] for salon in self._town.salons.values())

    def send(
        self,
        session: str,
        chat: str,
        text: str,
        *,
        channel: str = "waha",
        callback: str | None = None,
        template: str | None = None,
    ) -> Message:
        """Accept a message for a chat (digits). Receipts and whatever the client does about it come later."""
        town = self._town
        number = self._written[session, chat] = self._written.get((session, chat), 0) + 1
        identity = town.dice.number("message", session, chat, number)
        key = f"true_{chat}@c.us_3EB0{identity:016X}" if channel == "waha" else f"wamid.{identity:016X}{number:04X}"
        message = Message(
            key, session, chat, text, town.now, number, channel=channel, callback=callback, template=template,
            arrived=monotonic(), real_at=datetime.now(UTC),
        )  # fmt: skip
        self.messages.append(message)
        salon = self.salon_of(session)
        person = None if salon is None else _chats(salon).get(chat, (None, False))[0]
        message.fails = self.mischief.error(channel, chat, "status")
        if message.fails is not None:
            self._later(self._second(2, 20, "error", key), self._ack, message, "ERROR")
            return message
        if salon is None or person is None or not person.on_whatsapp:
            if self.reachable(chat):
                self._later(self._second(2, 90, "device", key), self._ack, message, "DEVICE")
            else:
                self._later(self._second(2, 20, "error", key), self._ack, message, "ERROR")
            return message
        message.company_id, message.client_id = salon.company_id, person.client_id
        message.would_return_at = None if salon.upcoming(person.client_id, town.now) else person.returns_at
        town.note("messaged", salon, person.client_id, key)
        if self.quiet:
            self._later(self._second(1, 4, "server", key), self._ack, message, "SERVER")
            self._later(self._second(4, 90, "device", key), self._ack, message, "DEVICE")
            return message
        self._receipts(salon, person, message)
        person.messaged.append(town.now)
        return message

    def say(self, salon: Salon, chat: str, text: str, channel: str) -> str:
        """Anybody's words arrive at the salon's number; the message's id."""
        session = salon.session if channel == "waha" else salon.number_id
        number = self._inbound[chat] = self._inbound.get(chat, 0) + 1
        identity = self._town.dice.number("said", salon.company_id, chat, number)
        self.heard_at[session, chat] = self._town.now
        words = (
            self._waha_words(salon, chat, text, identity, None)
            if channel == "waha"
            else self._cloud_words(chat, text, identity, None)
        )
        self._emit("message", session, words, channel)
        return str(words["id"])

    def write_first(self, salon: Salon, person: Person) -> None:
        """A client writes of her own accord."""
        words = phrases(salon.language)["writes_first"]
        self._receive(
            salon, person, self._town.dice.pick(words, "first words", person.client_id, person.bookings), None
        )

    # receipts

    def _receipts(self, salon: Salon, person: Person, message: Message) -> None:
        dice, key = self._town.dice, message.message_id
        self._later(self._second(1, 4, "server", key), self._ack, message, "SERVER")
        far = dice.chance(0.1, "phone is off", key)
        device = self._second(600, 14_000, "device", key) if far else self._second(4, 90, "device", key)
        if not dice.chance(0.88, "reads", key):
            self._later(device, self._ack, message, "DEVICE")
            return
        wait = timedelta(minutes=25 * dice.spread(1.2, "read", key))
        read = self._awake(salon, self._town.now + device + wait) - self._town.now
        if dice.chance(0.05, "out of order", key):
            device = read + timedelta(seconds=2)
        if not dice.chance(self.mischief.skip_delivered, "receipt lost", key):
            self._later(device, self._ack, message, "DEVICE")
        self._later(read, self._read, salon, person, message)

    def _second(self, low: float, high: float, *key: object) -> timedelta:
        return timedelta(seconds=round(self._town.dice.between(low, high, *key)))

    def _later(self, delay: timedelta, happening: object, *args: object) -> None:
        assert callable(happening)  # noqa: S101 (for the type checker: a bound method of this class)
        self._town.agenda.plan(self._town.now + delay, happening, *args)

    @staticmethod
    def _awake(salon: Salon, instant: datetime) -> datetime:
        """Nobody reads between 23:00 and 08:00."""
        local = salon.local(instant)
        if 8 <= local.hour < 23:
            return instant
        morning = local.replace(hour=8, microsecond=0) + timedelta(days=local.hour >= 23)
        return salon.instant(morning)

    def _ack(self, message: Message, name: str) -> None:
        if message.channel == "cloud":
            self._emit("status", message.session, self._status(message, name), "cloud")
            return
        salon = self.salon_of(message.session)
        payload: dict[str, object] = {
            "id": message.message_id,
            "from": f"{salon.phone[1:] if salon else ''}@c.us",
            "to": f"{message.chat}@c.us",
            "participant": None,
            "fromMe": True,
            "ack": ACKS[name],
            "ackName": name,
        }
        self._emit("message.ack", message.session, payload)

    def _status(self, message: Message, name: str) -> dict[str, object]:
        """A status as the Cloud API tells it."""
        status: dict[str, object] = {
            "id": message.message_id,
            "status": STATUSES[name],
            "timestamp": str(int(self._town.now.timestamp())),
            "recipient_id": message.chat,
        }
        if message.callback is not None:
            status["biz_opaque_callback_data"] = message.callback
        if name == "ERROR":
            code = message.fails or NOT_THERE
            status["errors"] = [
                {"code": code, "title": "Message undeliverable", "error_data": {"details": "on demand"}}
            ]
        else:
            status["conversation"] = {"id": f"c{message.number:08x}", "origin": {"type": "marketing"}}
            status["pricing"] = {"billable": True, "pricing_model": "PMP", "category": "marketing", "type": "regular"}
        return status

    def _emit(self, event: str, session: str, payload: dict[str, object], channel: str = "waha") -> None:
        """Tell an event now, or later where mischief has it so."""
        self._events += 1
        dice, number = self._town.dice, self._events
        copies = 2 if dice.chance(self.mischief.duplicate, "copy", number) else 1
        event_id = f"evt_{dice.number('event', number):016x}{number:08x}"
        told = Event(event_id, event, session, payload, self._town.now, copies, channel)
        delay = self.mischief.delay(dice, number)
        if delay:
            self._later(delay, self._put, told)
        else:
            self._put(told)

    def _put(self, told: Event) -> None:
        self._outbox.append(told)  # the list itself is another after every drain

    def tell(self, event: str, session: str, payload: dict[str, object], channel: str) -> None:
        """Report an event that somebody has asked for."""
        self._outbox.append(
            Event(
                f"evt_asked_{self._events}_{len(self._outbox)}",
                event,
                session,
                payload,
                self._town.now,
                channel=channel,
            )
        )

    # reactions

    def _read(self, salon: Salon, person: Person, message: Message) -> None:
        town, key = self._town, message.message_id
        message.read_at = town.now
        self._ack(message, "READ")
        offers = tuple(offered(message.text, salon.local(message.at).date()))
        recent = sum(1 for at in person.messaged if timedelta(0) < message.at - at < timedelta(days=30))
        away = (town.now - person.last_visit).total_seconds() / 86_400 if person.last_visit else 999.0
        booked = salon.upcoming(person.client_id, town.now) is not None
        seen = Situation(away / person.tastes.rhythm_days, offers, discount(message.text), recent, booked)
        message.intent = decide(town.dice, person, seen, key)
        town.note("read", salon, person.client_id, message.intent)
        if message.intent == BOOK_QUIETLY:
            self._later(self._second(3_600, 90_000, "quietly", key), self._book_quietly, salon, person, message)
        elif message.intent != IGNORE:
            wait = timedelta(minutes=12 * town.dice.spread(1.1, "answer", key))
            self._later(self._awake(salon, town.now + wait) - town.now, self._reply, salon, person, message, offers)

    def _book_quietly(self, salon: Salon, person: Person, message: Message) -> None:
        if salon.upcoming(person.client_id, self._town.now) is None:
            record = self._town.book_somewhere(salon, person, online=False, discount=discount(message.text))
            message.record_id = record.record_id if record else None

    def _reply(self, salon: Salon, person: Person, message: Message, offers: tuple[datetime, ...]) -> None:
        dice, key = self._town.dice, message.message_id
        words = phrases(salon.language)
        intent = message.intent or IGNORE
        if dice.chance(0.1, "greets", key):
            self._receive(salon, person, dice.pick(words["greeting"], "greeting", key), message)
        slot = None
        if intent == BOOK:
            liked = sorted(offers, key=lambda offer: liking(person.tastes, offer))
            slot = next((offer for offer in liked if self._hands(salon, person, message, offer)), None)
            intent = message.intent = "choose_slot" if slot and dice.chance(0.65, "chooses", key) else "confirm"
            if intent == "confirm":
                slot = next((offer for offer in offers if self._hands(salon, person, message, offer)), None)
            others = [offer for offer in liked if offer != slot and self._hands(salon, person, message, offer)]
            if intent == "choose_slot" and others and dice.chance(0.08, "changes mind", key):
                self._receive(salon, person, self._say(salon, person, message, intent, slot, offers), message)
                self._later(timedelta(minutes=3), self._change_mind, salon, person, message, others[0], offers)
                return
        self._act(salon, person, message, intent, slot)
        self._receive(salon, person, self._say(salon, person, message, intent, slot, offers), message)

    def _change_mind(
        self, salon: Salon, person: Person, message: Message, slot: datetime, offers: tuple[datetime, ...]
    ) -> None:
        self._act(salon, person, message, "choose_slot", slot)
        self._receive(salon, person, self._say(salon, person, message, "change_mind", slot, offers), message)

    def _act(self, salon: Salon, person: Person, message: Message, intent: str, slot: datetime | None) -> None:
        """Do what the reply says: the salon's bot books what was agreed, a refusal is remembered."""
        key, reduced = message.message_id, discount(message.text)
        if intent in {"confirm", "choose_slot"} and salon.upcoming(person.client_id, self._town.now) is None:
            record: Record | None = None
            if slot is None:
                record = self._town.book_somewhere(salon, person, online=True, discount=reduced)
            elif staff_id := self._hands(salon, person, message, slot):
                record = self._town.book(
                    salon, person, staff_id, slot, online=True, comment="WhatsApp", discount=reduced
                )
            message.record_id = record.record_id if record else None
        elif intent == "opt_out":
            person.stopped = True
        elif intent in {"other_time", "other_service", "other_staff", "question"} and self._town.dice.chance(
            0.4, "agrees", key
        ):
            self._later(self._second(3_600, 90_000, "agrees when", key), self._book_quietly, salon, person, message)

    def _hands(self, salon: Salon, person: Person, message: Message, offer: datetime) -> int | None:
        """Who can take this client at the offered time: the one named in the message, her favourite, anyone."""
        able = salon.offering(frozenset({person.tastes.service_id}))
        able.sort(key=lambda m: (not mentions(message.text, m.name), m.staff_id != person.tastes.staff_id))
        for member in able:
            if salon.is_free(member, offer, salon.length(member, [person.tastes.service_id]), self._town.now):
                return member.staff_id
        return None

    def _say(
        self,
        salon: Salon,
        person: Person,
        message: Message,
        intent: str,
        slot: datetime | None,
        offers: tuple[datetime, ...],
    ) -> str:
        dice, key, language = self._town.dice, message.message_id, "en" if salon.language == "en" else "ru"
        until = salon.local(self._town.now).date() + timedelta(days=7 + dice.number("until", key) % 14)
        booked = salon.upcoming(person.client_id, self._town.now)
        about = slot or (booked.local if booked else salon.local(self._town.now))
        place = min(offers.index(slot), 4) if slot in offers and slot else 0
        service_id = person.tastes.extra_service_id or dice.pick(list(salon.services), "another service", key)
        until_text = (
            f"{until.day} {MONTHS[language][until.month - 1]}" if dice.chance(0.5, "month", key) else str(until.day)
        )
        return dice.pick(phrases(language)[intent], "words", key, intent).format(
            time=f"{about:%H:%M}",
            day=WEEKDAYS[language][about.weekday()],
            date=f"{about.day} {MONTHS[language][about.month - 1]}",
            nth=ORDINALS[language][place],
            until=until_text,
            staff=dice.pick([m.name for m in salon.staff.values()], "another master", key),
            service=salon.services[service_id].title.lower(),
        )

    def _receive(self, salon: Salon, person: Person, text: str, message: Message | None) -> None:
        """A client's words arrive at the salon's number."""
        chat = person.chat or ""
        session = message.session if message else salon.session
        number = self._inbound[chat] = self._inbound.get(chat, 0) + 1
        identity = self._town.dice.number("inbound", salon.company_id, chat, number)
        quotes = message is not None and self._town.dice.chance(0.3, "quotes", identity)
        self.heard_at[session, chat] = self._town.now
        quoted = message if quotes else None
        channel = message.channel if message else "waha"
        if channel == "cloud":
            event, payload = "message", self._cloud_words(chat, text, identity, quoted)
        else:
            event, payload = "message", self._waha_words(salon, chat, text, identity, quoted)
        if message:
            message.replies.append(text)
        self._town.note("wrote", salon, person.client_id, text)
        self._emit(event, session, payload, channel)

    def _waha_words(
        self, salon: Salon, chat: str, text: str, identity: int, quoted: Message | None
    ) -> dict[str, object]:
        return {
            "id": f"false_{chat}@c.us_3A{identity:016X}",
            "timestamp": int(self._town.now.timestamp()),
            "from": f"{chat}@c.us",
            "fromMe": False,
            "source": "app",
            "to": f"{salon.phone[1:]}@c.us",
            "body": text,
            "hasMedia": False,
            "media": None,
            "replyTo": {"id": quoted.message_id, "body": quoted.text} if quoted else None,
        }

    def _cloud_words(self, chat: str, text: str, identity: int, quoted: Message | None) -> dict[str, object]:
        words: dict[str, object] = {
            "id": f"wamid.3A{identity:016X}",
            "from": chat,
            "timestamp": str(int(self._town.now.timestamp())),
            "type": "text",
            "text": {"body": text},
        }
        return words | ({"context": {"id": quoted.message_id}} if quoted else {})


def _chats(salon: Salon) -> dict[str, tuple[Person | None, bool]]:
    """Who in a salon has a chat, and whether the phone is on the messenger; the salon's own phones are nobody's chat."""

    def make() -> list[dict[str, tuple[Person | None, bool]]]:
        found: dict[str, tuple[Person | None, bool]] = {}
        for _, person in sorted(salon.people.items()):
            if person.chat is not None:
                first, there = found.get(person.chat, (person, False))
                found[person.chat] = (first, there or person.on_whatsapp)
        for phone in (salon.phone, *(member.phone for member in salon.staff.values())):
            first, _ = found.get(phone[1:], (None, True))
            found[phone[1:]] = (first, True)
        return [found]

    chats: dict[str, tuple[Person | None, bool]] = salon.listing("chats", make)[0]
    return chats
