"""Detection against a second, naive computation: plain loops over rows, no frames, written from the rules in words."""

import math
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reactivation_core.contracts import INACTIVE_CLIENTS, validate
from reactivation_core.inactivity import InactivityInputs, detect_inactive
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


def one_company(company: Row, mine: dict[str, list[Row]], as_of: datetime) -> list[Row]:
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
            gaps = [(b - a).days for a, b in zip(with_service, with_service[1:], strict=False)][-5:]
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
START = utc(2023, 9, 1)
instants = st.integers(0, 500 * 48).map(lambda half_hours: START + timedelta(minutes=30 * half_hours))
companies = st.sampled_from([1, 2, 900])
clients = st.integers(1, 7)
service_ids = st.integers(1, 4)
phones = st.sampled_from([None, "+79000000001", "+79000000002", "+79000000003", "+79000000004", "+14165550100"])
maybe = st.sampled_from([False, False, False, True])
sent_statuses = st.sampled_from(["planned", "accepted", "read", "unknown", "failed", "expired", "cancelled"])


def rows(**columns: st.SearchStrategy[Any]) -> st.SearchStrategy[Row]:
    return st.fixed_dictionaries(columns)


def keyed(row: st.SearchStrategy[Row], *keys: str, most: int) -> st.SearchStrategy[list[Row]]:
    return st.lists(row, max_size=most, unique_by=lambda r: tuple(r[key] for key in keys))


@st.composite
def campaign(draw: st.DrawFn) -> Row:
    planned_at = draw(instants)
    later = [draw(st.none() | st.integers(0, 40).map(lambda days: timedelta(days=days))) for _ in range(5)]
    sent, responded, upcoming, completed, opened = (None if wait is None else planned_at + wait for wait in later)
    held_out = draw(maybe)
    return {
        "company_id": draw(companies), "client_id": draw(clients), "episode_no": draw(st.integers(1, 3)),
        "attempt_number": draw(st.integers(1, 3)), "held_out": held_out, "planned_at": planned_at,
        "status": "held_out" if held_out else draw(sent_statuses), "send_after": planned_at + timedelta(hours=draw(st.integers(0, 30))),
        "sent_at": None if held_out else sent, "responded_at": responded, "next_attempt_at": upcoming, "completed_at": completed,
        "completion_reason": None if completed is None else draw(st.sampled_from(["converted", "max_attempts", "declined"])),
        "open_until": opened,
    }  # fmt: skip


@st.composite
def pause(draw: st.DrawFn) -> Row:
    at = draw(instants)
    return {
        "company_id": draw(companies),
        "client_id": draw(clients),
        "at": at,
        "until": at + timedelta(days=draw(st.integers(1, 200))),
    }


@st.composite
def record(draw: st.DrawFn) -> Row:
    starts_at = draw(instants)
    return {
        "company_id": draw(companies), "client_id": draw(st.none() | clients | clients | clients), "starts_at": starts_at,
        "service_id": draw(st.none() | service_ids | service_ids), "price_minor": draw(st.none() | st.integers(0, 900_000)),
        "status": draw(st.sampled_from(["attended"] * 6 + ["cancelled", "booked", "no_show"])), "deleted": draw(st.integers(0, 15)) == 0,
        "created_at": starts_at - timedelta(days=draw(st.integers(-2, 60))),
    }  # fmt: skip


@st.composite
def small_books(draw: st.DrawFn) -> InactivityInputs:
    settings_of = rows(
        company_id=companies,
        timezone=st.sampled_from(ZONES),
        enabled=st.sampled_from([True, True, False]),
        consent_basis=st.sampled_from(["agreement", "agreement", " ", None]),
        personal_factor=st.sampled_from([0.0, 1.0, 1.5, 2.25]),
        max_days_inactive=st.sampled_from([100, 365]),
        min_days_since_visit=st.sampled_from([0, 14]),
        phone=phones,
    )
    return book(
        companies=draw(keyed(settings_of, "company_id", most=3)),
        services=draw(
            keyed(
                rows(company_id=companies, service_id=service_ids, list_price_minor=st.sampled_from([0, 5000]), active=st.booleans()),
                "company_id",
                "service_id",
                most=10,
            )
        ),
        staff=draw(keyed(rows(company_id=companies, staff_id=service_ids, phone=phones), "company_id", "staff_id", most=3)),
        clients=draw(
            keyed(
                rows(
                    company_id=companies, client_id=clients, phone=phones, mailing_refused=maybe, blacklisted=maybe, deleted=maybe,
                    consent=st.sampled_from([None, None, True, False]),
                ),
                "company_id", "client_id", most=18,
            )
        ),
        records=draw(st.lists(record(), min_size=10, max_size=120)),
        rules=draw(
            keyed(
                rows(company_id=companies, service_id=service_ids, interval_days=st.integers(1, 60), active=st.sampled_from([True, True, False])),
                "company_id",
                "service_id",
                most=12,
            )
        ),
        campaigns=draw(keyed(campaign(), "company_id", "client_id", "episode_no", "attempt_number", most=12)),
        suppressions=draw(
            st.lists(rows(company_id=companies, phone=phones.filter(bool), at=instants, lifted_at=st.none() | instants), max_size=2)
        ),
        pauses=draw(st.lists(pause(), max_size=3)),
    )  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(inputs=small_books(), as_of=instants)
def test_random_books_of_several_companies_and_zones_give_the_same_rows_as_plain_loops(
    inputs: InactivityInputs, as_of: datetime
):
    assert_same(inputs, as_of)


@settings(max_examples=30, deadline=None)
@given(inputs=small_books(), as_of=instants, far=st.integers(2**40, 2**61))
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
@given(inputs=small_books(), as_of=instants, seed=st.integers(0, 99))
def test_the_order_of_the_input_rows_never_shows(inputs: InactivityInputs, as_of: datetime, seed: int):
    shuffled = {
        name: getattr(inputs, name).sample(fraction=1, shuffle=True, seed=seed).lazy()
        for name in InactivityInputs.__dataclass_fields__
    }
    assert detect_inactive(InactivityInputs(**shuffled), as_of).equals(detect_inactive(inputs, as_of))
