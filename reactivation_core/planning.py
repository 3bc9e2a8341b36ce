"""The campaign plan: who is written to today, when, as which attempt, with which discount; and who waits, and why.

What to add here: rules of planning. What to keep out: health of a number (account_health), times (send_times), detection (inactivity).

The plan loops over companies and over the few sends that fit (send_times); clients that do not fit are settled by whole columns.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import polars as pl

from reactivation_core.account_health import (
    AccountHealth,
    Limits,
    cold_lane_open,
    cold_lane_quota,
    effective_limits,
    refusal,
)
from reactivation_core.local_time import INSTANT, parse_zone, require_aware
from reactivation_core.send_times import LANES, CompanyPlan, plan_company, stable_number
from reactivation_core.sending_window import SendingWindow

REPLY_WINDOW_DAYS = 7
CAMPAIGN_NAMESPACE = uuid5(NAMESPACE_URL, "client-reactivation/campaign")
SEGMENTS = ("vip", "regular", "new")

_KEYS = ["company_id", "client_id"]
_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "company_id": pl.Int64, "client_id": pl.Int64, "service_id": pl.Int64, "decision": pl.String, "reason": pl.String,
    "campaign_id": pl.String, "episode_no": pl.Int32, "attempt_number": pl.Int16, "discount_percent": pl.Int16, "lane": pl.String,
    "send_after": INSTANT, "segment": pl.String, "priority": pl.Float64, "days_since": pl.Int32,
}  # fmt: skip


def campaign_id(company_id: int, client_id: int, episode_no: int, attempt_number: int) -> str:
    """The campaign's UUID: the same attempt always has the same one, so that planning twice cannot make two."""
    return str(uuid5(CAMPAIGN_NAMESPACE, f"{company_id}/{client_id}/{episode_no}/{attempt_number}"))


def is_held_out(salt: str, company_id: int, client_id: int, episode_no: int, percent: int) -> bool:
    """Whether the episode is deliberately not messaged: a stable hash of the four below `percent` of a hundred."""
    return stable_number(f"{salt}/{company_id}/{client_id}/{episode_no}") % 100 < percent


def next_attempt_at(sent_at: datetime, retry_interval_days: int) -> datetime:
    """The earliest instant of the attempt after one sent at `sent_at`: the reply window has passed, and the rule's own wait."""
    return require_aware(sent_at, "sent_at") + timedelta(days=max(REPLY_WINDOW_DAYS, retry_interval_days))


def next_attempt(clients: pl.DataFrame, campaigns: pl.DataFrame) -> pl.DataFrame:
    """`clients` with episode_no (Int32), attempt_number (Int16) and held_out (Boolean) of the campaign that comes next.

    A client without campaigns, or whose latest episode is completed, starts a new episode with attempt 1; otherwise the latest
    episode goes on. `held_out` belongs to the episode: null for a new one, still to be drawn. Row order is kept.
    """
    latest = (
        campaigns.lazy()
        .select(*_KEYS, "episode_no", "attempt_number", "held_out", "completion_reason")
        .join(clients.lazy().select(_KEYS), on=_KEYS, how="semi")
        .filter(pl.col("episode_no") == pl.col("episode_no").max().over(_KEYS))
        .group_by(_KEYS)
        .agg(
            pl.col("episode_no").first().alias("_episode"),
            pl.col("attempt_number").max().alias("_attempt"),
            pl.col("held_out").any().alias("_held_out"),
            pl.col("completion_reason").is_not_null().any().alias("_completed"),
        )
    )
    goes_on = ~pl.col("_completed").fill_null(value=True)
    new = (~goes_on).cast(pl.Int32)
    return (
        clients.lazy()
        .join(latest, on=_KEYS, how="left", maintain_order="left")
        .with_columns(
            (pl.col("_episode").fill_null(0) + new).cast(pl.Int32).alias("episode_no"),
            pl.when(goes_on).then(pl.col("_attempt") + 1).otherwise(1).cast(pl.Int16).alias("attempt_number"),
            pl.when(goes_on).then(pl.col("_held_out")).alias("held_out"),
        )
        .drop("_episode", "_attempt", "_held_out", "_completed")
        .collect()
    )


def discounts(clients: pl.DataFrame, rules: pl.DataFrame) -> pl.DataFrame:
    """`clients` (service_id, attempt_number) with discount_percent (Int16): the rule's for attempt n, or its last; 0 when it has none."""
    progression = rules.lazy().select("company_id", "service_id", pl.col("discount_progression").alias("_progression"))
    steps = pl.col("_progression").list
    nth = pl.min_horizontal(pl.col("attempt_number").cast(pl.Int64), steps.len().cast(pl.Int64)) - 1
    return (
        clients.lazy()
        .join(progression, on=["company_id", "service_id"], how="left", maintain_order="left")
        .with_columns(
            pl.when(steps.len() > 0)
            .then(steps.get(nth, null_on_oob=True))
            .fill_null(0)
            .cast(pl.Int16)
            .alias("discount_percent")
        )
        .drop("_progression")
        .collect()
    )


def plan_day(
    eligible: pl.DataFrame,
    campaigns: pl.DataFrame,
    contacts: pl.DataFrame,
    rules: pl.DataFrame,
    companies: pl.DataFrame,
    accounts: pl.DataFrame,
    recent: pl.DataFrame,
    *,
    as_of: datetime,
    day: date,
    salt: str,
    platform_daily: int | None = None,
    platform_hourly: int | None = None,
) -> pl.DataFrame:
    """The plan of `day`: one row per eligible client (contract `campaign_plan`), sorted by company, send_after (nulls last), client.

    - `eligible`: the eligible rows of `inactive_clients`.
    - `campaigns`: the log as of `as_of`; `contacts`: clients who have written to the number; `rules`: with discount_progression.
    - `companies`: company_id, timezone, country, holdout_percent, daily_limit_mode, manual_daily_limit, sending_hour_from,
      sending_hour_to, sending_days.
    - `accounts`: the number in use, one row per company: company_id, has_lanes, objection (why the company may not send by it, or "")
      and the fields of `AccountHealth`.
    - `recent`: company_id, at, lane: the numbers' sends of the last 24 h and the sends still planned.

    Deferred rows carry no campaign_id, no discount and one of: daily_limit, hourly_limit, window_closed, cold_lane_full, cold_lane_off,
    no_account, account_stopped, account_paused, no_consent_basis, channel_not_allowed, risk_not_accepted, no_settings,
    invalid_settings. Raises ValueError when a company has two accounts.
    """
    start = require_aware(as_of, "as_of")
    if accounts["company_id"].is_duplicated().any():
        raise ValueError("accounts: more than one row for a company")
    queue = _queue(eligible, campaigns, contacts, rules, accounts)
    episodes = _Episodes.of(queue, salt)
    settings, numbers, sends = _by_company(companies), _by_company(accounts), _sends_by_company(recent)
    placed: list[tuple[int, str, datetime, str]] = []
    reasons: list[tuple[int, str, str]] = []
    for company, lanes in _lanes_by_company(queue):
        setting, number = settings.get(company), numbers.get(company)
        account = (
            None
            if number is None
            else AccountHealth(**{field.name: number[field.name] for field in fields(AccountHealth)})
        )
        objection = "" if number is None else number["objection"]
        reason = "no_settings" if setting is None else objection or refusal(account, start)
        if reason or setting is None or account is None:
            plan = CompanyPlan([], dict.fromkeys(LANES, reason))
        else:
            limits = effective_limits(
                account,
                now=start,
                mode=setting["daily_limit_mode"],
                manual_daily_limit=setting["manual_daily_limit"],
                platform_daily=platform_daily,
                platform_hourly=platform_hourly,
            )
            plan = _plan_with_limits(
                lanes,
                partial(episodes.held_out, company, setting["holdout_percent"]),
                setting,
                limits,
                start=start,
                cold_open=cold_lane_open(account, start),
                recent_sends=sends.get(company, []),
                seed=f"{company}/{day.isoformat()}",
            )
        reasons += [(company, lane, why) for lane, why in plan.deferred.items()]
        placed += [
            (index, "held_out" if aside else "planned", at, episodes.campaign_id(company, index))
            for index, at, aside in plan.placements
        ]
    return _decided(queue, placed, reasons)


def window_of(settings: Mapping[str, Any]) -> SendingWindow:
    """The sending window in a row of `companies`. Raises ValueError for an unknown zone and impossible hours or days."""
    return SendingWindow(
        zone=parse_zone(settings["timezone"]),
        hour_from=settings["sending_hour_from"],
        hour_to=settings["sending_hour_to"],
        days=frozenset(settings["sending_days"]),
        country=settings["country"],
    )


@dataclass(frozen=True, slots=True)
class _Episodes:
    """The queue's episodes by row, for the few rows that get a time."""

    salt: str
    clients: list[int]
    episodes: list[int]
    attempts: list[int]
    drawn: list[bool | None]

    @classmethod
    def of(cls, queue: pl.DataFrame, salt: str) -> "_Episodes":
        columns = ("client_id", "episode_no", "attempt_number", "held_out")
        return cls(salt, *(queue[name].to_list() for name in columns))

    def held_out(self, company: int, percent: int, index: int) -> bool:
        """What was drawn when the episode began, or the draw of a new one."""
        drawn = self.drawn[index]
        return (
            is_held_out(self.salt, company, self.clients[index], self.episodes[index], percent)
            if drawn is None
            else drawn
        )

    def campaign_id(self, company: int, index: int) -> str:
        return campaign_id(company, self.clients[index], self.episodes[index], self.attempts[index])


def _plan_with_limits(
    lanes: Mapping[str, Sequence[int]],
    held_out: Callable[[int], bool],
    setting: Mapping[str, Any],
    limits: Limits,
    *,
    start: datetime,
    cold_open: bool,
    recent_sends: Sequence[tuple[datetime, str]],
    seed: str,
) -> CompanyPlan:
    """`plan_company` inside the company's window, without the cold lane while that is off."""
    try:
        window = window_of(setting)
    except ValueError:
        return CompanyPlan([], dict.fromkeys(LANES, "invalid_settings"))
    plan = plan_company(
        lanes if cold_open else {**lanes, "cold": []},
        held_out,
        start=start,
        window=window,
        limits=limits,
        cold_quota=cold_lane_quota(limits),
        recent_sends=recent_sends,
        seed=seed,
    )
    return plan if cold_open else CompanyPlan(plan.placements, {**plan.deferred, "cold": "cold_lane_off"})


def _queue(
    eligible: pl.DataFrame, campaigns: pl.DataFrame, contacts: pl.DataFrame, rules: pl.DataFrame, accounts: pl.DataFrame
) -> pl.DataFrame:
    """The eligible clients in priority order within each company, with attempt, discount and lane."""
    known = contacts.lazy().select(_KEYS).unique().with_columns(pl.lit(value=True).alias("_known"))
    lanes = accounts.lazy().select("company_id", pl.col("has_lanes").alias("_has_lanes"))
    segment = pl.col("segment").replace_strict(
        SEGMENTS, range(len(SEGMENTS)), default=len(SEGMENTS), return_dtype=pl.Int8
    )
    ordered = (
        eligible.lazy()
        .select(*_KEYS, "service_id", "segment", "priority", "days_since")
        .sort("company_id", segment, pl.col("priority"), "client_id", descending=[False, False, True, False])
        .join(known, on=_KEYS, how="left", maintain_order="left")
        .join(lanes, on="company_id", how="left", maintain_order="left")
        .with_columns(
            pl.when(pl.col("_known").is_null() & pl.col("_has_lanes").fill_null(value=True))
            .then(pl.lit("cold"))
            .otherwise(pl.lit("warm"))
            .alias("lane")
        )
        .drop("_known", "_has_lanes")
        .collect()
    )
    return discounts(next_attempt(ordered, campaigns), rules).with_row_index("index")


def _by_company(frame: pl.DataFrame) -> dict[int, dict[str, Any]]:
    return {row["company_id"]: row for row in frame.iter_rows(named=True)}


def _sends_by_company(recent: pl.DataFrame) -> dict[int, list[tuple[datetime, str]]]:
    sends: dict[int, list[tuple[datetime, str]]] = {}
    for company, at, lane in recent.select("company_id", "at", "lane").sort("company_id", "at", "lane").iter_rows():
        sends.setdefault(company, []).append((at, lane))
    return sends


def _lanes_by_company(queue: pl.DataFrame) -> Iterator[tuple[int, dict[str, list[int]]]]:
    of_lane = (pl.col("index").filter(pl.col("lane") == lane).alias(lane) for lane in LANES)
    for company, *indices in queue.group_by("company_id", maintain_order=True).agg(*of_lane).iter_rows():
        yield company, dict(zip(LANES, indices, strict=True))


def _decided(
    queue: pl.DataFrame, placed: list[tuple[int, str, datetime, str]], reasons: list[tuple[int, str, str]]
) -> pl.DataFrame:
    """The queue with everyone's decision, as the contract's columns."""
    got = pl.DataFrame(
        placed,
        schema={"index": queue.schema["index"], "decision": pl.String, "send_after": INSTANT, "campaign_id": pl.String},
        orient="row",
    )
    why = pl.DataFrame(reasons, schema={"company_id": pl.Int64, "lane": pl.String, "reason": pl.String}, orient="row")
    deferred = pl.col("decision").is_null()
    return (
        queue.lazy()
        .join(got.lazy(), on="index", how="left")
        .join(why.lazy(), on=["company_id", "lane"], how="left")
        .with_columns(
            pl.when(deferred).then(pl.col("reason")).otherwise(pl.lit("")).alias("reason"),
            pl.when(deferred).then(0).otherwise(pl.col("discount_percent")).alias("discount_percent"),
            pl.col("decision").fill_null("deferred"),
        )
        .select(pl.col(name).cast(kind) for name, kind in _SCHEMA.items())
        .sort("company_id", "send_after", "client_id", nulls_last=True)
        .collect()
    )
