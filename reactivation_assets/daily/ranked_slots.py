"""`ranked_slots`: the free times each planned client is offered, best first, with spares."""

from collections.abc import Collection, Iterable
from datetime import date, timedelta
from typing import Any

import dagster as dg
import polars as pl

from reactivation_assets.daily_frames import (
    Check,
    Finding,
    always_holds,
    counts_table,
    daily_asset,
    markdown_table,
    materialize_days,
    no_rows,
)
from reactivation_assets.pictures import bar_chart
from reactivation_assets.resources import PlatformParam
from reactivation_core.slot_demand import SlotDemand
from reactivation_resources.offered_slots import stored
from reactivation_resources.open_slots import DaySlots, find_slots
from reactivation_resources.platform import Platform

DAYS_AHEAD = 7
CHECKS = [
    Check(
        "slot_offered_to_two_clients_at_most",
        "no start time of a staff member is offered to more than two clients of a day",
        lambda _, frame: no_rows(
            frame.filter(~pl.col("spare"))
            .group_by("company_id", "staff_id", "starts_at")
            .len()
            .filter(pl.col("len") > 2),
            "slots offered too often",
        ),
    ),
    Check(
        "slots_in_the_coming_week",
        f"every slot lies between tomorrow and {DAYS_AHEAD} days ahead, give or take a zone",
        lambda day, frame: no_rows(
            frame.filter(~pl.col("local_day").is_between(day, day + timedelta(days=DAYS_AHEAD + 1))),
            "slots out of range",
        ),
    ),
]
CRM_ANSWERED = "crm_answered"


@daily_asset(
    "ranked_slots",
    group="daily",
    deps=["campaign_plan", "preference_profiles"],
    kinds=["polars", "postgres", "yclients"],
    checks=[
        *CHECKS,
        Check(
            CRM_ANSWERED,
            "the CRM answered for every company with planned clients",
            always_holds,
            blocking=False,
        ),
    ],
)
def ranked_slots(context: dg.AssetExecutionContext, platform: PlatformParam) -> dg.MaterializeResult:
    """Open slots of the coming week that fit each planned client's tastes; a company whose CRM is silent gets messages without slots.

    The CRM is asked for today only, and only what could still change somebody's offer; any other day reads back what was offered.
    """
    asked: dict[date, DaySlots] = {}

    def compute(day: date) -> pl.DataFrame:
        if platform.calendar.is_live(day) and (found := _offer(platform, day)) is not None:
            asked[day] = found
        return platform.campaign_log.slots(day)

    answered = Check(CRM_ANSWERED, "", lambda *_: _finding(asked.values()), blocking=False)
    return materialize_days(
        context,
        platform.lake,
        compute,
        describe=_describe,
        picture=_picture,
        checks=[*CHECKS, answered],
        apply=lambda day, _: _describe_calls(asked[day]) if day in asked else {},
    )


def _offer(platform: Platform, day: date) -> DaySlots | None:
    """Look up and store slots for planned campaigns that have none yet; None when there are none. Returns what the CRM said."""
    log, mirror = platform.campaign_log, platform.mirror
    companies = mirror.snapshot("companies").filter("enabled", "include_slots_in_message").collect()
    served = [
        company
        for company, source in companies.select("company_id", "crm_source").iter_rows()
        if platform.crm.serves(source)
    ]
    planned = (
        log.plan(day)
        .filter(pl.col("campaign_id").is_in(log.without_slots(day)), pl.col("company_id").is_in(served))
        .sort("company_id", "send_after", "client_id")
        .with_row_index("priority_rank")
    )
    if planned.is_empty():
        return None
    profiles = platform.lake.scan("preference_profiles", day).collect()
    services = mirror.snapshot("services").collect()
    staff = mirror.snapshot("staff").filter("active").collect()
    able = planned.select("company_id", "service_id").unique().join(staff, on="company_id")
    able = able.filter(pl.col("service_ids").is_null() | pl.col("service_ids").list.contains(pl.col("service_id")))

    def demand_of(some: Collection[int]) -> SlotDemand:
        return SlotDemand(
            planned.filter(pl.col("company_id").is_in(list(some))),
            profiles,
            able,
            services,
            companies,
            as_of=platform.calendar.as_of(day),
            days_ahead=DAYS_AHEAD,
        )

    in_turn = planned.sort("send_after", "company_id")["company_id"].unique(maintain_order=True).to_list()
    budget = platform.settings.yclients_slot_calls
    found = platform.crm.run(lambda crm: find_slots(crm, demand_of, in_turn, budget))
    answered = planned.filter(~pl.col("company_id").is_in(list(found.failed)))
    offers: dict[str, list[dict[str, Any]]] = {campaign: [] for campaign in answered["campaign_id"]}
    ranked = demand_of(set(in_turn) - found.failed.keys()).rank(found.slots)
    keyed = ranked.join(answered.select("company_id", "client_id", "campaign_id"), on=["company_id", "client_id"])
    for row in keyed.sort("campaign_id", "rank").iter_rows(named=True):
        offers[row["campaign_id"]].append(stored(row))
    log.write_slots(offers, platform.calendar.now())
    return found


def _finding(asked: Iterable[DaySlots]) -> Finding:
    """The companies without an answer, and why."""
    failed = {str(company): reason for found in asked for company, reason in found.failed.items()}
    return Finding(passed=not failed, numbers=dict(list(failed.items())[:20]))


def _describe_calls(found: DaySlots) -> dict[str, Any]:
    reasons = pl.DataFrame(
        {"company": list(found.failed), "why": list(found.failed.values())},
        schema={"company": pl.Int64, "why": pl.String},
    )
    return {
        "calls_spent": found.calls,
        "calls_saved": found.saved,
        "rounds": found.rounds,
        "companies_without_slots": reasons.height,
        "why without slots": markdown_table(reasons) if found.failed else "every company answered",
    }


def _describe(frame: pl.DataFrame) -> dict[str, Any]:
    return {
        "offered": int((~frame["spare"]).sum()),
        "spares": int(frame["spare"].sum()),
        "clients": frame.select("company_id", "client_id").n_unique(),
        "why they match": counts_table(frame.filter(~pl.col("spare")), "match_reason"),
    }


def _picture(day: date, frame: pl.DataFrame) -> str:
    by_day = frame.filter(~pl.col("spare")).group_by("local_day").len().sort("local_day")
    return bar_chart(
        [d.strftime("%a %d.%m") for d in by_day["local_day"]],
        by_day["len"].to_list(),
        f"Offered slots by day, planned on {day.isoformat()}",
    )
