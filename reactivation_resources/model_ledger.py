"""What was asked of the model and what it cost: remembered answers, rejected texts, and the day's budget.

What to add here: reads and writes of these three tables. What to keep out: asking (`gemini`) and judging (`reactivation_core.message_rules`).

Money is reserved before a question leaves and corrected when its answer is stored, so no number of runs at a time spends more than the budget;
what a run that died had reserved stays spent. Amounts are millionths of a dollar.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from sqlalchemy import Connection, text

from reactivation_resources.database.engine import Database

ALL_COMPANIES = 0
KEPT = timedelta(days=90)
_MICROS = 1_000_000

_REMEMBERED = """
SELECT content_hash, text, failure, model, prompt_version, answers, requests, input_tokens, output_tokens, cost_micros, latency_ms
FROM model_answers WHERE content_hash = ANY(:hashes) AND at > :since
"""
_REMEMBER = """
INSERT INTO model_answers (content_hash, purpose, company_id, day, at, model, prompt_version, text, failure, answers, requests,
                           input_tokens, output_tokens, cost_micros, latency_ms)
SELECT content_hash, purpose, company_id, day, at, model, prompt_version, text, failure, answers, requests,
       input_tokens, output_tokens, cost_micros, latency_ms
FROM jsonb_populate_recordset(NULL::model_answers, CAST(:rows AS jsonb))
ON CONFLICT (content_hash) DO UPDATE SET
  at = excluded.at, day = excluded.day, text = excluded.text, failure = excluded.failure, answers = excluded.answers,
  requests = excluded.requests, input_tokens = excluded.input_tokens, output_tokens = excluded.output_tokens,
  cost_micros = excluded.cost_micros, latency_ms = excluded.latency_ms, model = excluded.model, prompt_version = excluded.prompt_version
"""
_REJECT = """
INSERT INTO model_rejections (content_hash, company_id, day, at, rule, found, answer)
SELECT content_hash, company_id, day, at, rule, found, answer FROM jsonb_populate_recordset(NULL::model_rejections, CAST(:rows AS jsonb))
"""
_LOCK = """
SELECT company_id, spent_micros FROM model_spending WHERE day = :day AND company_id = ANY(:companies) ORDER BY company_id FOR UPDATE
"""
_ADD = """
UPDATE model_spending s SET spent_micros = greatest(0, s.spent_micros + a.micros)
FROM unnest(CAST(:companies AS bigint[]), CAST(:micros AS bigint[])) AS a (company_id, micros)
WHERE s.day = :day AND s.company_id = a.company_id
"""


@dataclass(frozen=True, slots=True)
class Prices:
    """What a model takes, in dollars a million tokens."""

    input: Decimal
    output: Decimal

    def micros(self, input_tokens: int, output_tokens: int) -> int:
        """The cost of a question and its answer in millionths of a dollar, rounded up."""
        return math.ceil(self.input * input_tokens + self.output * output_tokens)


@dataclass(frozen=True, slots=True)
class Budget:
    """What a day may cost, in millionths of a dollar."""

    total: int
    company: int

    @classmethod
    def dollars(cls, total: Decimal, company: Decimal) -> "Budget":
        """A budget told in dollars."""
        return cls(int(total * _MICROS), int(company * _MICROS))


@dataclass(frozen=True, slots=True)
class Remembered:
    """What came of a question: the accepted answer or why there is none, and what it took."""

    text: str | None
    failure: str | None
    model: str
    prompt_version: str
    answers: int
    requests: int
    input_tokens: int
    output_tokens: int
    cost_micros: int
    latency_ms: int


@dataclass(frozen=True, slots=True)
class Rejection:
    """A rule that an answer broke, the words that broke it, and the answer."""

    rule: str
    found: str
    answer: str


@dataclass(frozen=True, slots=True)
class Entry:
    """An answered question to store. `reserved` is given back, the cost is counted; what failed for a passing reason is not kept."""

    content_hash: str
    company_id: int
    result: Remembered
    rejections: tuple[Rejection, ...]
    reserved: int
    keep: bool = True


class ModelLedger:
    """The ledger of one purpose ("message" or "interval")."""

    def __init__(self, database: Database, purpose: str) -> None:
        self._database = database
        self._purpose = purpose

    def remembered(self, hashes: Sequence[str], since: datetime) -> dict[str, Remembered]:
        """The answers since then to questions of this content."""
        if not hashes:
            return {}
        with self._database.begin() as connection:
            rows = connection.execute(text(_REMEMBERED), {"hashes": list(hashes), "since": since}).mappings().all()
        return {
            row["content_hash"]: Remembered(**{k: v for k, v in row.items() if k != "content_hash"}) for row in rows
        }

    def reserve(self, day: date, questions: Sequence[tuple[int, int]], budget: Budget) -> list[bool]:
        """Reserve money for questions (company, micros) in their order; which of them may be asked."""
        if not questions:
            return []
        with self._database.begin() as connection:
            spent = _locked(connection, day, {company for company, _ in questions})
            granted, added = [], Counter[int]()
            for company, micros in questions:
                fits = (
                    spent[ALL_COMPANIES] + added[ALL_COMPANIES] + micros <= budget.total
                    and spent[company] + added[company] + micros <= budget.company
                )
                granted.append(fits)
                if fits:
                    added.update({ALL_COMPANIES: micros, company: micros})
            _add(connection, day, added)
        return granted

    def store(self, day: date, at: datetime, entries: Iterable[Entry]) -> None:
        """Store what came of questions, and correct what was reserved for them."""
        listed = list({entry.content_hash: entry for entry in entries}.values())
        if not listed:
            return
        surplus = Counter[int]()
        for entry in listed:
            difference = entry.result.cost_micros - entry.reserved
            surplus.update({ALL_COMPANIES: difference, entry.company_id: difference})
        with self._database.begin() as connection:
            _locked(connection, day, {entry.company_id for entry in listed})
            _add(connection, day, surplus)
            connection.execute(
                text(_REMEMBER), {"rows": _json(self._answer(entry, day, at) for entry in listed if entry.keep)}
            )
            connection.execute(text(_REJECT), {"rows": _json(_rejections(listed, day, at))})

    def rejections(self, day: date) -> dict[str, int]:
        """How often answers of a day broke each rule."""
        query = "SELECT rule, count(*) FROM model_rejections WHERE day = :day GROUP BY rule ORDER BY 2 DESC, 1"
        with self._database.begin() as connection:
            return {row[0]: row[1] for row in connection.execute(text(query), {"day": day})}

    def spent(self, day: date, company: int = ALL_COMPANIES) -> int:
        """What a day has cost so far, reservations included."""
        query = "SELECT coalesce(sum(spent_micros), 0) FROM model_spending WHERE day = :day AND company_id = :company"
        with self._database.begin() as connection:
            return int(connection.execute(text(query), {"day": day, "company": company}).scalar_one())

    def trim(self, today: date) -> None:
        """Forget what is older than ninety days."""
        with self._database.begin() as connection:
            for table in ("model_answers", "model_rejections", "model_spending"):
                connection.execute(text(f"DELETE FROM {table} WHERE day < :before"), {"before": today - KEPT})  # noqa: S608

    def _answer(self, entry: Entry, day: date, at: datetime) -> dict[str, object]:
        known = {name: getattr(entry.result, name) for name in Remembered.__slots__}
        about = {"content_hash": entry.content_hash, "company_id": entry.company_id, "purpose": self._purpose}
        return {**known, **about, "day": day, "at": at}


def _rejections(entries: Iterable[Entry], day: date, at: datetime) -> Iterable[dict[str, object]]:
    for entry in entries:
        for one in entry.rejections:
            about = {"content_hash": entry.content_hash, "company_id": entry.company_id, "day": day, "at": at}
            yield {**about, "rule": one.rule, "found": _clean(one.found), "answer": _clean(one.answer)}


def _clean(raw: str) -> str:
    """Text that PostgreSQL takes, of a length worth keeping."""
    return raw.replace("\x00", "").encode("utf-8", "replace").decode()[:2_000]


def _json(rows: Iterable[Mapping[str, object]]) -> str:
    return json.dumps(list(rows), default=str)


def _locked(connection: Connection, day: date, companies: set[int]) -> dict[int, int]:
    """Lock the day's amounts in the order of their keys, so that no two runs wait for each other; what has been spent."""
    wanted = sorted(companies | {ALL_COMPANIES})
    connection.execute(
        text(
            "INSERT INTO model_spending (day, company_id) SELECT :day, unnest(CAST(:companies AS bigint[])) ON CONFLICT DO NOTHING"
        ),
        {"day": day, "companies": wanted},
    )
    rows = connection.execute(text(_LOCK), {"day": day, "companies": wanted}).all()
    return {row.company_id: row.spent_micros for row in rows}


def _add(connection: Connection, day: date, amounts: Mapping[int, int]) -> None:
    changed = {company: micros for company, micros in amounts.items() if micros}
    if changed:
        connection.execute(text(_ADD), {"day": day, "companies": list(changed), "micros": list(changed.values())})
