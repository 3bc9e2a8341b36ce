"""`ranked_slots`: the free times each planned client is offered, best first, with spares."""

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
    materialize_days,
    no_rows,
)
from reactivation_assets.pictures import bar_chart
from reactivation_assets.resources import PlatformParam
from reactivation_core.local_time import local_date
from reactivation_core.slots import rank_slots
from reactivation_resources.platform import Platform
from reactivation_resources.yclients import SlotQuestion

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

    The CRM is asked for today only, once per company, service, staff member and day; any other day reads back what was offered.
    """
    failed: dict[int, str] = {}

    def compute(day: date) -> pl.DataFrame:
        if platform.calendar.is_live(day):
            failed.update(_offer(platform, day))
        return platform.campaign_log.slots(day)

    answered = Check(
        CRM_ANSWERED,
        "",
        lambda *_: Finding(
            passed=not failed, numbers={str(company): reason for company, reason in list(failed.items())[:20]}
        ),
        blocking=False,
    )
    return materialize_days(
        context, platform.lake, compute, describe=_describe, picture=_picture, checks=[*CHECKS, answered]
    )


def _offer(platform: Platform, day: date) -> dict[int, str]:
    """Look up and store slots for planned campaigns that have none yet. Returns the companies the CRM did not answer for."""
    log, mirror, as_of = platform.campaign_log, platform.mirror, platform.calendar.as_of(day)
    waiting = set(log.without_slots(day))
    companies = mirror.snapshot("companies").filter(pl.col("include_slots_in_message")).collect()
    served = [
        company
        for company, source in companies.select("company_id", "crm_source").iter_rows()
        if platform.crm.serves(source)
    ]
    planned = log.plan(day).filter(pl.col("campaign_id").is_in(waiting), pl.col("company_id").is_in(served))
    if planned.is_empty():
        return {}
    answer = platform.crm.open_slots(_questions(platform, planned, companies, day))
    wanted = planned.filter(~pl.col("company_id").is_in(list(answer.failed)))
    ranked = rank_slots(
        wanted.sort("company_id", "send_after", "client_id").with_row_index("priority_rank"),
        profiles=platform.lake.scan("preference_profiles", day).collect(),
        open_slots=answer.slots,
        companies=companies,
        services=mirror.snapshot("services").collect(),
        as_of=as_of,
        days_ahead=DAYS_AHEAD,
    )
    offers: dict[str, list[dict[str, Any]]] = {campaign: [] for campaign in wanted["campaign_id"]}
    keyed = ranked.join(wanted.select("company_id", "client_id", "campaign_id"), on=["company_id", "client_id"])
    for row in keyed.sort("campaign_id", "rank").iter_rows(named=True):
        offers[row["campaign_id"]].append(
            {key: row[key] for key in ("rank", "spare", "staff_id", "length_s", "score", "match_reason")}
            | {"starts_at": row["starts_at"].isoformat(), "local_day": row["local_day"].isoformat()}
        )
    log.write_slots(offers, platform.calendar.now())
    return answer.failed


def _questions(platform: Platform, planned: pl.DataFrame, companies: pl.DataFrame, day: date) -> list[SlotQuestion]:
    """One question per company, service, staff member who does it, and local day of the coming week."""
    staff = platform.mirror.snapshot("staff").filter(pl.col("active")).collect()
    wanted = planned.select("company_id", "service_id").unique()
    able = wanted.join(staff, on="company_id").filter(
        pl.col("service_ids").is_null() | pl.col("service_ids").list.contains(pl.col("service_id"))
    )
    zones = dict(companies.select("company_id", "timezone").iter_rows())
    as_of = platform.calendar.as_of(day)
    return [
        SlotQuestion(
            company, service, member, local_date(as_of, zones[company]) + timedelta(days=ahead), zones[company]
        )
        for company, service, member in able.select("company_id", "service_id", "staff_id")
        .sort("company_id", "service_id", "staff_id")
        .iter_rows()
        for ahead in range(1, DAYS_AHEAD + 1)
    ]


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
