"""The exclusion checks in words: for each reason, in order, the number, threshold or date behind its flag.

What to add here: the words of a new reason. What to keep out: whether it applies (`reactivation_core.exclusions` says that).
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from reactivation_cli.explanation import Check
from reactivation_core.exclusions import CONTACT_GAP, REASONS, REPLY_WINDOW, Reason
from reactivation_core.inactivity import InactivityInputs

Row = Mapping[str, Any]


def describe_checks(inputs: InactivityInputs, flags: pl.DataFrame, client: int, as_of: datetime) -> tuple[Check, ...]:
    """All checks of one due client. `inputs` and `flags` (from `exclusion_flags`) are those of the client's company alone."""
    row = flags.row(by_predicate=pl.col("client_id") == client, named=True)
    zone = ZoneInfo(inputs.companies.lazy().select("timezone").collect().item())
    words = _Words(inputs, flags, row, zone, as_of)
    table: dict[Reason, Callable[[], str]] = {
        Reason.OPTED_OUT: words.opted_out,
        Reason.PAUSED: words.paused,
        Reason.NO_CONSENT: words.consent,
        Reason.MAILING_REFUSED: lambda: "the CRM's card refuses mailings" if row["mailing_refused"] else "not refused",
        Reason.BLACKLISTED: lambda: "on the salon's blacklist" if row["blacklisted"] else "not on the blacklist",
        Reason.INVALID_PHONE: lambda: "a possible number" if row["phone"] else "the card holds no possible number",
        Reason.DUPLICATE_PHONE: words.duplicate,
        Reason.STAFF_PHONE: words.staff,
        Reason.UPCOMING_RECORD: lambda: (
            f"next record {words.local(row['upcoming_at'])}" if row["upcoming_at"] else "no future record"
        ),
        Reason.VISITED_RECENTLY: lambda: words.days("fewer than", "min_days_since_visit"),
        Reason.GONE_TOO_LONG: lambda: words.days("more than", "max_days_inactive"),
        Reason.CONTACTED_RECENTLY: words.contacted,
        Reason.WAITING_FOR_REPLY: words.waiting,
        Reason.RETRY_NOT_DUE: words.retry,
        Reason.ATTEMPTS_EXHAUSTED: words.attempts,
        Reason.REPLIED_OPEN_DIALOG: lambda: (
            f"a positive reply keeps the dialog open until {words.local(row['open_until'])}"
            if row["open_until"]
            else "no open dialog"
        ),
        Reason.COMPANY_DISABLED: lambda: (
            "reactivation is on" if row["enabled"] else "reactivation is off in the settings"
        ),
        Reason.RULE_WITHOUT_SERVICE: lambda: (
            "the service is offered" if row["service_active"] else "the service is not offered any more"
        ),
    }
    return tuple(Check(reason.value, bool(row[reason]), table[reason]()) for reason in REASONS)


class _Words:
    """The longer ones."""

    def __init__(
        self, inputs: InactivityInputs, flags: pl.DataFrame, row: Row, zone: ZoneInfo, as_of: datetime
    ) -> None:
        self.inputs, self.flags, self.row, self.zone, self.as_of = inputs, flags, row, zone, as_of

    def local(self, instant: datetime) -> str:
        return f"{instant.astimezone(self.zone):%Y-%m-%d %H:%M}"

    def days(self, relation: str, threshold: str) -> str:
        return f"last visit {self.row['days_since_any']} days ago; excluded when {relation} {self.row[threshold]}"

    def opted_out(self) -> str:
        known = (
            self.inputs.suppressions.lazy()
            .filter(pl.col("phone") == self.row["phone"], pl.col("at") <= self.as_of)
            .sort("at")
            .select("at", "reason", "lifted_at")
            .collect()
            .rows(named=True)
        )
        if not known:
            return "the number is not on the suppression list"
        last = known[-1]
        lifted = last["lifted_at"]
        until = f", lifted {self.local(lifted)}" if lifted is not None and lifted <= self.as_of else ""
        return f"on the suppression list since {self.local(last['at'])} ({last['reason']}){until}"

    def paused(self) -> str:
        known = (
            self.inputs.pauses.lazy()
            .filter(pl.col("client_id") == self.row["client_id"], pl.col("at") <= self.as_of)
            .sort("until")
            .collect()
            .rows(named=True)
        )
        return f"rests until {self.local(known[-1]['until'])} ({known[-1]['reason']})" if known else "no pause"

    def consent(self) -> str:
        if self.row["consent"] is not None:
            return "the card holds a consent" if self.row["consent"] else "the card holds a refusal"
        basis = (self.row["consent_basis"] or "").strip()
        return (
            f"the card says nothing; the salon's basis: {basis}"
            if basis
            else "the card says nothing, the salon has no basis"
        )

    def duplicate(self) -> str:
        if self.row["phone"] is None:
            return "no number to share"
        same = self.flags.filter(pl.col("phone") == self.row["phone"]).sort("days_since_any", "client_id")
        if same.height == 1:
            return "no other due client has this number"
        keeper = same["client_id"][0]
        others = ", ".join(str(one) for one in same["client_id"] if one != self.row["client_id"])
        stays = "this client" if keeper == self.row["client_id"] else f"client {keeper}"
        return f"the same number as client {others}; {stays} stays: latest visit, then lowest id"

    def staff(self) -> str:
        if self.row["phone"] is not None and self.row["phone"] == self.row["company_phone"]:
            return "the salon's own number"
        own = self.inputs.staff.lazy().filter(pl.col("phone") == self.row["phone"]).select("staff_id").collect()
        return f"the number of staff member {own['staff_id'][0]}" if own.height else "nobody's of the staff"

    def contacted(self) -> str:
        last = self.row["last_sent_at"]
        if last is None:
            return "never written to"
        return f"last message {self.local(last)}; excluded for {_days(CONTACT_GAP)} after one"

    def waiting(self) -> str:
        last, status = self.row["last_campaign_at"], self.row["status"]
        if last is None:
            return "no campaign before"
        if self.row["responded_at"] is not None:
            return f"answered {self.local(self.row['responded_at'])}"
        return f"last campaign {self.local(last)} ({status}); an answer is waited for during {_days(REPLY_WINDOW)}"

    def retry(self) -> str:
        following = self.row["next_attempt_at"]
        return f"next attempt from {self.local(following)}" if following is not None else "no attempt to repeat"

    def attempts(self) -> str:
        used = self.row["attempt_number"]
        if used is None:
            return "no attempt so far"
        ended = f"; the episode ended: {self.row['completion_reason']}" if self.row["completion_reason"] else ""
        return f"attempt {used} of {self.row['max_attempts']}{ended}"


def _days(span: timedelta) -> str:
    return f"{span.days} days"
