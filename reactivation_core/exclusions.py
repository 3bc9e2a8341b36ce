"""Why a due client is not written to: the closed list of reasons, in order, and the flag of each.

All flags are worked out for every due client, so that an explanation can name everything that stands in the way; the decision takes the
first. What to keep out: reasons to put a campaign off to another day (planning).
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

import polars as pl

from reactivation_core.local_time import with_local

if TYPE_CHECKING:
    from reactivation_core.inactivity import InactivityInputs

CONTACT_GAP = timedelta(days=7)
REPLY_WINDOW = timedelta(days=7)
_NEVER_LEFT = ("cancelled", "expired", "failed")


class Reason(StrEnum):
    """Why a due client is excluded, in the order of precedence."""

    OPTED_OUT = "opted_out"
    PAUSED = "paused"
    NO_CONSENT = "no_consent"
    MAILING_REFUSED = "mailing_refused"
    BLACKLISTED = "blacklisted"
    INVALID_PHONE = "invalid_phone"
    DUPLICATE_PHONE = "duplicate_phone"
    STAFF_PHONE = "staff_phone"
    UPCOMING_RECORD = "upcoming_record"
    VISITED_RECENTLY = "visited_recently"
    GONE_TOO_LONG = "gone_too_long"
    CONTACTED_RECENTLY = "contacted_recently"
    WAITING_FOR_REPLY = "waiting_for_reply"
    RETRY_NOT_DUE = "retry_not_due"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    REPLIED_OPEN_DIALOG = "replied_open_dialog"
    COMPANY_DISABLED = "company_disabled"
    RULE_WITHOUT_SERVICE = "rule_without_service"


REASONS = tuple(Reason)


def exclusion_flags(inputs: "InactivityInputs", due: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """`due` (from `due_clients`) with one boolean column per `Reason`, never null, and what two of them rest on.

    Besides: next_attempt_at, open_until and last_campaign_at (UTC|null) of the client's latest campaign, max_days_inactive and
    min_days_since_visit of the company. Clients absent from the mirror have no phone, hence invalid_phone.
    """
    person = ["company_id", "client_id"]
    phone = ["company_id", "phone"]
    companies = inputs.companies.lazy().select(
        "company_id",
        "enabled",
        "consent_basis",
        pl.col("phone").alias("company_phone"),
        "max_days_inactive",
        "min_days_since_visit",
    )
    zones = inputs.companies.lazy().select("company_id", "timezone").collect()
    clients = inputs.clients.lazy().select(*person, "phone", "mailing_refused", "blacklisted", "consent")
    still_suppressed = pl.col("lifted_at").is_null() | (pl.col("lifted_at") > as_of)
    suppressed = _marked(inputs.suppressions.lazy().filter(pl.col("at") <= as_of, still_suppressed), phone, "opted_out")
    paused = _marked(inputs.pauses.lazy().filter(pl.col("at") <= as_of, pl.col("until") > as_of), person, "paused")
    staff = _marked(inputs.staff.lazy().filter(pl.col("phone").is_not_null()), phone, "staff_phone")
    consent_basis = pl.col("consent_basis").fill_null("").str.strip_chars() != ""
    first_with_phone = pl.struct("days_since_any", "client_id").rank("ordinal").over(phone) == 1
    flagged = (
        due.lazy()
        .join(companies, on="company_id", how="left")
        .join(clients, on=person, how="left")
        .join(suppressed, on=phone, how="left")
        .join(paused, on=person, how="left")
        .join(staff, on=phone, how="left")
        .join(_campaign_state(inputs.campaigns.lazy(), zones, as_of), on=person, how="left")
        .with_columns(
            (~pl.coalesce("consent", consent_basis)).alias("no_consent"),
            pl.col("phone").is_null().alias("invalid_phone"),
            (pl.col("phone").is_not_null() & ~first_with_phone).alias("duplicate_phone"),
            (pl.col("staff_phone").fill_null(value=False) | (pl.col("phone") == pl.col("company_phone"))).alias(
                "staff_phone"
            ),
            pl.col("upcoming_at").is_not_null().alias("upcoming_record"),
            (pl.col("days_since_any") < pl.col("min_days_since_visit")).alias("visited_recently"),
            (pl.col("days_since_any") > pl.col("max_days_inactive")).alias("gone_too_long"),
            (~pl.col("enabled")).alias("company_disabled"),
            (~pl.col("service_active")).alias("rule_without_service"),
            *_campaign_flags(as_of),
        )
        .with_columns(pl.col(name).fill_null(value=False) for name in REASONS)
    )
    return flagged.collect()


def _marked(frame: pl.LazyFrame, keys: list[str], name: str) -> pl.LazyFrame:
    return frame.select(keys).unique().with_columns(pl.lit(value=True).alias(name))


def _campaign_state(campaigns: pl.LazyFrame, zones: pl.DataFrame, as_of: datetime) -> pl.LazyFrame:
    """Per client what the log said at `as_of`: the latest campaign, and the latest message that really left."""

    def known(name: str, at: str) -> pl.Expr:
        return pl.when(pl.col(at) <= as_of).then(pl.col(name)).alias(name)

    state = (
        campaigns.filter(pl.col("planned_at") <= as_of)
        .with_columns(
            known("completion_reason", "completed_at"),
            known("completed_at", "completed_at"),
            known("response_type", "responded_at"),
            known("open_until", "responded_at"),
            known("responded_at", "responded_at"),
            known("sent_at", "sent_at"),
        )
        .sort("company_id", "client_id", "episode_no", "attempt_number")
        .group_by("company_id", "client_id", maintain_order=True)
        .agg(
            pl.col("sent_at").filter(~pl.col("held_out")).max().alias("last_sent_at"),
            pl.col("open_until").max(),
            pl.col(
                "sent_at", "send_after", "planned_at", "held_out", "status", "responded_at", "next_attempt_at"
            ).last(),
            pl.col("attempt_number", "completion_reason", "completed_at").last(),
        )
        .with_columns(
            pl.when("held_out")
            .then(pl.col("send_after"))
            .otherwise(pl.coalesce("sent_at", "send_after", "planned_at"))
            .alias("last_campaign_at")
        )
        .collect()
    )
    return with_local(state.lazy(), zones, "last_campaign_at", day="last_campaign_day").drop(
        "local_minute", "local_weekday"
    )


def _campaign_flags(as_of: datetime) -> list[pl.Expr]:
    """The four flags of the campaign log. A visit on the day of the message or later ends what the campaign asked for."""
    sent = pl.col("held_out") | pl.col("sent_at").is_not_null()
    unanswered = pl.col("responded_at").is_null() & (pl.col("last_campaign_at") > as_of - REPLY_WINDOW)
    on_its_way = ~pl.col("status").is_in(_NEVER_LEFT)
    waiting = pl.col("completed_at").is_null() & pl.when(sent).then(unanswered).otherwise(on_its_way)
    no_visit_since = pl.col("last_any").cast(pl.Int32).cast(pl.Date) < pl.col("last_campaign_day")
    used_up = pl.col("completed_at").is_null() & (pl.col("attempt_number") >= pl.col("max_attempts")) & ~waiting
    return [
        (pl.col("last_sent_at") > as_of - CONTACT_GAP).alias("contacted_recently"),
        waiting.alias("waiting_for_reply"),
        ((pl.col("next_attempt_at") > as_of) & no_visit_since).alias("retry_not_due"),
        (((pl.col("completion_reason") == "max_attempts") | used_up) & no_visit_since).alias("attempts_exhausted"),
        (pl.col("open_until") > as_of).alias("replied_open_dialog"),
    ]
