"""The tables: everything that must not be lost or done twice.

What to add here: tables, keys and constraints. What to keep out: queries (they live in the door that asks them) and anything that
can be computed again (that goes to the lake). Keys are the CRM's own ids; money is numeric in major units; every instant has a zone;
unique keys make doubles impossible whatever the code does.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    MetaData,
    Numeric,
    SmallInteger,
    String,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

CAMPAIGN_STATUSES = (
    "planned", "claimed", "sending", "accepted", "delivered", "read", "failed", "unknown", "cancelled", "expired", "held_out",
)  # fmt: skip
INBOX_KINDS = ("message", "ack", "session", "template", "preference", "malformed", "crm")
COMPLETION_REASONS = ("converted", "max_attempts", "opted_out", "declined", "cancelled")


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


class Base(DeclarativeBase):
    """Declarative base: constraint names are stable, instants carry their zone."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own name and form
        datetime: DateTime(timezone=True),
        int: BigInteger,
        Decimal: Numeric(14, 2),
        dict[str, Any]: JSONB,
        list[Any]: JSONB,
        str: Text,
    }


# ---------------------------------------------------------------- the CRM mirror


class Company(Base):
    """A salon location; the key is its CRM id."""

    __tablename__ = "companies"

    company_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    title: Mapped[str]
    business_type: Mapped[str] = mapped_column(server_default="other")
    timezone: Mapped[str]
    country: Mapped[str] = mapped_column(String(2))
    currency: Mapped[str] = mapped_column(String(3))
    phone: Mapped[str | None]
    language: Mapped[str] = mapped_column(server_default="ru")
    consent_basis: Mapped[str | None]
    accepted_risks: Mapped[list[str]] = mapped_column(
        ARRAY(Text), server_default="{}", comment="channel policies whose risk the owner has taken in writing"
    )
    crm_source: Mapped[str] = mapped_column(server_default="yclients")
    crm_status: Mapped[str] = mapped_column(server_default="active")
    exported_at: Mapped[datetime | None]
    changed_after: Mapped[datetime | None] = mapped_column(comment="the mirror's watermark; null: not mirrored yet")
    load_started_at: Mapped[datetime | None] = mapped_column(comment="when the first load began")
    loaded_back_to: Mapped[date | None] = mapped_column(comment="the first load has the journal from this local day on")
    catalogue_at: Mapped[datetime | None] = mapped_column(
        comment="when the company's card, services, staff and the list of its clients were last compared with the CRM"
    )
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        CheckConstraint(
            _one_of("business_type", ("beauty", "barbershop", "dental", "fitness", "other")), "business_type"
        ),
        CheckConstraint(_one_of("crm_source", ("yclients", "import")), "crm_source"),
        CheckConstraint(
            _one_of("crm_status", ("active", "frozen", "uninstalled", "no_access", "suspended")), "crm_status"
        ),
    )


class Service(Base):
    """A service of a company, by its CRM id."""

    __tablename__ = "services"

    company_id: Mapped[int] = mapped_column(ForeignKey("companies.company_id", ondelete="CASCADE"), primary_key=True)
    service_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    title: Mapped[str]
    category: Mapped[str | None]
    list_price: Mapped[Decimal] = mapped_column(server_default="0")
    duration_s: Mapped[int | None]
    active: Mapped[bool] = mapped_column(server_default=text("true"))


class Staff(Base):
    """A staff member of a company, by CRM id; `service_ids` null means: may do anything."""

    __tablename__ = "staff"

    company_id: Mapped[int] = mapped_column(ForeignKey("companies.company_id", ondelete="CASCADE"), primary_key=True)
    staff_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str]
    phone: Mapped[str | None]
    active: Mapped[bool] = mapped_column(server_default=text("true"))
    service_ids: Mapped[list[int] | None] = mapped_column(ARRAY(BigInteger))


class Client(Base):
    """A person of one company. `phone` is E.164, or null when what the CRM holds is no phone (`phone_raw` keeps it)."""

    __tablename__ = "clients"

    company_id: Mapped[int] = mapped_column(ForeignKey("companies.company_id", ondelete="CASCADE"), primary_key=True)
    client_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str]
    phone_raw: Mapped[str | None]
    phone: Mapped[str | None]
    mailing_refused: Mapped[bool] = mapped_column(server_default=text("false"))
    blacklisted: Mapped[bool] = mapped_column(server_default=text("false"))
    consent: Mapped[bool | None]
    deleted: Mapped[bool] = mapped_column(server_default=text("false"))

    __table_args__ = (Index(None, "company_id", "phone"),)


class RecordLine(Base):
    """One service of one row in the CRM's journal, past or future. A visit may have several lines."""

    __tablename__ = "record_lines"

    company_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    record_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    line: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    client_id: Mapped[int | None]
    starts_at: Mapped[datetime]
    staff_id: Mapped[int | None]
    service_id: Mapped[int | None]
    price: Mapped[Decimal | None]
    status: Mapped[str]
    deleted: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint(_one_of("status", ("attended", "booked", "confirmed", "no_show", "cancelled")), "status"),
        Index(None, "company_id", "client_id", "starts_at"),
    )


class VisitChange(Base):
    """When a client's journal last changed; triggers on `record_lines` keep it, so that no writer can forget."""

    __tablename__ = "visit_changes"

    company_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    client_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    version: Mapped[int] = mapped_column(index=True, comment="the version of `records` that the change raised")


class MirrorVersion(Base):
    """A counter per mirrored table, raised by every transaction that changes it; the lake's snapshots carry it."""

    __tablename__ = "mirror_versions"

    name: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int]


class RejectedRow(Base):
    """A row that could not be taken, kept with its reason."""

    __tablename__ = "rejected_rows"

    rejected_id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    company_id: Mapped[int | None]
    source: Mapped[str]
    line: Mapped[int | None]
    reason: Mapped[str]
    content: Mapped[dict[str, Any]]
    content_hash: Mapped[str]
    rejected_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (UniqueConstraint("source", "content_hash", "reason"),)


# ---------------------------------------------------------------- settings, rules, accounts


class CompanySettings(Base):
    """What a salon may set."""

    __tablename__ = "reactivation_settings"

    company_id: Mapped[int] = mapped_column(ForeignKey("companies.company_id", ondelete="CASCADE"), primary_key=True)
    enabled: Mapped[bool] = mapped_column(server_default=text("false"))
    tone: Mapped[str] = mapped_column(server_default="friendly")
    daily_limit_mode: Mapped[str] = mapped_column(server_default="auto")
    manual_daily_limit: Mapped[int | None] = mapped_column(SmallInteger)
    sending_hour_from: Mapped[int] = mapped_column(SmallInteger, server_default="10")
    sending_hour_to: Mapped[int] = mapped_column(SmallInteger, server_default="19")
    sending_days: Mapped[list[int]] = mapped_column(ARRAY(SmallInteger), server_default="{1,2,3,4,5}")
    include_slots_in_message: Mapped[bool] = mapped_column(server_default=text("true"))
    max_slots_to_offer: Mapped[int] = mapped_column(SmallInteger, server_default="3")
    conversion_threshold: Mapped[Decimal] = mapped_column(Numeric(4, 3), server_default="0.100")
    holdout_percent: Mapped[int] = mapped_column(SmallInteger, server_default="10")
    personal_factor: Mapped[Decimal] = mapped_column(Numeric(4, 2), server_default="1.5")
    max_days_inactive: Mapped[int] = mapped_column(SmallInteger, server_default="365")
    min_days_since_visit: Mapped[int] = mapped_column(SmallInteger, server_default="14")

    __table_args__ = (
        CheckConstraint(_one_of("tone", ("friendly", "professional", "casual")), "tone"),
        CheckConstraint(_one_of("daily_limit_mode", ("auto", "manual")), "daily_limit_mode"),
        CheckConstraint("manual_daily_limit >= 0", "manual_daily_limit"),
        CheckConstraint(
            "0 <= sending_hour_from AND sending_hour_from < sending_hour_to AND sending_hour_to <= 24", "hours"
        ),
        CheckConstraint("sending_days <@ '{1,2,3,4,5,6,7}'::smallint[]", "sending_days"),
        CheckConstraint("max_slots_to_offer BETWEEN 0 AND 5", "max_slots_to_offer"),
        CheckConstraint("holdout_percent BETWEEN 0 AND 50", "holdout_percent"),
    )


class ServiceRule(Base):
    """After how many days a service is overdue, how often we try, with which discounts."""

    __tablename__ = "service_reactivation_rules"

    company_id: Mapped[int] = mapped_column(ForeignKey("companies.company_id", ondelete="CASCADE"), primary_key=True)
    service_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    manual_interval: Mapped[int | None] = mapped_column(SmallInteger)
    calculated_avg_interval: Mapped[int | None] = mapped_column(SmallInteger)
    ai_suggested_interval: Mapped[int | None] = mapped_column(SmallInteger)
    default_interval: Mapped[int] = mapped_column(SmallInteger, server_default="30")
    retry_interval_days: Mapped[int] = mapped_column(SmallInteger, server_default="14")
    max_attempts: Mapped[int] = mapped_column(SmallInteger, server_default="3")
    discount_progression: Mapped[list[int]] = mapped_column(ARRAY(SmallInteger), server_default="{10,15,20}")
    active: Mapped[bool] = mapped_column(server_default=text("true"))

    __table_args__ = (
        CheckConstraint("manual_interval BETWEEN 1 AND 730", "manual_interval"),
        CheckConstraint("retry_interval_days BETWEEN 1 AND 365", "retry_interval_days"),
        CheckConstraint("max_attempts BETWEEN 1 AND 10", "max_attempts"),
    )


class Account(Base):
    """The salon's sending number on one channel, with its health."""

    __tablename__ = "channel_accounts"

    account_id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    company_id: Mapped[int] = mapped_column(ForeignKey("companies.company_id", ondelete="CASCADE"))
    channel: Mapped[str]
    session: Mapped[str]
    phone: Mapped[str | None]
    state: Mapped[str] = mapped_column(server_default="working")
    first_sent_at: Mapped[datetime | None]
    paused_until: Mapped[datetime | None]
    cold_lane_off_until: Mapped[datetime | None]
    limit_override: Mapped[int | None] = mapped_column(SmallInteger)
    level_reset_at: Mapped[datetime | None]
    spam_score: Mapped[float] = mapped_column(server_default="0")
    ban_count: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    preference: Mapped[int] = mapped_column(
        SmallInteger, server_default="0", comment="of a company's accounts the lowest is used first"
    )
    business_id: Mapped[str | None] = mapped_column(
        index=True, comment="the channel's name of the business that owns the number, its templates and its limit"
    )
    quality: Mapped[str | None] = mapped_column(comment="GREEN, YELLOW or RED, as the channel rates the number")
    clients_a_day: Mapped[int | None] = mapped_column(
        comment="the business's limit of different clients in 24 h; null: none or unknown"
    )
    new_chats_left: Mapped[int | None] = mapped_column(comment="new chats the number may still begin; null: unlimited")
    checked_at: Mapped[datetime | None] = mapped_column(comment="when the channel was last asked about the number")

    __table_args__ = (
        UniqueConstraint("channel", "session"),
        UniqueConstraint("company_id", "channel"),
        CheckConstraint(_one_of("state", ("working", "paused", "stopped")), "state"),
    )


class AccountEvent(Base):
    """History of an account's health: signals, scores, pauses."""

    __tablename__ = "account_events"

    event_id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("channel_accounts.account_id", ondelete="CASCADE"), index=True)
    at: Mapped[datetime]
    kind: Mapped[str]
    detail: Mapped[dict[str, Any]] = mapped_column(server_default="{}")


class ChannelNumber(Base):
    """Whether a phone is on a channel, as the channel last said, and how it names the chat. A cache: it may be emptied."""

    __tablename__ = "channel_numbers"

    channel: Mapped[str] = mapped_column(primary_key=True)
    phone: Mapped[str] = mapped_column(primary_key=True)
    reachable: Mapped[bool]
    contact_id: Mapped[str | None]
    checked_at: Mapped[datetime]


class MessageTemplate(Base):
    """A template that the channel keeps for a business, as it was when last heard of."""

    __tablename__ = "message_templates"

    business_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    language: Mapped[str] = mapped_column(primary_key=True)
    template_id: Mapped[str | None] = mapped_column(comment="the channel's own id")
    category: Mapped[str]
    status: Mapped[str] = mapped_column(
        comment="APPROVED, PENDING, REJECTED, PAUSED, DISABLED…, in the channel's words"
    )
    quality: Mapped[str | None]
    body: Mapped[str]
    parts: Mapped[list[str]] = mapped_column(
        ARRAY(Text), comment="which part of our text stands in each place, in order"
    )
    named: Mapped[bool] = mapped_column(server_default=text("false"), comment="the places have names, not numbers")
    usable: Mapped[bool] = mapped_column(comment="ours to send: all its places are known and it breaks no rule")
    reason: Mapped[str | None] = mapped_column(comment="why it is not usable, or why the channel refused it")
    synced_at: Mapped[datetime]


# ---------------------------------------------------------------- the model that writes


class ModelAnswer(Base):
    """What came of a question to the model, by the question's content: asked again within its time, it costs nothing."""

    __tablename__ = "model_answers"

    content_hash: Mapped[str] = mapped_column(primary_key=True)
    purpose: Mapped[str] = mapped_column(comment="message or interval")
    company_id: Mapped[int]
    day: Mapped[date] = mapped_column(index=True)
    at: Mapped[datetime]
    model: Mapped[str]
    prompt_version: Mapped[str]
    text: Mapped[str | None] = mapped_column(comment="the accepted answer, with placeholders; null: none was")
    failure: Mapped[str | None] = mapped_column(comment="why none was accepted")
    answers: Mapped[int] = mapped_column(SmallInteger)
    requests: Mapped[int] = mapped_column(SmallInteger)
    input_tokens: Mapped[int]
    output_tokens: Mapped[int]
    cost_micros: Mapped[int] = mapped_column(comment="millionths of a dollar")
    latency_ms: Mapped[int]


class ModelRejection(Base):
    """A rule that an answer broke, with the answer."""

    __tablename__ = "model_rejections"

    rejection_id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    content_hash: Mapped[str]
    company_id: Mapped[int]
    day: Mapped[date] = mapped_column(index=True)
    at: Mapped[datetime]
    rule: Mapped[str] = mapped_column(comment="the broken rule, by name")
    found: Mapped[str] = mapped_column(comment="the words that broke it")
    answer: Mapped[str] = mapped_column(comment="the rejected text, with placeholders")


class ModelSpending(Base):
    """What the model has cost on a day, by company and in all; reservations of questions under way are part of it."""

    __tablename__ = "model_spending"

    day: Mapped[date] = mapped_column(primary_key=True)
    company_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, comment="0: all companies together")
    spent_micros: Mapped[int] = mapped_column(
        server_default="0", comment="millionths of a dollar, reserved ones included"
    )


# ---------------------------------------------------------------- campaigns: the log and the outbox


class Campaign(Base):
    """One attempt: one planned message to one client. The row is the outbox entry and the log of what became of it."""

    __tablename__ = "reactivation_campaigns"

    campaign_id: Mapped[UUID] = mapped_column(primary_key=True)
    company_id: Mapped[int]
    client_id: Mapped[int]
    episode_no: Mapped[int] = mapped_column(SmallInteger)
    attempt_number: Mapped[int] = mapped_column(SmallInteger)
    day: Mapped[date]
    service_id: Mapped[int]
    account_id: Mapped[int | None] = mapped_column(ForeignKey("channel_accounts.account_id"))
    phone: Mapped[str] = mapped_column(
        comment="E.164, as planned; a later change of number does not redirect a message"
    )
    held_out: Mapped[bool] = mapped_column(server_default=text("false"))
    status: Mapped[str]
    lane: Mapped[str]
    segment: Mapped[str]
    priority: Mapped[float]
    days_since: Mapped[int]
    discount_percent: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    retry_interval_days: Mapped[int] = mapped_column(SmallInteger)
    max_attempts: Mapped[int] = mapped_column(SmallInteger)
    planned_at: Mapped[datetime] = mapped_column(comment="the as-of instant of the plan")
    send_after: Mapped[datetime]
    expires_at: Mapped[datetime]
    # what it says
    slots: Mapped[list[Any] | None] = mapped_column(comment="offered and spare slots, ranked")
    slots_checked_at: Mapped[datetime | None]
    stage: Mapped[str | None]
    tone: Mapped[str | None]
    text_source: Mapped[str | None]
    template_id: Mapped[str | None]
    text_template: Mapped[str | None]
    message_text: Mapped[str | None]
    text_parts: Mapped[dict[str, str] | None] = mapped_column(
        JSONB, comment="the text's parts by name, for the places of a template"
    )
    sent_template: Mapped[str | None] = mapped_column(comment="the template that went in the text's place")
    message_cost: Mapped[Decimal] = mapped_column(Numeric(14, 4), server_default="0")
    writing: Mapped[dict[str, Any] | None] = mapped_column(
        comment="how the text was written: model, prompt_version, answers, requests, tokens, cost in millionths of a dollar, latency, why a template"
    )
    # how it went
    lease_owner: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    tries: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    sending_at: Mapped[datetime | None] = mapped_column(comment="committed before the request left; limits count it")
    sent_at: Mapped[datetime | None]
    provider_message_id: Mapped[str | None]
    provider_contact_id: Mapped[str | None]
    delivered_at: Mapped[datetime | None]
    read_at: Mapped[datetime | None]
    failed_at: Mapped[datetime | None]
    error: Mapped[str | None]
    # what came of it
    responded_at: Mapped[datetime | None] = mapped_column(comment="first reply, kept for ever")
    response_type: Mapped[str | None]
    intent: Mapped[str | None]
    personalization: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    open_until: Mapped[datetime | None]
    next_attempt_at: Mapped[datetime | None]
    booked_record_id: Mapped[int | None]
    booked_at: Mapped[datetime | None]
    completion_reason: Mapped[str | None]
    completed_at: Mapped[datetime | None]
    context_synced_at: Mapped[datetime | None]

    __table_args__ = (
        ForeignKeyConstraint(["company_id", "client_id"], ["clients.company_id", "clients.client_id"]),
        UniqueConstraint("company_id", "client_id", "episode_no", "attempt_number"),
        Index(
            "uq_reactivation_campaigns_one_unsent",
            "company_id",
            "client_id",
            unique=True,
            postgresql_where=text("status IN ('planned', 'claimed', 'sending')"),
        ),
        UniqueConstraint("provider_message_id"),
        Index("ix_reactivation_campaigns_due", "send_after", postgresql_where=text("status IN ('planned', 'claimed')")),
        Index(
            "ix_reactivation_campaigns_unsettled",
            "account_id",
            "send_after",
            postgresql_where=text("status IN ('planned', 'claimed', 'sending')"),
        ),
        Index("ix_reactivation_campaigns_unknown", "account_id", "phone", postgresql_where=text("status = 'unknown'")),
        Index(
            "ix_reactivation_campaigns_open_episodes",
            "company_id",
            "client_id",
            postgresql_where=text("completion_reason IS NULL"),
        ),
        Index(None, "account_id", "sending_at"),
        Index(None, "company_id", "day"),
        Index(None, "company_id", "phone"),
        Index(None, "day"),
        CheckConstraint(_one_of("status", CAMPAIGN_STATUSES), "status"),
        CheckConstraint(_one_of("completion_reason", COMPLETION_REASONS), "completion_reason"),
        CheckConstraint("held_out = (status = 'held_out')", "held_out"),
        CheckConstraint("(completion_reason IS NULL) = (completed_at IS NULL)", "completed"),
        CheckConstraint("status <> 'sending' OR sending_at IS NOT NULL", "sending_at"),
        CheckConstraint(_one_of("lane", ("warm", "cold")), "lane"),
    )


class CampaignEvent(Base):
    """Every change of a campaign's status, in order."""

    __tablename__ = "campaign_events"

    event_id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    campaign_id: Mapped[UUID] = mapped_column(
        ForeignKey("reactivation_campaigns.campaign_id", ondelete="CASCADE"), index=True
    )
    at: Mapped[datetime]
    event: Mapped[str]
    from_status: Mapped[str | None]
    to_status: Mapped[str]
    detail: Mapped[dict[str, Any]] = mapped_column(server_default="{}")


class PlannedDay(Base):
    """A company's day that has been planned. It is planned once: a second run reads back."""

    __tablename__ = "planned_days"

    company_id: Mapped[int] = mapped_column(ForeignKey("companies.company_id", ondelete="CASCADE"), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    planned_at: Mapped[datetime]


class Deferral(Base):
    """An eligible client who did not fit into the day's plan, and why."""

    __tablename__ = "deferrals"

    company_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    day: Mapped[date] = mapped_column(primary_key=True)
    client_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    service_id: Mapped[int]
    reason: Mapped[str]
    episode_no: Mapped[int] = mapped_column(SmallInteger)
    attempt_number: Mapped[int] = mapped_column(SmallInteger)
    lane: Mapped[str]
    segment: Mapped[str]
    priority: Mapped[float]
    days_since: Mapped[int]

    __table_args__ = (
        ForeignKeyConstraint(
            ["company_id", "day"], ["planned_days.company_id", "planned_days.day"], ondelete="CASCADE"
        ),
    )


# ---------------------------------------------------------------- what comes in


class InboxMessage(Base):
    """An inbound event of a channel, raw, stored before anything else happens to it."""

    __tablename__ = "inbox"

    inbox_id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    channel: Mapped[str]
    event_key: Mapped[str]
    kind: Mapped[str]
    account_id: Mapped[int | None] = mapped_column(ForeignKey("channel_accounts.account_id"))
    company_id: Mapped[int | None]
    contact_id: Mapped[str | None]
    phone: Mapped[str | None]
    quoted_message_id: Mapped[str | None]
    message_id: Mapped[str | None]
    body: Mapped[str | None]
    payload: Mapped[dict[str, Any] | None]
    occurred_at: Mapped[datetime]
    received_at: Mapped[datetime]
    processed_at: Mapped[datetime | None]
    error: Mapped[str | None]

    __table_args__ = (
        UniqueConstraint("channel", "event_key"),
        CheckConstraint(_one_of("kind", INBOX_KINDS), "kind"),
        Index("ix_inbox_unprocessed", "inbox_id", postgresql_where=text("processed_at IS NULL")),
        Index(
            "ix_inbox_waiting_acks",
            "account_id",
            "message_id",
            postgresql_where=text("kind = 'ack' AND processed_at IS NULL"),
        ),
        Index("ix_inbox_chats", "account_id", "contact_id", postgresql_where=text("kind = 'message'")),
        Index(None, "company_id", "phone"),
    )


class ClientResponse(Base):
    """A classified reply; one row per inbound message, so that classifying again changes nothing."""

    __tablename__ = "client_responses"

    inbox_id: Mapped[int] = mapped_column(ForeignKey("inbox.inbox_id"), primary_key=True, autoincrement=False)
    company_id: Mapped[int | None]
    client_id: Mapped[int | None]
    campaign_id: Mapped[UUID | None] = mapped_column(ForeignKey("reactivation_campaigns.campaign_id"), index=True)
    received_at: Mapped[datetime]
    day: Mapped[date] = mapped_column(index=True, comment="the platform's day of the reply")
    response_type: Mapped[str]
    intent: Mapped[str]
    layer: Mapped[str]
    slot_starts_at: Mapped[datetime | None]
    pause_until: Mapped[date | None]
    extracted: Mapped[dict[str, Any]] = mapped_column(server_default="{}")


class Contact(Base):
    """A phone that has written to a company's number: its clients are in the warm lane."""

    __tablename__ = "contacts"

    company_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    phone: Mapped[str] = mapped_column(primary_key=True)
    first_inbound_at: Mapped[datetime]
    last_inbound_at: Mapped[datetime]


class Suppression(Base):
    """Ledger: a phone that one company must never write to again, on any channel."""

    __tablename__ = "suppressions"

    suppression_id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    company_id: Mapped[int]
    phone: Mapped[str]
    reason: Mapped[str]
    source: Mapped[str]
    inbox_id: Mapped[int | None] = mapped_column(ForeignKey("inbox.inbox_id"))
    at: Mapped[datetime]
    lifted_at: Mapped[datetime | None]

    __table_args__ = (
        Index(
            "uq_suppressions_in_force", "company_id", "phone", unique=True, postgresql_where=text("lifted_at IS NULL")
        ),
        Index(None, "inbox_id"),  # a row of the inbox can be removed without reading the whole ledger
    )


class Consent(Base):
    """Ledger: who agreed to what, when, and on which words."""

    __tablename__ = "consents"

    consent_id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    company_id: Mapped[int]
    client_id: Mapped[int | None] = mapped_column(comment="null: all clients of the company")
    purpose: Mapped[str] = mapped_column(server_default="marketing")
    granted: Mapped[bool]
    basis: Mapped[str]
    at: Mapped[datetime]

    __table_args__ = (
        Index(
            "uq_consents_entry",
            "company_id",
            text("coalesce(client_id, 0)"),
            "purpose",
            "granted",
            "basis",
            "at",
            unique=True,
        ),
    )


class Pause(Base):
    """A client who asked for, or deserves, a rest."""

    __tablename__ = "pauses"

    pause_id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    company_id: Mapped[int]
    client_id: Mapped[int]
    at: Mapped[datetime]
    until: Mapped[datetime]
    reason: Mapped[str]
    inbox_id: Mapped[int | None] = mapped_column(ForeignKey("inbox.inbox_id"), unique=True)

    __table_args__ = (Index(None, "company_id", "client_id"),)


class StatedPreference(Base):
    """What a client said to prefer, every time it was said."""

    __tablename__ = "stated_preferences"

    inbox_id: Mapped[int] = mapped_column(ForeignKey("inbox.inbox_id"), primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(primary_key=True)
    company_id: Mapped[int]
    client_id: Mapped[int]
    value: Mapped[str]
    at: Mapped[datetime]

    __table_args__ = (Index(None, "company_id", "client_id"),)


# ---------------------------------------------------------------- people who run it


class Alert(Base):
    """Something a human must see. A row first, a message second; repeats are folded."""

    __tablename__ = "alerts"

    alert_id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    company_id: Mapped[int | None]
    kind: Mapped[str]
    fold_key: Mapped[str] = mapped_column(unique=True)
    message: Mapped[str]
    times: Mapped[int] = mapped_column(server_default="1")
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]
    told_at: Mapped[datetime | None] = mapped_column(comment="when people were last told of it")
    told_times: Mapped[int] = mapped_column(server_default="0", comment="how many of its times they were told of")


class ApiKey(Base):
    """A key to the HTTP API, stored hashed; without a company it is an admin's."""

    __tablename__ = "api_keys"

    key_id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    company_id: Mapped[int | None] = mapped_column(ForeignKey("companies.company_id", ondelete="CASCADE"))
    name: Mapped[str]
    key_hash: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    revoked_at: Mapped[datetime | None]
