"""What the salon's chat bot ("AI Admin") must know to understand a reply: its dialog context in Redis.

Here: the keys, fields and lifetimes that the unmodified bot reads, and when they may be touched. Keep out: what to write (that comes
from the campaign) and the durable copy (PostgreSQL); whatever is lost here can be written again from there. Another bot needs another
writer with the same three verbs.

The bot's traps, as its code stands:
- keys carry the platform: `dialog:{company}:whatsapp:{phone}`, with the CRM's plain company id and digits without a plus;
- `selection` and `pendingAction` are parsed without a guard: anything but valid JSON loses the whole context;
- `pendingAction` of type "cancellation" breaks it, and so does a hash field `proposedSlots` (a string where it expects a list), so
  several slots go into the JSON of `data`;
- a bare "да" books `selection.date` and `selection.time`, so they are written only when exactly one slot was offered;
- the assembled context is cached in `full_ctx:...` and must be deleted with every change.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from reactivation_core.phones import mask_phone

Outcome = Literal["written", "skipped_live_dialog", "skipped_reminder"]

# redis-py types its commands for both its synchronous and its asynchronous client; the pipeline is used as it is.
_Pipe = Any
_Change = Callable[[Mapping[str, str], _Pipe], Outcome]

# Replies come within a week; a day more covers zones and weekends. Any write of the bot cuts the dialog back to its own 24 hours.
LIFETIME = timedelta(days=8)
# An unfinished booking of the last day is a live dialog: the bot's own lifetime.
_LIVE_FOR = timedelta(hours=24)
_HISTORY_LENGTH = 50
_OURS = "reactivation_response"
_RACES = 5


class ContextUnavailable(Exception):  # noqa: N818 - a state of the outside world, named as callers speak of it
    """Redis could not be reached or refused; nothing was written. Write again later from the campaign."""


@dataclass(frozen=True, slots=True)
class ContextSlot:
    """An offered slot: its start in the company's zone (aware) and the exact staff name of the CRM."""

    starts_local: datetime
    staff_name: str | None = None


@dataclass(frozen=True, slots=True)
class SentContext:
    """A sent campaign as the bot should remember it; titles and names exactly as the CRM writes them.

    Raises:
        ValueError: If an instant is naive.
    """

    company_id: int
    phone: str
    campaign_id: str
    client_name: str
    service_id: int
    service_title: str
    staff_name: str | None
    slots: tuple[ContextSlot, ...]
    text: str
    sent_at: datetime
    days_inactive: int
    last_visit: date

    def __post_init__(self) -> None:
        """Refuse naive instants."""
        if any(instant.tzinfo is None for instant in (self.sent_at, *(slot.starts_local for slot in self.slots))):
            raise ValueError("sent_at and the slots' starts_local must be aware")


def bot_phone(phone: str) -> str:
    """Return the digits under which the bot keeps a phone.

    Ten digits that start with 9 get a 7 in front; eleven that start with 8 get a 7 for the 8, whatever their country (the bot
    does so too).
    """
    digits = re.sub(r"\D", "", phone.removesuffix("@c.us"))
    if len(digits) == 10 and digits.startswith("9"):
        return f"7{digits}"
    if len(digits) == 11 and digits.startswith("8"):
        return f"7{digits[1:]}"
    return digits


class DialogContextWriter:
    """Writes, updates and clears the bot's context of one client at a time, each in one transaction.

    Every method retries a lost connection once and then raises `ContextUnavailable`.
    """

    def __init__(self, url: str) -> None:
        """Take a URL such as `redis://:password@host:6379/0`; nothing is connected before the first call."""
        self._redis = redis.Redis.from_url(
            url, decode_responses=True, socket_timeout=2, socket_connect_timeout=2, retry=Retry(NoBackoff(), 0)
        )

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def write_after_send(self, context: SentContext) -> Outcome:
        """Write a sent campaign; writing the same one again changes nothing.

        Skipped when the client has a dialog newer than the send or an unfinished booking of the last day, and when a reminder
        awaits a confirmation ("да" would answer that).
        """
        keys = _Keys.of(context.company_id, context.phone)

        def change(dialog: Mapping[str, str], pipe: _Pipe) -> Outcome:
            if _is_live(dialog, context.sent_at):
                return "skipped_live_dialog"
            pipe.multi()
            pipe.hset(keys.dialog, mapping=_dialog_fields(context, keys.phone))
            pipe.expire(keys.dialog, LIFETIME)
            entry = _json(
                {"sender": "bot", "text": context.text, "timestamp": _instant(context.sent_at), "type": "reactivation"}
            )
            pipe.lrem(keys.messages, 0, entry)
            pipe.lpush(keys.messages, entry)
            pipe.ltrim(keys.messages, 0, _HISTORY_LENGTH - 1)
            pipe.expire(keys.messages, LIFETIME)
            pipe.delete(keys.full_context)
            return "written"

        return self._transact(keys, change)

    def select(
        self,
        company_id: int,
        phone: str,
        *,
        at: datetime,
        service: str | None = None,
        staff: str | None = None,
        starts_local: datetime | None = None,
    ) -> Outcome:
        """Merge what a reply chose into the selection; what is None stays as it was.

        Args:
            company_id: The CRM's id of the company.
            phone: The client's phone.
            at: When the reply came (aware). Skipped when the bot changed the dialog after that.
            service: Exact title; a new service drops the date and time that were selected for the old one.
            staff: Exact name; a new person drops them too.
            starts_local: The chosen slot (aware, company's zone).
        """
        if at.tzinfo is None or (starts_local is not None and starts_local.tzinfo is None):
            raise ValueError("at and starts_local must be aware")
        keys = _Keys.of(company_id, phone)

        def change(dialog: Mapping[str, str], pipe: _Pipe) -> Outcome:
            if _changed_after(dialog, at) and not _is_ours(dialog):
                return "skipped_live_dialog"
            selection = _parsed(dialog, "selection")
            if any(new and new != selection.get(key) for key, new in (("service", service), ("staff", staff))):
                selection = {key: value for key, value in selection.items() if key not in {"date", "time"}}
            selection |= _known(service=service, staff=staff)
            if starts_local:
                selection |= _day_and_time(starts_local)
            fields = {
                "phone": keys.phone,
                "companyId": str(company_id),
                "lastUpdated": _instant(at),
                "state": "active",
                "selection": _json(selection),
            }
            pending = _parsed(dialog, "pendingAction")
            if pending.get("type") == _OURS:
                fields["pendingAction"] = _json(pending | {"writtenAt": _instant(at)})
            if starts_local or service or staff:
                fields["data"] = _json(
                    {"last" + key.capitalize(): value for key, value in selection.items() if key != "lastCommand"}
                )
            pipe.multi()
            pipe.hset(keys.dialog, mapping=fields)
            pipe.expire(keys.dialog, LIFETIME)
            pipe.delete(keys.full_context)
            return "written"

        return self._transact(keys, change)

    def clear(self, company_id: int, phone: str, *, opted_out: bool = False) -> None:
        """Take our part out of the dialog: the campaign is over. A dialog that is not ours stays.

        With `opted_out` the dialog is also marked `reactivationStatus = opted_out`, for a bot that wants to know.
        """
        keys = _Keys.of(company_id, phone)

        def change(dialog: Mapping[str, str], pipe: _Pipe) -> Outcome:
            pipe.multi()
            if _parsed(dialog, "pendingAction").get("type") == _OURS:
                pipe.hdel(keys.dialog, "selection", "pendingAction", "data")
                pipe.hset(keys.dialog, "state", "completed")
            if opted_out:
                owner = {"phone": keys.phone, "companyId": str(company_id), "reactivationStatus": "opted_out"}
                pipe.hset(keys.dialog, mapping=owner)
                pipe.expire(keys.dialog, LIFETIME)
            pipe.delete(keys.full_context)
            return "written"

        self._transact(keys, change, heed_reminder=False)

    def _transact(self, keys: "_Keys", change: _Change, *, heed_reminder: bool = True) -> Outcome:
        """Run one change under WATCH; a lost connection is tried once more, a dialog that keeps changing counts as live."""
        for attempt in (1, 2):
            try:
                return self._watched(keys, change, heed_reminder)
            except (redis.ConnectionError, redis.TimeoutError) as error:
                if attempt == 2:
                    raise ContextUnavailable(f"dialog context of {mask_phone(keys.phone)} not reachable") from error
            except redis.RedisError as error:
                raise ContextUnavailable(f"dialog context of {mask_phone(keys.phone)} refused: {error}") from error
        raise AssertionError("unreachable")

    def _watched(self, keys: "_Keys", change: _Change, heed_reminder: bool) -> Outcome:
        pipe: _Pipe
        with self._redis.pipeline() as pipe:
            for _ in range(_RACES):
                pipe.watch(keys.dialog, keys.reminder)
                if heed_reminder and _awaits_confirmation(pipe.get(keys.reminder)):
                    return "skipped_reminder"
                outcome = change(dict(pipe.hgetall(keys.dialog)), pipe)
                try:
                    pipe.execute()
                except redis.WatchError:
                    continue
                return outcome
        return "skipped_live_dialog"


@dataclass(frozen=True, slots=True)
class _Keys:
    """The bot's keys of one client."""

    phone: str
    dialog: str
    messages: str
    full_context: str
    reminder: str

    @classmethod
    def of(cls, company_id: int, phone: str) -> "_Keys":
        digits = bot_phone(phone)
        owner = f"{company_id}:whatsapp:{digits}"
        return cls(digits, f"dialog:{owner}", f"messages:{owner}", f"full_ctx:{owner}", f"reminder_context:{digits}")


def _dialog_fields(context: SentContext, phone: str) -> dict[str, str]:
    """Return the hash fields of a sent campaign."""
    only = context.slots[0] if len(context.slots) == 1 else None
    staff = (only.staff_name if only else None) or context.staff_name
    selection = _known(service=context.service_title, staff=staff)
    data: dict[str, Any] = {f"last{key.capitalize()}": value for key, value in selection.items()}
    if only:
        selection |= _day_and_time(only.starts_local)
    elif context.slots:
        data["proposedSlots"] = [
            _day_and_time(slot.starts_local) | _known(staff=slot.staff_name, service=context.service_title)
            for slot in context.slots
        ]
    sent_at = _instant(context.sent_at)
    pending = {
        "type": _OURS,
        "campaign": context.campaign_id,
        "daysInactive": context.days_inactive,
        "lastVisitDate": context.last_visit.isoformat(),
        "suggestedService": {"id": context.service_id, "name": context.service_title},
        "messageSent": context.text,
        "messageSentAt": sent_at,
        "reactivationHistoryId": context.campaign_id,
        "writtenAt": sent_at,
    }
    return {
        "phone": phone,
        "companyId": str(context.company_id),
        "lastUpdated": sent_at,
        "state": "active",
        "clientName": context.client_name.encode("utf-8", "replace").decode(),
        "selection": _json(selection),
        "pendingAction": _json(pending),
        "data": _json(data),
    }


def _is_live(dialog: Mapping[str, str], sent_at: datetime) -> bool:
    """Whether the bot is in the middle of something: newer than the send, or an unfinished booking of the last day."""
    if not dialog or _is_ours(dialog):
        return False
    if _changed_after(dialog, sent_at):
        return True
    unfinished = _parsed(dialog, "selection") or _parsed(dialog, "pendingAction")
    active = dialog.get("state", "active") == "active"
    return bool(unfinished) and active and _changed_after(dialog, sent_at - _LIVE_FOR)


def _is_ours(dialog: Mapping[str, str]) -> bool:
    """Whether the dialog stands as we wrote it: every update of the bot changes `lastUpdated`."""
    pending = _parsed(dialog, "pendingAction")
    return pending.get("type") == _OURS and pending.get("writtenAt") == dialog.get("lastUpdated")


def _changed_after(dialog: Mapping[str, str], instant: datetime) -> bool:
    """Whether the dialog changed after an instant; one whose time cannot be read counts as changed, an absent one does not."""
    if not dialog:
        return False
    try:
        updated = datetime.fromisoformat(dialog.get("lastUpdated", ""))
    except ValueError:
        return True
    return updated.tzinfo is None or updated > instant


def _awaits_confirmation(raw: Any) -> bool:
    """Whether a reminder waits for an answer; one that cannot be read counts as waiting."""
    if raw is None:
        return False
    try:
        reminder = json.loads(raw)
    except ValueError:
        return True
    return not isinstance(reminder, dict) or reminder.get("awaitingConfirmation") is not False


def _parsed(dialog: Mapping[str, str], field: str) -> dict[str, Any]:
    """Return a JSON field as an object; anything else, broken JSON included, counts as empty."""
    try:
        value = json.loads(dialog.get(field, "{}"))
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _known(**values: str | None) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value}


def _day_and_time(local: datetime) -> dict[str, str]:
    return {"date": local.strftime("%Y-%m-%d"), "time": local.strftime("%H:%M")}


def _instant(instant: datetime) -> str:
    """Return an instant as JavaScript writes it: 2026-11-22T10:00:00.000Z."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json(value: Mapping[str, Any]) -> str:
    """Return strict JSON with Cyrillic as it is; a lone surrogate is escaped, since Redis takes UTF-8 only."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return text if text.isprintable() else json.dumps(value, allow_nan=False)
