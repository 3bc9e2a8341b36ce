"""The contract of every frame: columns, types, keys, ranges and the rules between columns, as Pandera schemas.

Producers call `validate` on the way out, consumers read `column_types` and `empty_frame`. A new frame needs one entry here. What to keep
out: rules that need a second frame (asset checks) and anything of Dagster. Importing Pandera costs a tenth of a second: import this module
inside functions.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

import pandera.polars as pa
import polars as pl
from pandera.errors import SchemaErrors

from reactivation_core.campaign_states import Status
from reactivation_core.exclusions import REASONS
from reactivation_core.intervals import INTERVAL_SOURCES
from reactivation_core.message_facts import BUSINESSES, STAGES, TONES
from reactivation_core.visit_gaps import ENOUGH_GAPS, WINDOW_DAYS

INSTANT = pl.Datetime("us", "UTC")
RECORD_STATUSES = ("attended", "booked", "confirmed", "no_show", "cancelled")
SEGMENTS = ("vip", "regular", "new")
SOURCES = ("template", "gemini")
LANES = ("warm", "cold")
PERIODS = ("morning", "afternoon", "evening")
RESPONSES = ("positive", "negative", "neutral", "booking_created", "no_response")
COMPLETIONS = ("converted", "max_attempts", "opted_out", "declined", "cancelled")


class ContractError(ValueError):
    """A frame breaks its contract. The message names columns, rules and counts, never values: they may be phones and names."""


class ColumnType(NamedTuple):
    """A column as people read it."""

    name: str
    type: str
    nullable: bool
    description: str


_DAY = "partition_day"


def validate(contract: pa.DataFrameSchema, frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` unchanged when it keeps `contract`. Raises ContractError with every broken rule and how many rows break it.

    Only collected frames: of a LazyFrame Pandera checks no values, so one raises TypeError.
    """
    if not isinstance(frame, pl.DataFrame):
        raise TypeError(f"{contract.name}: collect the {type(frame).__name__} first, only a DataFrame can be validated")
    try:
        contract.validate(frame, lazy=True)
    except SchemaErrors as errors:
        raise ContractError(f"{contract.name}: {_complaints(contract, errors, frame.height)}") from None
    return frame


def broken(contract: pa.DataFrameSchema, frame: pl.DataFrame) -> str:
    """What `frame` breaks of `contract`, in words; "" when it keeps it."""
    try:
        validate(contract, frame)
    except ContractError as error:
        return str(error)
    return ""


def broken_days(contract: pa.DataFrameSchema, frames: Mapping[date, pl.DataFrame]) -> dict[date, str]:
    """The days whose frame breaks `contract`, with what is broken; empty when all keep it.

    All days are judged in one go, which costs about as much as one day; they are looked at singly only when something is wrong.
    """
    if len(frames) > 1:
        dated = contract.add_columns({_DAY: pa.Column(pl.Date)})
        dated.unique = [_DAY, *(contract.unique or [])] if contract.unique else None
        try:
            validate(dated, pl.concat([frame.with_columns(pl.lit(day).alias(_DAY)) for day, frame in frames.items()]))
        except (ContractError, pl.exceptions.PolarsError):
            pass
        else:
            return {}
    broken: dict[date, str] = {}
    for day, frame in frames.items():
        try:
            validate(contract, frame)
        except ContractError as error:
            broken[day] = str(error)
    return broken


def empty_frame(contract: pa.DataFrameSchema) -> pl.DataFrame:
    """A frame of no rows with the contract's columns and types."""
    return pl.DataFrame(schema=polars_schema(contract))


def polars_schema(contract: pa.DataFrameSchema) -> pl.Schema:
    """The contract's columns and Polars types, in order."""
    return pl.Schema({name: column.dtype.type for name, column in contract.columns.items()})


def column_types(contract: pa.DataFrameSchema) -> list[ColumnType]:
    """Name, type in words, nullability and description of every column, in order."""
    return [
        ColumnType(name, _words(column.dtype.type), column.nullable, column.description)
        for name, column in contract.columns.items()
    ]


def _words(kind: pl.DataType) -> str:
    if isinstance(kind, pl.List):
        return f"list of {_words(kind.inner)}"  # type: ignore[arg-type]
    names = {pl.String: "text", pl.Boolean: "yes or no", pl.Date: "day", pl.Datetime: "instant (UTC)"}
    if kind.is_integer():
        return "whole number"
    return "number" if kind.is_float() else names[kind.base_type()]


def _complaints(contract: pa.DataFrameSchema, errors: SchemaErrors, rows: int) -> str:
    """Every broken rule once, with its column and the number of failing rows."""
    failed: Counter[tuple[str, str]] = Counter()
    for row in errors.failure_cases.select("schema_context", "column", "check", "failure_case").iter_rows(named=True):
        check = str(row["check"])
        if check in {"column_in_schema", "column_in_dataframe"}:  # here the "value" is a column's name
            missing = check == "column_in_dataframe"
            failed[row["failure_case"], "is missing" if missing else "is not part of the contract"] = 0
        elif check.startswith("dtype("):
            name = row["column"]
            failed[name, f"is {row['failure_case']}, not {contract.columns[name].dtype}"] = 0
        elif check == "multiple_fields_uniqueness":
            failed[", ".join(contract.unique or ()), "repeat in"] += 1
        else:
            wording = {"not_nullable": "must not be null, fails in"}.get(check, f"must keep '{check}', fails in")
            failed[row["column"] or "rows", wording] += 1
    return "; ".join(
        f"{name} {what}" + (f" {count} of {rows} rows" if count else "") for (name, what), count in failed.items()
    )


# ------------------------------------------------------------------------------------------------ how contracts are written


def _column(dtype: Any, description: str, *checks: pa.Check, null: bool = False) -> pa.Column:
    return pa.Column(dtype, checks=list(checks), nullable=null, description=description)


def _rule(holds: pl.Expr, words: str) -> pa.Check:
    """A rule between columns, in words for the person who reads its failure. Null counts as kept."""
    return pa.Check(lambda data: data.lazyframe.select(holds.fill_null(value=True).alias("holds")), error=words)


def _ascending(*names: str) -> pa.Check:
    """Every row's key is above the key of the row before: no key repeats, and a large frame is told so without sorting it again."""
    above = pl.lit(value=False)
    for name in reversed(names):
        value = pl.col(name).to_physical().fill_null(-1)
        before = value.shift(1, fill_value=-1)
        above = (value > before) | ((value == before) & above)
    return _rule(above, f"{', '.join(names)} ascend and never repeat")


def _contract(
    name: str, columns: dict[str, pa.Column], *, unique: Sequence[str] | None = None, rules: Sequence[pa.Check] = ()
) -> pa.DataFrameSchema:
    return pa.DataFrameSchema(
        columns, name=name, unique=list(unique) if unique else None, checks=list(rules), strict=True
    )


def _id(description: str, *, null: bool = False) -> pa.Column:
    return _column(pl.Int64, description, pa.Check.ge(0), null=null)


def _text(description: str, among: Sequence[str] | None = None, *, null: bool = False) -> pa.Column:
    return _column(pl.String, description, *([pa.Check.isin(among)] if among else []), null=null)


def _flag(description: str, *, null: bool = False) -> pa.Column:
    return _column(pl.Boolean, description, null=null)


def _instant(description: str, *, null: bool = False) -> pa.Column:
    return _column(INSTANT, description, null=null)


def _count(
    description: str, dtype: Any = pl.Int32, least: int = 0, most: int | None = None, *, null: bool = False
) -> pa.Column:
    checks = [pa.Check.ge(least)] + ([pa.Check.le(most)] if most is not None else [])
    return _column(dtype, description, *checks, null=null)


def _money(description: str, *, null: bool = False) -> pa.Column:
    return _column(pl.Int64, f"{description}, minor units of the company's currency", pa.Check.ge(0), null=null)


def _share(description: str, *, null: bool = False) -> pa.Column:
    return _column(pl.Float64, description, pa.Check.in_range(0, 1), null=null)


def _phone(description: str, *, null: bool = False) -> pa.Column:
    return _column(pl.String, description, pa.Check.str_matches(r"^\+[1-9]\d{6,14}$"), null=null)


_COMPANY = _id("company (salon location)")
_CLIENT = _id("client of that company")
_SERVICE = _id("service of that company")

# ------------------------------------------------------------------------------------------------ what comes in

COMPANIES = _contract(
    "companies",
    {
        "company_id": _COMPANY,
        "title": _text("name of the salon"),
        "business_type": _text("type of business", BUSINESSES),
        "timezone": _text("IANA time zone"),
        "country": _column(pl.String, "ISO 3166 country code", pa.Check.str_length(2, 2)),
        "currency": _column(pl.String, "ISO 4217 currency code", pa.Check.str_length(3, 3)),
        "phone": _phone("the salon's own number", null=True),
        "language": _text("language of its messages"),
        "enabled": _flag("reactivation is switched on"),
        "consent_basis": _text(
            "why all its clients may be written to; empty or null: only clients with consent of their own", null=True
        ),
        "exported_at": _instant("when an imported book was exported", null=True),
        "crm_source": _text("where its data comes from", ("yclients", "import")),
        "tone": _text("tone of its messages", TONES),
        "max_days_inactive": _count("clients away for longer are left alone, days", pl.Int64, 1),
        "min_days_since_visit": _count("clients who came later than this are left alone, days", pl.Int64),
        "personal_factor": _column(pl.Float64, "stretch of the personal rhythm; 0 switches it off", pa.Check.ge(0)),
        "holdout_percent": _count("share of episodes not messaged, percent", pl.Int64, 0, 100),
    },
    unique=["company_id"],
)

SERVICES = _contract(
    "services",
    {
        "company_id": _COMPANY,
        "service_id": _SERVICE,
        "title": _text("title"),
        "category": _text("category", null=True),
        "list_price_minor": _money("list price"),
        "duration_s": _count("length, seconds", pl.Int64, 1, null=True),
        "active": _flag("still offered"),
    },
    unique=["company_id", "service_id"],
)

STAFF = _contract(
    "staff",
    {
        "company_id": _COMPANY,
        "staff_id": _id("staff member"),
        "name": _text("name"),
        "phone": _phone("own number", null=True),
        "active": _flag("still works there"),
        "service_ids": _column(pl.List(pl.Int64), "services done; null: unknown, any", null=True),
    },
    unique=["company_id", "staff_id"],
)

CLIENTS = _contract(
    "clients",
    {
        "company_id": _COMPANY,
        "client_id": _CLIENT,
        "name": _text("name"),
        "phone": _phone("number; null when missing or invalid", null=True),
        "mailing_refused": _flag("refused mailings in the CRM"),
        "blacklisted": _flag("on the salon's blacklist"),
        "consent": _flag("own consent; null: the company's basis holds", null=True),
        "deleted": _flag("deleted in the CRM"),
    },
    unique=["company_id", "client_id"],
)

RECORDS = _contract(
    "records",
    {
        "company_id": _COMPANY,
        "client_id": _id("client; null: none given", null=True),
        "record_id": _id("record in the CRM's journal"),
        "line": _count("line of the record: one per service", pl.Int16),
        "starts_at": _instant("start"),
        "staff_id": _id("staff member", null=True),
        "service_id": _id("service", null=True),
        "price_minor": _money("price of the line", null=True),
        "status": _text("attendance", RECORD_STATUSES),
        "deleted": _flag("deleted in the CRM"),
        "created_at": _instant("when the record was made"),
    },
    unique=["company_id", "record_id", "line"],
)

RULES = _contract(
    "rules",
    {
        "company_id": _COMPANY,
        "service_id": _SERVICE,
        "interval_days": _count("days after which a client is due", pl.Int64, 1),
        "retry_interval_days": _count("days between attempts", pl.Int64, 1),
        "max_attempts": _count("attempts of an episode", pl.Int64, 1),
        "discount_progression": _column(pl.List(pl.Int16), "discount of each attempt, percent; empty: none"),
        "active": _flag("the rule is used"),
        "interval_source": _text("where the interval comes from", tuple(INTERVAL_SOURCES)),
    },
    unique=["company_id", "service_id"],
)

CAMPAIGNS = _contract(
    "campaigns",
    {
        "campaign_id": _text("campaign (one attempt)"),
        "company_id": _COMPANY,
        "client_id": _CLIENT,
        "episode_no": _count("period of inactivity of the client, from 1", pl.Int32, 1),
        "attempt_number": _count("attempt within the episode, from 1", pl.Int16, 1),
        "status": _text("state of the campaign", [status.value for status in Status]),
        "held_out": _flag("deliberately not messaged"),
        "day": _column(pl.Date, "day of the plan"),
        "planned_at": _instant("when it was planned"),
        "send_after": _instant("when it may leave"),
        "sent_at": _instant("when its request left", null=True),
        "response_type": _text("first reply", RESPONSES, null=True),
        "responded_at": _instant("first reply at", null=True),
        "next_attempt_at": _instant("no further attempt before", null=True),
        "completion_reason": _text("why the episode ended", COMPLETIONS, null=True),
        "completed_at": _instant("when the episode ended", null=True),
        "open_until": _instant("the dialog is open until", null=True),
    },
    unique=["campaign_id"],
)

SUPPRESSIONS = _contract(
    "suppressions",
    {
        "company_id": _COMPANY,
        "phone": _text("number that is left alone"),
        "at": _instant("since"),
        "reason": _text("why"),
        "lifted_at": _instant("until", null=True),
    },
)

PAUSES = _contract(
    "pauses",
    {
        "company_id": _COMPANY,
        "client_id": _CLIENT,
        "at": _instant("since"),
        "until": _instant("until"),
        "reason": _text("why", ("pause_until", "decline_now", "complaint", "by_hand")),
    },
)

OPEN_SLOTS = _contract(
    "open_slots",
    {
        "company_id": _COMPANY,
        "service_id": _SERVICE,
        "staff_id": _id("staff member"),
        "starts_at": _instant("free start"),
        "length_s": _count("length, seconds", pl.Int64, 1),
    },
    unique=["company_id", "service_id", "staff_id", "starts_at"],
)

# ------------------------------------------------------------------------------------------------ the campaign day

_EXCLUDED = pl.col("decision") == "excluded"
_NO_REASON = pl.col("reason") == ""

INACTIVE_CLIENTS = _contract(
    "inactive_clients",
    {
        "company_id": _COMPANY,
        "client_id": _CLIENT,
        "service_id": _id("the service to come back for"),
        "last_visit": _column(pl.Date, "last visit with that service, local day"),
        "days_since": _count("days since that visit", least=1),
        "days_since_any": _count("days since the last visit for any service"),
        "due_after": _count("days after which the client is due", least=1),
        "decision": _text("may be planned or not", ("eligible", "excluded")),
        "reason": _text("why excluded; empty when eligible", ["", *(reason.value for reason in REASONS)]),
        "segment": _text("vip, regular or new", SEGMENTS),
        "priority": _share("rank inside company and segment, 0 to 1"),
        "visits": _count("local days with an attended record", least=1),
        "spent_minor": _column(pl.Int64, "paid for attended records, minor units of the company's currency"),
        "loyalty": _count("1 New, 2 Bronze, 3 Silver, 4 Gold, 5 VIP", pl.Int8, 1, 5),
        "interval_days": _count("the rule's interval, days", least=1),
        "rhythm_days": _column(pl.Float64, "personal rhythm, days; null below two gaps", pa.Check.gt(0), null=True),
        "gaps": _count("personal gaps the rhythm rests on", pl.Int8, 0, 5),
        "service_visits": _count("visits with that service", least=1),
        "upcoming_at": _instant("next booked record", null=True),
    },
    unique=["company_id", "client_id"],
    rules=[
        _rule(pl.col("days_since") > pl.col("due_after"), "due means days_since > due_after"),
        _rule(pl.col("due_after") >= pl.col("interval_days"), "due_after >= interval_days"),
        _rule(pl.col("days_since_any") <= pl.col("days_since"), "days_since_any <= days_since"),
        _rule(_EXCLUDED != _NO_REASON, "excluded rows and only they have a reason"),
        _rule(pl.col("service_visits") <= pl.col("visits"), "service_visits <= visits"),
        _rule((pl.col("gaps") >= 2) == pl.col("rhythm_days").is_not_null(), "a rhythm needs two gaps"),
        _rule((pl.col("segment") == "vip") == (pl.col("loyalty") >= 4), "vip means loyalty of 4 or 5"),
    ],
)

PREFERENCE_PROFILES = _contract(
    "preference_profiles",
    {
        "company_id": _COMPANY,
        "client_id": _CLIENT,
        "visits": _count("last visits looked at", pl.Int32, 0, 20),
        "confidence": _share("trust in the profile, by number of visits"),
        "time_of_day": _text("preferred part of the day; null without one above 40 %", PERIODS, null=True),
        "time_confidence": _share("its share of visits"),
        "share_morning": _share("visits before 12:00", null=True),
        "share_afternoon": _share("visits from 12:00 to 17:00", null=True),
        "share_evening": _share("visits from 17:00", null=True),
        "weekdays": _column(pl.List(pl.Int8), "up to three preferred ISO weekdays, best first"),
        "weekday_confidence": _share("share of visits on the first of them"),
        "staff_id": _id("favourite staff member who still does the service", null=True),
        "staff_share": _share("share of visits with the favourite"),
        "staff_visits": _count("visits with the favourite", pl.Int32, 0, 20),
        "staff_alternatives": _column(pl.List(pl.Int64), "up to two next favourites"),
        "services": _column(pl.List(pl.Int64), "up to three usual services, best first"),
        "service_shares": _column(pl.List(pl.Float64), "their shares of visits"),
        "gap_mean": _column(pl.Float64, "mean days between visits", pa.Check.gt(0), null=True),
        "gap_median": _column(pl.Float64, "median days between visits", pa.Check.gt(0), null=True),
        "gap_std": _column(
            pl.Float64, "population standard deviation of the days between visits", pa.Check.ge(0), null=True
        ),
        "regularity": _share("1 - min(std / mean, 1); null below two gaps", null=True),
        "regular": _flag("regularity above 0.7", null=True),
        "assert_staff": _flag("a message may name the favourite"),
    },
    unique=["company_id", "client_id"],
    rules=[
        _rule(pl.col("weekdays").list.len() <= 3, "at most three weekdays"),
        _rule(pl.col("staff_alternatives").list.len() <= 2, "at most two alternatives"),
        _rule(pl.col("services").list.len() == pl.col("service_shares").list.len(), "a share for every service"),
        _rule(
            pl.col("gap_mean").is_not_nan() & pl.col("gap_std").is_not_nan() & pl.col("regularity").is_not_nan(),
            "null, never NaN",
        ),
        _rule(~pl.col("assert_staff") | (pl.col("staff_visits") >= 3), "a named favourite has three visits"),
        _rule(pl.col("staff_id").is_not_null() | (pl.col("staff_share") == 0), "no favourite, no share"),
    ],
)

RANKED_SLOTS = _contract(
    "ranked_slots",
    {
        "company_id": _COMPANY,
        "client_id": _CLIENT,
        "service_id": _SERVICE,
        "rank": _count("place, from 1; spares follow", pl.Int8, 1),
        "spare": _flag("kept for the re-check at the send"),
        "staff_id": _id("staff member"),
        "starts_at": _instant("start"),
        "local_day": _column(pl.Date, "local day of the start"),
        "length_s": _count("length, seconds", pl.Int64, 1),
        "score": _count("score, thousandths of a point", pl.Int64),
        "match_reason": _text("why it fits, in words"),
    },
    unique=["company_id", "client_id", "rank"],
)

CAMPAIGN_PLAN = _contract(
    "campaign_plan",
    {
        "company_id": _COMPANY,
        "client_id": _CLIENT,
        "service_id": _SERVICE,
        "decision": _text("what happens today", ("planned", "held_out", "deferred")),
        "reason": _text("why deferred; empty otherwise"),
        "campaign_id": _text("campaign; null when deferred", null=True),
        "episode_no": _count("period of inactivity of the client, from 1", pl.Int32, 1),
        "attempt_number": _count("attempt within the episode, from 1", pl.Int16, 1),
        "discount_percent": _count("discount offered; 0: none", pl.Int16, 0, 100),
        "lane": _text("warm: the client has written to this number before", LANES),
        "send_after": _instant("earliest send; null when deferred", null=True),
        "segment": _text("vip, regular or new", SEGMENTS),
        "priority": _share("rank inside company and segment, 0 to 1"),
        "days_since": _count("days since the last visit with the service", least=1),
    },
    unique=["company_id", "client_id"],
    rules=[
        _rule((pl.col("decision") == "deferred") != _NO_REASON, "deferred rows and only they have a reason"),
        _rule((pl.col("decision") == "deferred") == pl.col("campaign_id").is_null(), "a campaign unless deferred"),
        _rule((pl.col("decision") == "deferred") == pl.col("send_after").is_null(), "a send time unless deferred"),
        _rule(pl.col("campaign_id").is_null() | pl.col("campaign_id").is_first_distinct(), "campaign_id is unique"),
    ],
)

GENERATED_MESSAGES = _contract(
    "generated_messages",
    {
        "campaign_id": _text("campaign"),
        "company_id": _COMPANY,
        "client_id": _CLIENT,
        "stage": _text("by days inactive", STAGES),
        "tone": _text("tone", TONES),
        "source": _text("who wrote it", SOURCES),
        "template_id": _text("template used", null=True),
        "text_template": _text("text with placeholders; the name is filled in elsewhere"),
        "characters": _count("characters of the final text", pl.Int32, 1, 500),
        "attempts": _count("texts that the model gave", pl.Int8),
        "cost_minor": _money("cost of writing"),
        "model": _text("the model that was asked", null=True),
        "prompt_version": _text("version of the prompt", null=True),
        "fallback": _text("why the text is not the model's", null=True),
        "requests": _count("requests to the model", pl.Int8),
        "input_tokens": _count("tokens of the questions", pl.Int64),
        "output_tokens": _count("tokens of the answers, thoughts included", pl.Int64),
        "cost_micros": _count("cost of writing in millionths of a dollar", pl.Int64),
    },
    unique=["campaign_id"],
    rules=[_rule((pl.col("source") != "template") | pl.col("template_id").is_not_null(), "a template has its id")],
)

SENT_CAMPAIGNS = _contract(
    "sent_campaigns",
    {
        "campaign_id": _text("campaign"),
        "company_id": _COMPANY,
        "client_id": _CLIENT,
        "service_id": _SERVICE,
        "lane": _text("warm or cold", LANES),
        "status": _text("state of the campaign", [status.value for status in Status]),
        "send_after": _instant("earliest send"),
        "sent_at": _instant("when its request left", null=True),
        "delivered_at": _instant("delivered", null=True),
        "read_at": _instant("read", null=True),
        "error": _text("why it failed", null=True),
    },
    unique=["campaign_id"],
)

# ------------------------------------------------------------------------------------------------ what came back

CLIENT_RESPONSES = _contract(
    "client_responses",
    {
        "inbox_id": _id("inbound message"),
        "campaign_id": _text("campaign it answers; null: none", null=True),
        "company_id": _COMPANY,
        "client_id": _id("client; null: unknown number", null=True),
        "received_at": _instant("received"),
        "response_type": _text("kind of reply", RESPONSES),
        "intent": _text("what the client wants"),
        "layer": _text("who decided", ("rule", "gemini", "none")),
        "slot_starts_at": _instant("slot chosen", null=True),
        "pause_until": _column(pl.Date, "the client is away until", null=True),
    },
    unique=["inbox_id"],
)

CONVERSIONS = _contract(
    "conversions",
    {
        "campaign_id": _text("campaign"),
        "company_id": _COMPANY,
        "client_id": _CLIENT,
        "service_id": _SERVICE,
        "staff_id": _id("staff member of the booking", null=True),
        "episode_no": _count("period of inactivity of the client, from 1", pl.Int32, 1),
        "attempt_number": _count("attempt within the episode, from 1", pl.Int16, 1),
        "held_out": _flag("deliberately not messaged"),
        "day": _column(pl.Date, "day of the send"),
        "sent_at": _instant("sent; for held-out ones when it would have been"),
        "hour": _count("local hour of the send", pl.Int8, 0, 23),
        "weekday": _count("local ISO weekday of the send", pl.Int8, 1, 7),
        "stage": _text("by days inactive", STAGES, null=True),
        "tone": _text("tone", TONES, null=True),
        "source": _text("who wrote the text", SOURCES, null=True),
        "discount_percent": _count("discount offered", pl.Int16, 0, 100, null=True),
        "delivered": _flag("delivered"),
        "read": _flag("read"),
        "replied": _flag("replied"),
        "reply_minutes": _column(pl.Float64, "minutes to the first reply", pa.Check.ge(0), null=True),
        "opted_out": _flag("asked to be left alone"),
        "booked": _flag("a booking is credited to it"),
        "booked_record_id": _id("that booking", null=True),
        "booking_minutes": _column(pl.Float64, "minutes to the booking", pa.Check.ge(0), null=True),
        "attended": _flag("the booking was attended"),
        "revenue_minor": _money("revenue of the attended booking"),
        "discount_minor": _money("discount given"),
        "cost_minor": _money("cost of the send"),
        "settled": _flag("fourteen days have passed, the row is final"),
    },
    unique=["campaign_id"],
    rules=[
        _rule(pl.col("booked") == pl.col("booked_record_id").is_not_null(), "a booking has its record"),
        _rule(pl.col("booked") | ~pl.col("attended"), "only a booking is attended"),
        _rule(pl.col("attended") | (pl.col("revenue_minor") == 0), "revenue only when attended"),
        _rule(pl.col("replied") == pl.col("reply_minutes").is_not_null(), "a reply has its time"),
    ],
)

METRIC_KEYS = (
    "day",
    "company_id",
    "service_id",
    "attempt_number",
    "hour",
    "weekday",
    "stage",
    "tone",
    "source",
    "held_out",
)

CONVERSION_METRICS = _contract(
    "conversion_metrics",
    {
        **{name: CONVERSIONS.columns[name] for name in METRIC_KEYS},
        "campaigns": _count("campaigns of the cell", pl.Int64, 1),
        **{
            name: _count(f"campaigns {name.replace('_', ' ')}", pl.Int64)
            for name in ("delivered", "read", "replied", "booked", "attended", "opted_out")
        },
        **{name: CONVERSIONS.columns[name] for name in ("revenue_minor", "discount_minor", "cost_minor")},
        "reply_minutes_sum": _column(pl.Float64, "sum of minutes to the first reply", pa.Check.ge(0)),
    },
    unique=METRIC_KEYS,
    rules=[
        _rule(pl.col(name) <= pl.col("campaigns"), f"{name} <= campaigns")
        for name in ("delivered", "replied", "booked")
    ],
)

# ------------------------------------------------------------------------------------------------ how often people come

_SERVICE_OR_ANY = _id("service of that company; null: any service", null=True)

VISIT_GAPS = _contract(
    "visit_gaps",
    {
        "company_id": _COMPANY,
        "client_id": _CLIENT,
        "service_id": _SERVICE_OR_ANY,
        "visit_day": _column(pl.Date, "local day of the later visit"),
        "gap_days": _count("days since the visit before", pl.Int16, 1, WINDOW_DAYS),
    },
    rules=[_ascending("company_id", "client_id", "service_id", "visit_day")],
)

SERVICE_INTERVALS = _contract(
    "service_intervals",
    {
        "company_id": _COMPANY,
        "service_id": _SERVICE_OR_ANY,
        "clients": _count("clients with a gap", least=1),
        "gaps": _count("gaps: the sample", least=1),
        "lower_quartile": _column(pl.Float64, "a quarter of the gaps is shorter, days", pa.Check.ge(1)),
        "median_days": _column(pl.Float64, "half of the gaps are shorter, days", pa.Check.ge(1)),
        "upper_quartile": _column(pl.Float64, "three quarters of the gaps are shorter, days", pa.Check.ge(1)),
        "mean_days": _column(pl.Float64, "mean gap, days", pa.Check.ge(1)),
        "std_days": _column(pl.Float64, "population standard deviation of the gaps, days", pa.Check.ge(0)),
        "regular_share": _share("clients with regularity above 0.7, of those with two gaps or more", null=True),
        "historical_days": _count(
            f"the rules' historical interval: the median in whole days; null below {ENOUGH_GAPS} gaps",
            least=1,
            most=WINDOW_DAYS,
            null=True,
        ),
    },
    unique=["company_id", "service_id"],
    rules=[
        _rule(pl.col("clients") <= pl.col("gaps"), "clients <= gaps"),
        _rule(
            pl.col("median_days").is_between("lower_quartile", "upper_quartile"),
            "the median lies between the quartiles",
        ),
        _rule(
            pl.col("historical_days").is_null() == (pl.col("gaps") < ENOUGH_GAPS),
            f"a historical interval from {ENOUGH_GAPS} gaps on",
        ),
        _rule(
            (pl.col("historical_days") - pl.col("median_days")).is_between(0, 0.5),
            "the historical interval is the median, a half counting up",
        ),
    ],
)

ACCOUNT_HEALTH = _contract(
    "account_health",
    {
        "account_id": _count("sending number", pl.Int64, 1),
        "company_id": _COMPANY,
        "channel": _text("channel"),
        "state": _text("working, paused by hand or stopped", ("working", "paused", "stopped")),
        "refusal": _text("why nothing is sent from it now; empty when it may send"),
        "level": _text("warm-up level", ("cold", "warm", "hot")),
        "quality": _text("the channel's rating; null where it has none", null=True),
        "spam_score": _share("how much it looks like a spammer's, 0 to 1"),
        "daily_limit": _count("messages in 24 h now", pl.Int32, 0),
        "sent_24h": _count("messages of the last 24 h", pl.Int32, 0),
        "hourly_limit": _count("messages in 60 min now", pl.Int32, 0),
        "sent_60m": _count("messages of the last 60 min", pl.Int32, 0),
        "cold_limit": _count("of them to clients who never wrote to it, in 24 h", pl.Int32, 0),
        "cold_sent_24h": _count("such messages of the last 24 h", pl.Int32, 0),
        "paused_until": _instant("until when it rests; null: it does not", null=True),
        "ban_count": _count("how often it was banned, locked or logged out", pl.Int32, 0),
    },
    unique=["account_id"],
)

CONTRACTS: dict[str, pa.DataFrameSchema] = {
    contract.name: contract
    for contract in (
        COMPANIES, SERVICES, STAFF, CLIENTS, RECORDS, RULES, CAMPAIGNS, SUPPRESSIONS, PAUSES, OPEN_SLOTS, INACTIVE_CLIENTS,
        PREFERENCE_PROFILES, RANKED_SLOTS, CAMPAIGN_PLAN, GENERATED_MESSAGES, SENT_CAMPAIGNS, CLIENT_RESPONSES, CONVERSIONS,
        CONVERSION_METRICS, VISIT_GAPS, SERVICE_INTERVALS, ACCOUNT_HEALTH,
    )
}  # fmt: skip
