"""The campaign log: what was planned, offered, written and sent, read back as frames and written once.

What to add here: reads and writes of a day's campaigns. What to keep out: sending (outbox.py) and what comes in (inbox.py, responses.py).
Writers only ever fill what is empty: a second run finds the day planned, the slots offered, the text written, and reads them back.
"""

import json
from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl
from sqlalchemy import Connection, Row, text

from reactivation_resources.database.engine import Database, FrameSchema

INSTANT = pl.Datetime("us", "UTC")
MEMORY = timedelta(days=400)  # of what is older, a client's last campaign alone decides anything

_HISTORY = """
SELECT campaign_id::text, company_id, client_id, episode_no, attempt_number, status, held_out, day, planned_at, send_after, sent_at,
       response_type, responded_at, next_attempt_at, completion_reason, completed_at, open_until
FROM reactivation_campaigns c
WHERE planned_at <= %(as_of)s AND (planned_at > %(since)s OR NOT EXISTS (
  SELECT FROM reactivation_campaigns n WHERE (n.company_id, n.client_id) = (c.company_id, c.client_id) AND n.planned_at <= %(as_of)s
    AND (n.episode_no, n.attempt_number) > (c.episode_no, c.attempt_number)))
ORDER BY company_id, client_id, episode_no, attempt_number
"""
_HISTORY_SCHEMA: FrameSchema = {
    "campaign_id": pl.String, "company_id": pl.Int64, "client_id": pl.Int64, "episode_no": pl.Int32, "attempt_number": pl.Int16,
    "status": pl.String, "held_out": pl.Boolean, "day": pl.Date, "planned_at": INSTANT, "send_after": INSTANT, "sent_at": INSTANT,
    "response_type": pl.String, "responded_at": INSTANT, "next_attempt_at": INSTANT, "completion_reason": pl.String,
    "completed_at": INSTANT, "open_until": INSTANT,
}  # fmt: skip

_PLAN = """
SELECT company_id, client_id, service_id, CASE WHEN held_out THEN 'held_out' ELSE 'planned' END AS decision, '' AS reason,
       campaign_id::text, episode_no, attempt_number, discount_percent, lane, send_after, segment, priority, days_since
FROM reactivation_campaigns WHERE day = %(day)s
UNION ALL
SELECT company_id, client_id, service_id, 'deferred', reason, NULL, episode_no, attempt_number, 0, lane, NULL, segment, priority,
       days_since
FROM deferrals WHERE day = %(day)s
ORDER BY company_id, send_after NULLS LAST, client_id
"""
_PLAN_SCHEMA: FrameSchema = {
    "company_id": pl.Int64, "client_id": pl.Int64, "service_id": pl.Int64, "decision": pl.String, "reason": pl.String,
    "campaign_id": pl.String, "episode_no": pl.Int32, "attempt_number": pl.Int16, "discount_percent": pl.Int16, "lane": pl.String,
    "send_after": INSTANT, "segment": pl.String, "priority": pl.Float64, "days_since": pl.Int32,
}  # fmt: skip

_SENT = """
SELECT campaign_id::text, company_id, client_id, service_id, lane, status, send_after, sent_at, delivered_at, read_at, error
FROM reactivation_campaigns WHERE day = %(day)s AND NOT held_out ORDER BY company_id, send_after, client_id
"""
_SENT_SCHEMA: FrameSchema = {
    "campaign_id": pl.String, "company_id": pl.Int64, "client_id": pl.Int64, "service_id": pl.Int64, "lane": pl.String,
    "status": pl.String, "send_after": INSTANT, "sent_at": INSTANT, "delivered_at": INSTANT, "read_at": INSTANT, "error": pl.String,
}  # fmt: skip

_TEXTS = """
SELECT campaign_id::text, company_id, client_id, stage, tone, text_source AS source, template_id, text_template,
       char_length(message_text)::int AS characters, coalesce((writing->>'answers')::int, 0) AS attempts,
       (message_cost * 100)::bigint AS cost_minor, writing->>'model' AS model, writing->>'prompt_version' AS prompt_version,
       writing->>'fallback' AS fallback, coalesce((writing->>'requests')::int, 0) AS requests,
       coalesce((writing->>'input_tokens')::bigint, 0) AS input_tokens, coalesce((writing->>'output_tokens')::bigint, 0) AS output_tokens,
       coalesce((writing->>'cost_micros')::bigint, 0) AS cost_micros
FROM reactivation_campaigns WHERE day = %(day)s AND message_text IS NOT NULL ORDER BY company_id, send_after, client_id
"""
_TEXTS_SCHEMA: FrameSchema = {
    "campaign_id": pl.String, "company_id": pl.Int64, "client_id": pl.Int64, "stage": pl.String, "tone": pl.String,
    "source": pl.String, "template_id": pl.String, "text_template": pl.String, "characters": pl.Int32, "attempts": pl.Int8,
    "cost_minor": pl.Int64, "model": pl.String, "prompt_version": pl.String, "fallback": pl.String, "requests": pl.Int8,
    "input_tokens": pl.Int64, "output_tokens": pl.Int64, "cost_micros": pl.Int64,
}  # fmt: skip

_WORDINGS = """
SELECT campaign_id::text, message_text, text_parts, stage, attempt_number, m.language, m.business_type
FROM reactivation_campaigns JOIN companies m USING (company_id)
WHERE day = :day AND message_text IS NOT NULL AND text_parts IS NOT NULL AND status IN ('planned', 'claimed') ORDER BY campaign_id
"""

_SLOTS = """
SELECT c.company_id, c.client_id, c.service_id, s.rank, s.spare, s.staff_id, s.starts_at::timestamptz, s.local_day::date, s.length_s,
       s.score, s.match_reason
FROM reactivation_campaigns c,
     jsonb_to_recordset(c.slots) AS s(rank int, spare boolean, staff_id bigint, starts_at text, local_day text, length_s bigint,
                                      score bigint, match_reason text)
WHERE c.day = %(day)s ORDER BY c.company_id, c.client_id, s.rank
"""
SLOTS_SCHEMA: FrameSchema = {
    "company_id": pl.Int64, "client_id": pl.Int64, "service_id": pl.Int64, "rank": pl.Int8, "spare": pl.Boolean,
    "staff_id": pl.Int64, "starts_at": INSTANT, "local_day": pl.Date, "length_s": pl.Int64, "score": pl.Int64,
    "match_reason": pl.String,
}  # fmt: skip

# Every campaign of the clients who were written to, or held out, in a span of time: attribution needs all their attempts. A held-out client
# whose episode ended before the moment of the send would not have been written to either, and is compared with nobody.
_FACTS = """
SELECT c.campaign_id::text, c.company_id, c.client_id, c.episode_no, c.attempt_number, c.held_out, c.service_id,
       (SELECT (s.value->>'staff_id')::bigint FROM jsonb_array_elements(c.slots) s WHERE (s.value->>'rank')::int = 1 LIMIT 1) AS staff_id,
       m.timezone, c.send_after, c.sent_at, c.delivered_at, c.read_at, c.stage, c.tone, c.text_source AS source, c.discount_percent,
       (c.message_cost * 100)::bigint AS cost_minor
FROM reactivation_campaigns c JOIN companies m USING (company_id)
WHERE (c.sent_at IS NOT NULL
       -- a message is cancelled when its client books before the send: a held-out one must drop out the same way, or the arms differ
       OR c.held_out AND NOT EXISTS (
         SELECT FROM record_lines r WHERE (r.company_id, r.client_id) = (c.company_id, c.client_id) AND NOT r.deleted
           AND r.status <> 'cancelled' AND r.created_at > c.planned_at AND r.created_at < c.send_after))
  AND (c.company_id, c.client_id) IN (
    SELECT company_id, client_id FROM reactivation_campaigns
    WHERE CASE WHEN held_out THEN send_after ELSE sent_at END >= %(start)s
      AND CASE WHEN held_out THEN send_after ELSE sent_at END < %(end)s)
ORDER BY 2, 3, 4, 5
"""
_FACTS_SCHEMA: FrameSchema = {
    "campaign_id": pl.String, "company_id": pl.Int64, "client_id": pl.Int64, "episode_no": pl.Int32, "attempt_number": pl.Int16,
    "held_out": pl.Boolean, "service_id": pl.Int64, "staff_id": pl.Int64, "timezone": pl.String, "send_after": INSTANT,
    "sent_at": INSTANT, "delivered_at": INSTANT, "read_at": INSTANT, "stage": pl.String, "tone": pl.String, "source": pl.String,
    "discount_percent": pl.Int16, "cost_minor": pl.Int64,
}  # fmt: skip


class CampaignLog:
    """The campaign log of PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self.database = database

    # ------------------------------------------------------------ what was known at T

    def history(self, as_of: datetime) -> pl.DataFrame:
        """Campaigns planned by `as_of`, one row each: those of the last 400 days and every client's last; later facts about them are still in the row and must be masked by the reader."""
        return self.database.frame(_HISTORY, _HISTORY_SCHEMA, as_of=as_of, since=as_of - MEMORY)

    def suppressions(self) -> pl.DataFrame:
        """The suppression ledger: company_id, phone, at, reason, lifted_at."""
        return self.database.frame(
            "SELECT company_id, phone, at, reason, lifted_at FROM suppressions ORDER BY suppression_id",
            {"company_id": pl.Int64, "phone": pl.String, "at": INSTANT, "reason": pl.String, "lifted_at": INSTANT},
        )

    def pauses(self) -> pl.DataFrame:
        """Clients at rest: company_id, client_id, at, until, reason."""
        return self.database.frame(
            "SELECT company_id, client_id, at, until, reason FROM pauses ORDER BY pause_id",
            {"company_id": pl.Int64, "client_id": pl.Int64, "at": INSTANT, "until": INSTANT, "reason": pl.String},
        )

    def contacts(self, as_of: datetime) -> pl.DataFrame:
        """Clients who had written to their salon's number by `as_of`: company_id, client_id."""
        return self.database.frame(
            "SELECT DISTINCT c.company_id, c.client_id FROM clients c JOIN contacts t USING (company_id, phone)"
            " WHERE t.first_inbound_at <= %(as_of)s ORDER BY 1, 2",
            {"company_id": pl.Int64, "client_id": pl.Int64},
            as_of=as_of,
        )

    def stated_preferences(self, as_of: datetime) -> pl.DataFrame:
        """What clients said to prefer by `as_of`: company_id, client_id, kind, value, at."""
        return self.database.frame(
            "SELECT company_id, client_id, kind, value, at FROM stated_preferences WHERE at <= %(as_of)s ORDER BY at, inbox_id",
            {"company_id": pl.Int64, "client_id": pl.Int64, "kind": pl.String, "value": pl.String, "at": INSTANT},
            as_of=as_of,
        )

    # ------------------------------------------------------------ a day, read back

    def plan(self, day: date) -> pl.DataFrame:
        """The day's plan as it was made: planned, held out, deferred (contract `campaign_plan`)."""
        return self.database.frame(_PLAN, _PLAN_SCHEMA, day=day)

    def planned_companies(self, day: date) -> list[int]:
        """Companies whose `day` has been planned."""
        with self.database.begin() as connection:
            query = text("SELECT company_id FROM planned_days WHERE day = :day ORDER BY 1")
            return list(connection.execute(query, {"day": day}).scalars())

    def slots(self, day: date) -> pl.DataFrame:
        """The slots offered and held as spares (contract `ranked_slots`)."""
        return self.database.frame(_SLOTS, SLOTS_SCHEMA, day=day)

    def texts(self, day: date) -> pl.DataFrame:
        """The day's messages with placeholders for what is personal (contract `generated_messages`)."""
        return self.database.frame(_TEXTS, _TEXTS_SCHEMA, day=day)

    def wordings(self, day: date) -> Iterator[Row[Any]]:
        """The day's texts with the wording of their facts, as they are stored: for the judge, never for a frame. Read a piece at a time."""
        with self.database.begin() as connection:
            rows = connection.execution_options(yield_per=1_000).execute(text(_WORDINGS), {"day": day})
            yield from rows

    def sent(self, day: date) -> pl.DataFrame:
        """The day's campaigns with their outcome so far (contract `sent_campaigns`)."""
        return self.database.frame(_SENT, _SENT_SCHEMA, day=day)

    # ------------------------------------------------------------ what came of it

    def facts(self, start: datetime, end: datetime) -> pl.DataFrame:
        """All campaigns of clients with a send (or a held-out one) in [start, end): what `conversions` needs to know of them."""
        return self.database.frame(_FACTS, _FACTS_SCHEMA, start=start, end=end)

    def replies(self, start: datetime) -> pl.DataFrame:
        """Replies to campaigns since `start`: campaign_id, received_at, intent."""
        return self.database.frame(
            "SELECT campaign_id::text, received_at, intent FROM client_responses WHERE campaign_id IS NOT NULL AND received_at >= %(start)s"
            " ORDER BY received_at, inbox_id",
            {"campaign_id": pl.String, "received_at": INSTANT, "intent": pl.String},
            start=start,
        )

    # ------------------------------------------------------------ a day, written once

    def write_plan(self, day: date, as_of: datetime, companies: Iterable[int], rows: Iterable[dict[str, Any]]) -> None:
        """Write the plan of `companies` for `day` in one transaction; companies already planned are left as they are.

        `rows` are `campaign_plan` rows joined with phone, account_id, retry_interval_days, max_attempts and expires_at.
        """
        with self.database.begin() as connection:
            claimed = set(
                connection.execute(
                    text(
                        "INSERT INTO planned_days (company_id, day, planned_at) SELECT unnest(CAST(:companies AS bigint[])), :day, :at"
                        " ON CONFLICT DO NOTHING RETURNING company_id"
                    ),
                    {"companies": sorted(companies), "day": day, "at": as_of},
                ).scalars()
            )
            fresh = [{**row, "day": day, "planned_at": as_of} for row in rows if row["company_id"] in claimed]
            _insert_campaigns(connection, [row for row in fresh if row["decision"] != "deferred"])
            _insert_deferrals(connection, [row for row in fresh if row["decision"] == "deferred"])

    def without_slots(self, day: date) -> list[str]:
        """Planned campaigns of `day` that no slots have been looked up for; one that has its text by now goes without."""
        return self._ids("slots IS NULL AND message_text IS NULL", day)

    def without_text(self, day: date) -> list[str]:
        """Planned campaigns of `day` that have no message yet."""
        return self._ids("message_text IS NULL", day)

    def _ids(self, condition: str, day: date) -> list[str]:
        query = f"SELECT campaign_id::text FROM reactivation_campaigns WHERE day = :day AND status = 'planned' AND {condition} ORDER BY 1"  # noqa: S608 - a constant of this file
        with self.database.begin() as connection:
            return list(connection.execute(text(query), {"day": day}).scalars())

    def write_slots(self, offers: dict[str, list[dict[str, Any]]], checked_at: datetime) -> None:
        """Store each campaign's ranked slots (empty list: looked up, none found); those already stored stay."""
        statement = text(
            "UPDATE reactivation_campaigns SET slots = CAST(:slots AS jsonb), slots_checked_at = :at"
            " WHERE campaign_id = CAST(:campaign AS uuid) AND slots IS NULL AND message_text IS NULL AND status = 'planned'"
        )
        parameters = [
            {"campaign": campaign, "slots": json.dumps(slots, default=str), "at": checked_at}
            for campaign, slots in sorted(offers.items())
        ]
        if parameters:
            with self.database.begin() as connection:
                connection.execute(statement, parameters)

    def write_texts(self, texts: Iterable[dict[str, Any]]) -> None:
        """Store messages: campaign_id, stage, tone, text_source, template_id, text_template, message_text, text_parts, message_cost, writing, personalization, and how many of the best slots are `told`."""
        statement = text(
            "UPDATE reactivation_campaigns SET stage = :stage, tone = :tone, text_source = :text_source, template_id = :template_id,"
            " text_template = :text_template, message_text = :message_text,"
            " slots = coalesce((SELECT jsonb_agg(slot || jsonb_build_object('told', place <= :told) ORDER BY place)"
            "   FROM jsonb_array_elements(CASE jsonb_typeof(slots) WHEN 'array' THEN slots END) WITH ORDINALITY AS s(slot, place)), slots),"
            " text_parts = CAST(:text_parts AS jsonb), message_cost = :message_cost, writing = CAST(:writing AS jsonb),"
            " personalization = personalization || CAST(:personalization AS jsonb)"
            " WHERE campaign_id = CAST(:campaign_id AS uuid) AND message_text IS NULL AND status = 'planned'"
        )
        parameters = list(texts)
        if parameters:
            with self.database.begin() as connection:
                connection.execute(statement, parameters)


def _insert_campaigns(connection: Connection, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    statement = text(
        """
        INSERT INTO reactivation_campaigns (campaign_id, company_id, client_id, episode_no, attempt_number, day, service_id, account_id,
            phone, held_out, status, lane, segment, priority, days_since, discount_percent, retry_interval_days, max_attempts,
            planned_at, send_after, expires_at)
        VALUES (CAST(:campaign_id AS uuid), :company_id, :client_id, :episode_no, :attempt_number, :day, :service_id, :account_id,
            :phone, :held_out, :status, :lane, :segment, :priority, :days_since, :discount_percent, :retry_interval_days, :max_attempts,
            :planned_at, :send_after, :expires_at)
        """
    )
    log = text(
        "INSERT INTO campaign_events (campaign_id, at, event, to_status) VALUES (CAST(:campaign_id AS uuid), :planned_at, 'plan', :status)"
    )
    prepared = [{**row, "held_out": row["decision"] == "held_out", "status": row["decision"]} for row in rows]
    connection.execute(statement, prepared)
    connection.execute(log, prepared)


def _insert_deferrals(connection: Connection, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    statement = text(
        """
        INSERT INTO deferrals (company_id, day, client_id, service_id, reason, episode_no, attempt_number, lane, segment, priority, days_since)
        VALUES (:company_id, :day, :client_id, :service_id, :reason, :episode_no, :attempt_number, :lane, :segment, :priority, :days_since)
        """
    )
    connection.execute(statement, rows)
