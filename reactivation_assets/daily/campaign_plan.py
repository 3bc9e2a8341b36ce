"""`campaign_plan`: who is written to today, when, at which attempt, with which discount; who is held out; who must wait."""

from dataclasses import replace
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
from reactivation_core.planning import plan_day
from reactivation_resources.accounts import account_states, planning_frames
from reactivation_resources.platform import Platform

HORIZON = timedelta(hours=24)

CHECKS = [
    Check(
        "one_campaign_per_client",
        "a client of a company is planned, held out or deferred once",
        lambda _, frame: no_rows(
            frame.filter(pl.struct("company_id", "client_id").is_duplicated()), "clients planned twice"
        ),
    ),
]
ONLY_ELIGIBLE = "only_eligible_clients"
WITHIN_LIMITS = "within_account_limits"
LIVE_CHECKS = [
    Check(ONLY_ELIGIBLE, "nobody who opted out, pauses, has booked or is excluded otherwise is planned", always_holds),
    Check(WITHIN_LIMITS, "no account has more sends planned in a day than its limit allows", always_holds),
]


@daily_asset(
    "campaign_plan",
    group="daily",
    deps=["inactive_clients"],
    kinds=["polars", "postgres"],
    checks=[*CHECKS, *LIVE_CHECKS],
)
def campaign_plan(context: dg.AssetExecutionContext, platform: PlatformParam) -> dg.MaterializeResult:
    """The day's campaigns: send time inside limits and windows, attempt, discount, holdout, lane; deferred clients with their reason.

    Today is planned once per company and then read back; any other day only reads back what was really planned.
    """

    def compute(day: date) -> pl.DataFrame:
        if platform.calendar.is_live(day):
            _plan(platform, day)
        return platform.campaign_log.plan(day)

    def only_eligible(day: date, frame: pl.DataFrame) -> Finding:
        if day != platform.calendar.today():
            return Finding(passed=True)
        eligible = platform.lake.scan("inactive_clients", day).filter(pl.col("decision") == "eligible").collect()
        return no_rows(frame.join(eligible, on=["company_id", "client_id"], how="anti"), "clients not eligible")

    def within_limits(day: date, frame: pl.DataFrame) -> Finding:
        if day != platform.calendar.today():
            return Finding(passed=True)
        views = account_states(platform.database, platform.calendar.as_of(day))
        limits = {company: view.limits(platform.calendar.as_of(day)).daily for company, view in views.items()}
        planned = frame.filter(pl.col("decision") == "planned").group_by("company_id").len()
        over = [company for company, count in planned.iter_rows() if count > limits.get(company, 0)]
        return Finding(passed=not over, numbers={"accounts over their limit": len(over)})

    live = [
        replace(check, holds=holds) for check, holds in zip(LIVE_CHECKS, (only_eligible, within_limits), strict=True)
    ]
    return materialize_days(
        context, platform.lake, compute, describe=_describe, picture=_picture, checks=[*CHECKS, *live]
    )


def _plan(platform: Platform, day: date) -> None:
    """Plan every company that has not been planned today."""
    as_of = platform.calendar.as_of(day)
    log, mirror = platform.campaign_log, platform.mirror
    companies = mirror.snapshot("companies").collect()
    pending = companies.filter(pl.col("enabled"), ~pl.col("company_id").is_in(log.planned_companies(day)))
    if platform.only_company is not None:
        pending = pending.filter(pl.col("company_id") == platform.only_company)
    eligible = platform.lake.scan("inactive_clients", day).filter(pl.col("decision") == "eligible").collect()
    rules = (
        mirror.snapshot("rules")
        .select("company_id", "service_id", "retry_interval_days", "max_attempts", "discount_progression")
        .collect()
    )
    views = account_states(platform.database, as_of)
    accounts, recent = planning_frames(views)
    plan = plan_day(
        eligible.join(pending.select("company_id"), on="company_id", how="semi"),
        log.history(as_of),
        log.contacts(as_of),
        rules,
        pending,
        accounts,
        recent,
        as_of=as_of,
        day=day,
        salt=platform.settings.reactivation_holdout_salt,
        platform_daily=platform.settings.reactivation_daily_limit,
        platform_hourly=platform.settings.reactivation_hourly_limit,
    )
    phones = mirror.snapshot("clients").select("company_id", "client_id", "phone")
    rows = (
        plan.lazy()
        .join(phones, on=["company_id", "client_id"], how="left")
        .join(rules.lazy().drop("discount_progression"), on=["company_id", "service_id"], how="left")
        .with_columns(pl.lit(as_of + HORIZON).alias("expires_at"))
        .collect()
    )
    account_ids = {company: view.account_id for company, view in views.items()}
    log.write_plan(
        day,
        as_of,
        pending["company_id"],
        ({**row, "account_id": account_ids.get(row["company_id"])} for row in rows.iter_rows(named=True)),
    )


def _describe(frame: pl.DataFrame) -> dict[str, Any]:
    return {
        "planned": int((frame["decision"] == "planned").sum()),
        "held out": int((frame["decision"] == "held_out").sum()),
        "deferred": int((frame["decision"] == "deferred").sum()),
        "decisions": counts_table(frame, "decision", "reason", "lane"),
    }


def _picture(day: date, frame: pl.DataFrame) -> str:
    by_hour = (
        frame.filter(pl.col("decision") == "planned")
        .group_by(pl.col("send_after").dt.hour().alias("hour"))
        .len()
        .sort("hour")
    )
    return bar_chart(
        [f"{hour:02d}" for hour in by_hour["hour"]],
        by_hour["len"].to_list(),
        f"Planned sends by hour (UTC), {day.isoformat()}",
    )
