"""Detection against a second, naive computation: plain loops over rows, no frames, written from the rules in words."""

import math
import random
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reactivation_core.contracts import INACTIVE_CLIENTS, validate
from reactivation_core.inactivity import InactivityInputs, Reason, detect_inactive
from tests.core.books import Row, book, real_rows, utc

WEEK = timedelta(days=7)


def naive(inputs: InactivityInputs, as_of: datetime) -> list[Row]:
    tables = {name: getattr(inputs, name).to_dicts() for name in InactivityInputs.__dataclass_fields__}
    rows: list[Row] = []
    for company in sorted(tables["companies"], key=lambda c: c["company_id"]):
        mine = {
            name: [row for row in table if row["company_id"] == company["company_id"]] for name, table in tables.items()
        }
        rows += one_company(company, mine, as_of)
    return rows


def one_company(company: Row, mine: dict[str, list[Row]], as_of: datetime) -> list[Row]:  # noqa: C901 - one page of rules
    zone = ZoneInfo(company["timezone"])

    def day_of(instant: datetime) -> date:
        return instant.astimezone(zone).date()

    today = day_of(as_of)
    clients = {row["client_id"]: row for row in mine["clients"]}
    services = {row["service_id"]: row for row in mine["services"]}
    known = [r for r in mine["records"] if r["created_at"] <= as_of and not r["deleted"] and r["client_id"] is not None]
    known = [r for r in known if not clients.get(r["client_id"], {"deleted": False})["deleted"]]
    visited = [r for r in known if r["starts_at"] <= as_of and r["status"] == "attended"]
    future = [r for r in known if r["starts_at"] > as_of and r["status"] != "cancelled"]
    lines = defaultdict(list)
    for record in visited:
        lines[record["client_id"]].append(record)

    due: list[Row] = []
    for client_id, own in lines.items():
        days = sorted({day_of(r["starts_at"]) for r in own})
        options = []
        for rule in mine["rules"]:
            with_service = sorted({day_of(r["starts_at"]) for r in own if r["service_id"] == rule["service_id"]})
            if not rule["active"] or not with_service:
                continue
            gaps = [(b - a).days for a, b in pairwise(with_service)][-5:]
            interval, rhythm = rule["interval_days"], None
            due_after = interval
            if len(gaps) >= 2:
                rhythm = (len(gaps) * median(gaps) + 3 * interval) / (len(gaps) + 3)
                due_after = max(interval, math.ceil(company["personal_factor"] * rhythm - 1e-9))
            since = (today - with_service[-1]).days
            if since > due_after:
                service = services.get(rule["service_id"])
                price = service["list_price_minor"] if service else 0
                options.append((-len(with_service), -since / due_after, -price, rule["service_id"], {
                    "service_id": rule["service_id"], "last_visit": with_service[-1], "days_since": since, "due_after": due_after,
                    "interval_days": interval, "rhythm_days": rhythm, "gaps": len(gaps), "service_visits": len(with_service),
                    "rule": rule,
                }))  # fmt: skip
        if options:
            chosen = min(options, key=lambda option: option[:4])[4]
            spent = sum(r["price_minor"] or 0 for r in own)
            upcoming = min((r["starts_at"] for r in future if r["client_id"] == client_id), default=None)
            due.append({
                "company_id": company["company_id"], "client_id": client_id, **chosen, "visits": len(days), "spent_minor": spent,
                "days_since_any": (today - days[-1]).days, "upcoming_at": upcoming, "last_day": days[-1],
                "loyalty": loyalty(len(days), spent),
            })  # fmt: skip

    def phone(row: Row) -> str | None:
        return clients.get(row["client_id"], {"phone": None})["phone"]

    for row in due:
        client = clients.get(row["client_id"], {"consent": None, "mailing_refused": False, "blacklisted": False})
        row["segment"] = "vip" if row["loyalty"] >= 4 else "new" if row["visits"] == 1 else "regular"
        sharing = [other for other in due if phone(other) is not None and phone(other) == phone(row)]
        keeps = min(sharing, key=lambda other: (other["days_since_any"], other["client_id"]), default=row)
        last = campaign_state(mine["campaigns"], row["client_id"], as_of)
        came_since = bool(last) and row["last_day"] >= day_of(last["at"])
        consents = (
            client["consent"] if client["consent"] is not None else bool((company["consent_basis"] or "").strip())
        )
        salon_phones = {s["phone"] for s in mine["staff"]} | {company["phone"]}
        reasons = {
            "opted_out": any(
                s["phone"] == phone(row) and s["at"] <= as_of and not (s["lifted_at"] and s["lifted_at"] <= as_of)
                for s in mine["suppressions"]
            ),
            "paused": any(p["client_id"] == row["client_id"] and p["at"] <= as_of < p["until"] for p in mine["pauses"]),
            "no_consent": not consents,
            "mailing_refused": client["mailing_refused"],
            "blacklisted": client["blacklisted"],
            "invalid_phone": phone(row) is None,
            "duplicate_phone": keeps is not row,
            "staff_phone": phone(row) is not None and phone(row) in salon_phones,
            "upcoming_record": row["upcoming_at"] is not None,
            "visited_recently": row["days_since_any"] < company["min_days_since_visit"],
            "gone_too_long": row["days_since_any"] > company["max_days_inactive"],
            "contacted_recently": bool(last) and last["sent"] is not None and last["sent"] > as_of - WEEK,
            "waiting_for_reply": bool(last) and last["waiting"],
            "retry_not_due": bool(last) and last["next"] is not None and last["next"] > as_of and not came_since,
            "attempts_exhausted": bool(last)
            and not came_since
            and (
                last["completed"] == "max_attempts"
                or (
                    last["completed"] is None and last["attempt"] >= row["rule"]["max_attempts"] and not last["waiting"]
                )
            ),
            "replied_open_dialog": bool(last) and last["open"] is not None and last["open"] > as_of,
            "company_disabled": not company["enabled"],
            "rule_without_service": row["service_id"] not in services or not services[row["service_id"]]["active"],
        }
        row["reason"] = next((name for name, applies in reasons.items() if applies), "")
        row["decision"] = "excluded" if row["reason"] else "eligible"

    def at_most(row: Row, value: Any) -> int:
        return sum(value(other) <= value(row) for other in due)

    for row in due:
        row["score"] = (
            8 * row["loyalty"] * len(due)
            + 30 * at_most(row, lambda r: r["spent_minor"])
            + 20 * at_most(row, lambda r: r["visits"])
            + 10 * at_most(row, lambda r: r["days_since"] / r["due_after"])
        )
        row["priority"] = row["score"] / (100 * len(due))
    order = ("vip", "regular", "new")
    due.sort(key=lambda r: (order.index(r["segment"]), -r["score"], r["client_id"]))
    return [{name: row[name] for name in INACTIVE_CLIENTS.columns} for row in due]


def loyalty(visits: int, spent: int) -> int:
    if visits >= 20 and spent >= 5_000_000:
        return 5
    if visits >= 10 and spent >= 2_000_000:
        return 4
    if visits >= 5 and spent >= 800_000:
        return 3
    return 2 if visits >= 2 else 1


def campaign_state(campaigns: list[Row], client_id: int, as_of: datetime) -> Row:
    mine = [c for c in campaigns if c["client_id"] == client_id and c["planned_at"] <= as_of]
    if not mine:
        return {}

    def known(instant: datetime | None) -> datetime | None:
        return instant if instant is not None and instant <= as_of else None

    last = max(mine, key=lambda c: (c["episode_no"], c["attempt_number"]))
    sent = known(last["sent_at"])
    at = last["send_after"] if last["held_out"] else sent or last["send_after"]
    if sent or last["held_out"]:
        waiting = known(last["responded_at"]) is None and at > as_of - WEEK
    else:
        waiting = last["status"] not in {"cancelled", "expired", "failed"}
    completed = last["completion_reason"] if known(last["completed_at"]) else None
    return {
        "at": at, "waiting": waiting and completed is None, "completed": completed, "attempt": last["attempt_number"],
        "next": last["next_attempt_at"],
        "sent": max((s for c in mine if not c["held_out"] and (s := known(c["sent_at"]))), default=None),
        "open": max((c["open_until"] for c in mine if known(c["responded_at"]) and c["open_until"]), default=None),
    }  # fmt: skip


def assert_same(inputs: InactivityInputs, as_of: datetime) -> pl.DataFrame:
    found = validate(INACTIVE_CLIENTS, detect_inactive(inputs, as_of))
    assert found.to_dicts() == naive(inputs, as_of)
    return found


@pytest.mark.parametrize(
    ("day", "due"),
    [
        (date(2018, 5, 1), None),
        (date(2018, 7, 30), 407),
        (date(2018, 8, 15), None),
        (date(2018, 12, 31), None),
        (date(2019, 6, 1), None),
    ],
)
def test_the_real_book_gives_the_same_rows_as_plain_loops(real_book: Path, day: date, due: int | None):
    as_of = datetime(day.year, day.month, day.day, 7, tzinfo=UTC)
    found = assert_same(book(**real_rows(real_book)), as_of)
    assert due is None or found.height == due
    assert found["client_id"].is_unique().all()


# ------------------------------------------------------------------------------------------------ random small books

ZONES = ("Europe/Moscow", "America/New_York", "Pacific/Auckland", "Asia/Kamchatka", "Europe/Berlin", "Pacific/Apia")
COMPANIES, CLIENTS, SERVICES = (1, 2, 900), range(1, 12), (1, 2, 3, 4)
PHONES = (None, *(f"+7900000{number:04d}" for number in range(25)), "+14165550100")
START = utc(2023, 9, 1)
DAYS = 500
UNSENT = ("planned", "claimed", "unknown", "failed", "expired", "cancelled")
ENDED = ("converted", "max_attempts", "max_attempts", "declined")
instants = st.integers(150 * 48, DAYS * 48).map(lambda half_hours: START + timedelta(minutes=30 * half_hours))


def random_book(seed: int) -> InactivityInputs:
    """A crowded little world in which every rule and every reason comes up."""
    dice = random.Random(seed)

    def rarely(share: float = 0.04) -> bool:
        return dice.random() < share

    def instant() -> datetime:
        return START + timedelta(minutes=30 * dice.randrange(DAYS * 48))

    def days(most: int) -> timedelta:
        return timedelta(hours=dice.randrange(most * 24))

    def record() -> Row:
        starts_at = instant()
        return {
            "company_id": dice.choice(COMPANIES), "client_id": None if rarely() else dice.choice(CLIENTS), "starts_at": starts_at,
            "service_id": dice.choice((None, *SERVICES, 1, 1, 2)), "price_minor": dice.choice((None, dice.randrange(900_000))),
            "status": dice.choice(("attended",) * 9 + ("cancelled", "booked", "no_show")), "deleted": rarely(),
            "created_at": starts_at - days(40) + days(3),
        }  # fmt: skip

    def campaign(company_id: int, client_id: int, episode_no: int, attempt_number: int) -> Row:
        planned_at, held_out, ended = instant(), rarely(0.15), rarely(0.3)
        sent, replied = not held_out and rarely(0.7), rarely(0.2)
        return {
            "company_id": company_id, "client_id": client_id, "episode_no": episode_no, "attempt_number": attempt_number,
            "held_out": held_out, "status": "held_out" if held_out else "read" if sent else dice.choice(UNSENT),
            "planned_at": planned_at, "send_after": planned_at + days(1), "sent_at": planned_at + days(2) if sent else None,
            "responded_at": planned_at + days(9) if replied else None, "open_until": planned_at + days(60) if replied else None,
            "next_attempt_at": planned_at + days(100) if rarely(0.5) else None,
            "completed_at": planned_at + days(30) if ended else None, "completion_reason": dice.choice(ENDED) if ended else None,
        }  # fmt: skip

    def pause() -> Row:
        at = instant()
        return {
            "company_id": dice.choice(COMPANIES),
            "client_id": dice.choice(CLIENTS),
            "at": at,
            "until": at + days(200),
        }

    return book(
        companies=[
            {"company_id": company, "timezone": dice.choice(ZONES), "enabled": not rarely(0.2), "phone": dice.choice(PHONES),
             "consent_basis": dice.choice(("agreement", "agreement", "agreement", " ", None)), "max_days_inactive": dice.choice((100, 365)),
             "personal_factor": dice.choice((0.0, 1.0, 1.5, 2.25)), "min_days_since_visit": dice.choice((0, 14))}
            for company in COMPANIES if not rarely()
        ],
        services=[
            {"company_id": company, "service_id": service, "list_price_minor": dice.choice((0, 0, 5000)), "active": not rarely(0.1)}
            for company in COMPANIES for service in SERVICES if not rarely()
        ],
        staff=[{"company_id": company, "staff_id": number, "phone": dice.choice(PHONES)} for company in COMPANIES for number in (1, 2)],
        clients=[
            {"company_id": company, "client_id": client, "phone": dice.choice(PHONES), "mailing_refused": rarely(), "blacklisted": rarely(),
             "deleted": rarely(), "consent": dice.choice((None, None, True, True, False))}
            for company in COMPANIES for client in CLIENTS if not rarely()
        ],
        records=[record() for _ in range(dice.choice((20, 150, 400)))],
        rules=[
            {"company_id": company, "service_id": service, "interval_days": dice.randrange(1, 50), "active": not rarely(0.15)}
            for company in COMPANIES for service in SERVICES if not rarely()
        ],
        campaigns=[
            campaign(company, client, episode, attempt)
            for company in COMPANIES for client in CLIENTS if rarely(0.5)
            for episode in (1, 2) for attempt in range(1, dice.randrange(1, 5))
        ],
        suppressions=[
            {"company_id": dice.choice(COMPANIES), "phone": dice.choice(PHONES[1:]), "at": instant(),
             "lifted_at": dice.choice((None, instant()))}
            for _ in range(3)
        ],
        pauses=[pause() for _ in range(3)],
    )  # fmt: skip


small_books = st.integers(0, 2**32).map(random_book)


def test_the_random_books_bring_up_every_reason():
    found = [
        row["reason"] for seed in range(60) for row in naive(random_book(seed), START + timedelta(days=200 + 5 * seed))
    ]
    assert {*found} == {"", *Reason}


@settings(max_examples=120, deadline=None)
@given(inputs=small_books, as_of=instants)
def test_random_books_of_several_companies_and_zones_give_the_same_rows_as_plain_loops(
    inputs: InactivityInputs, as_of: datetime
):
    assert_same(inputs, as_of)


@settings(max_examples=30, deadline=None)
@given(inputs=small_books, as_of=instants, far=st.integers(2**40, 2**61))
def test_client_ids_too_wide_for_packing_change_nothing_but_the_ids(
    inputs: InactivityInputs, as_of: datetime, far: int
):
    def moved(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(
            pl.when(pl.col("client_id") > 3).then(pl.col("client_id") + far).otherwise("client_id").alias("client_id")
        )

    changed = {name: moved(getattr(inputs, name)) for name in ("clients", "records", "campaigns", "pauses")}
    wide = InactivityInputs(
        **{**{name: getattr(inputs, name) for name in InactivityInputs.__dataclass_fields__}, **changed}
    )
    assert detect_inactive(wide, as_of).equals(moved(detect_inactive(inputs, as_of)))


@settings(max_examples=20, deadline=None)
@given(inputs=small_books, as_of=instants, seed=st.integers(0, 99))
def test_the_order_of_the_input_rows_never_shows(inputs: InactivityInputs, as_of: datetime, seed: int):
    shuffled = {
        name: getattr(inputs, name).sample(fraction=1, shuffle=True, seed=seed).lazy()
        for name in InactivityInputs.__dataclass_fields__
    }
    assert detect_inactive(InactivityInputs(**shuffled), as_of).equals(detect_inactive(inputs, as_of))
