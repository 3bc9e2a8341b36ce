"""The door to the booking CRM (YClients, sold abroad as Altegio with the same API).

A thin client of the few calls we need. Reads are retried, within bounds and within one shared rate limit; a failed read is an error and
never an empty answer, so that an outage cannot look like "no visits" or "no free slots".
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import httpx
import polars as pl

from reactivation_core.local_time import local_to_instant, parse_zone
from reactivation_resources.database.engine import FrameSchema
from reactivation_resources.rate_limit import Limits, RateLimiter

PUBLISHED_LIMITS: Limits = ((5, 1), (200, 60))  # calls a second and a minute, per address
RETRIES = 3
PAUSES = (0.5, 1.0, 2.0)  # seconds, where the server names none
LONGEST_PAUSE = 60.0
PAGE = 200
WORKERS = 4
SLOTS_SCHEMA: FrameSchema = {
    "company_id": pl.Int64,
    "service_id": pl.Int64,
    "staff_id": pl.Int64,
    "starts_at": pl.Datetime("us", "UTC"),
    "length_s": pl.Int64,
}


_UNSTORABLE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")  # escapes of NUL and of half a character, which no table takes


class CrmError(RuntimeError):
    """The CRM did not answer a question. `permanent`: asking again will not help (token, licence, no such company)."""

    def __init__(self, message: str, *, status: int | None = None, permanent: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.permanent = permanent


@dataclass(frozen=True)
class SlotQuestion:
    """One `book_times` call: the free times of one staff member on one local day for one service."""

    company_id: int
    service_id: int
    staff_id: int
    day: date
    zone: str


@dataclass
class SlotAnswer:
    """Open slots (company_id, service_id, staff_id, starts_at, length_s) and the companies that could not be asked, with the reason."""

    slots: pl.DataFrame
    failed: dict[int, str] = field(default_factory=dict)


class YClients:
    """The CRM by its base URL and tokens. `sources`: the `crm_source` values of companies it can be asked about."""

    def __init__(
        self,
        base_url: str,
        partner_token: str | None,
        user_token: str | None,
        limiter: RateLimiter,
        *,
        sources: frozenset[str] = frozenset({"yclients"}),
        sleep: Callable[[float], None] = time.sleep,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._sources = sources
        self._limiter = limiter
        self._sleep = sleep
        authorization = f"Bearer {partner_token or ''}" + (f", User {user_token}" if user_token else "")
        self._http = httpx.Client(
            headers={
                "Authorization": authorization,
                "Accept": "application/vnd.yclients.v2+json",
                "Content-Type": "application/json",
            },
            timeout=httpx.Timeout(30, connect=5),
            transport=transport,
            trust_env=True,
        )
        self.configured = bool(partner_token)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def serves(self, crm_source: str) -> bool:
        """Whether companies of this source can be asked about."""
        return self.configured and crm_source in self._sources

    # ------------------------------------------------------------ mirror

    def company(self, company_id: int) -> dict[str, Any]:
        """The company's card."""
        data, _ = self._get(f"company/{company_id}/")
        return _mapping(data)

    def staff(self, company_id: int) -> list[dict[str, Any]]:
        """All staff, also those who left."""
        data, _ = self._get(f"company/{company_id}/staff/")
        return _rows(data)

    def services(self, company_id: int) -> list[dict[str, Any]]:
        """All services."""
        data, _ = self._get(f"company/{company_id}/services/")
        return _rows(data)

    def clients(self, company_id: int, changed_after: str | None) -> Iterator[dict[str, Any]]:
        """Client cards changed since a local time (`YYYY-MM-DDTHH:MM:SS`), all of them when None."""
        return self._pages(f"clients/{company_id}", {"changed_after": changed_after} if changed_after else {})

    def records(
        self, company_id: int, *, changed_after: str | None, start_date: date | None
    ) -> Iterator[dict[str, Any]]:
        """Journal rows, deleted ones too, changed since a local time and starting no earlier than a local day."""
        parameters: dict[str, str] = {"with_deleted": "1", "include_consumables": "0"}
        if changed_after:
            parameters["changed_after"] = changed_after
        if start_date:
            parameters["start_date"] = start_date.isoformat()
        return self._pages(f"records/{company_id}", parameters)

    # ------------------------------------------------------------ availability

    def open_slots(self, questions: Iterable[SlotQuestion]) -> SlotAnswer:
        """Ask every distinct question once, a few at a time. A company with a failed call is left out whole and named."""
        asked = sorted(set(questions), key=lambda q: (q.company_id, q.service_id, q.staff_id, q.day))
        rows: list[tuple[int, int, int, datetime, int]] = []
        failed: dict[int, str] = {}

        def ask(question: SlotQuestion) -> list[tuple[int, int, int, datetime, int]] | None:
            if question.company_id in failed:
                return None
            try:
                return self._book_times(question)
            except CrmError as error:
                failed[question.company_id] = str(error)
                return None

        with ThreadPoolExecutor(WORKERS, thread_name_prefix="yclients") as pool:
            for answer in pool.map(ask, asked):
                rows.extend(answer or ())
        good = [row for row in rows if row[0] not in failed]
        slots = pl.DataFrame(good, schema=SLOTS_SCHEMA, orient="row").sort(
            "company_id", "service_id", "staff_id", "starts_at"
        )
        return SlotAnswer(slots=slots, failed=failed)

    def _book_times(self, question: SlotQuestion) -> list[tuple[int, int, int, datetime, int]]:
        path = f"book_times/{question.company_id}/{question.staff_id}/{question.day.isoformat()}"
        data, _ = self._get(path, {"service_ids[]": str(question.service_id)})
        slots = []
        for row in _rows(data):
            try:
                hour, minute = str(row["time"]).split(":")[:2]
                # the local wall time and the company's zone are trusted before the offset, which has been seen wrong under DST
                local = datetime(question.day.year, question.day.month, question.day.day, int(hour), int(minute))  # noqa: DTZ001
                starts_at = local_to_instant(local, parse_zone(question.zone)).astimezone(UTC)
                length = int(row.get("sum_length") or row["seance_length"])
            except (KeyError, ValueError, TypeError) as error:
                raise CrmError(f"{path}: a slot without time or length: {error!r}") from error
            slots.append((question.company_id, question.service_id, question.staff_id, starts_at, length))
        return slots

    # ------------------------------------------------------------ transport

    def _pages(self, path: str, parameters: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """Rows of all pages, each id once. A short page is no end: it ends on an empty page or when all have been seen.

        Raises CrmError when the same page comes again although there should be more: what is missing cannot be told.
        """
        seen: set[str] = set()
        before: list[str] = []
        page = 1
        while True:
            data, meta = self._get(path, {**parameters, "page": str(page), "count": str(PAGE)})
            rows = _rows(data)
            keys = [
                str(row["id"] if row.get("id") is not None else row) for row in rows
            ]  # without an id: not ours to reject
            for key, row in zip(keys, rows, strict=True):
                if key not in seen:
                    seen.add(key)
                    yield row
            total = str(meta.get("total_count"))
            if not rows or (total.isdecimal() and len(seen) >= int(total)):
                return
            if keys == before:
                if not total.isdecimal():
                    return
                raise CrmError(f"{path}: page {page} repeats the one before, {len(seen)} of {total} rows seen")
            before = keys
            page += 1

    def _get(self, path: str, parameters: Mapping[str, str] | None = None) -> tuple[Any, dict[str, Any]]:
        for attempt in range(RETRIES + 1):
            self._limiter.acquire()
            try:
                return self._once(path, parameters)
            except CrmError as error:
                if error.permanent or attempt == RETRIES:
                    raise
                self._sleep(_pause(error, attempt))
        raise AssertionError("unreachable")

    def _once(self, path: str, parameters: Mapping[str, str] | None) -> tuple[Any, dict[str, Any]]:
        try:
            response = self._http.get(f"{self.base_url}/{path}", params=parameters)
        except httpx.HTTPError as error:
            raise CrmError(f"{path}: {type(error).__name__}") from error
        html = "html" in response.headers.get("content-type", "")
        if html or response.status_code == 429 or response.status_code >= 500:
            raise _PassingError(f"{path}: HTTP {response.status_code}", response)
        try:
            body = response.json(parse_constant=str)
        except ValueError as error:
            raise CrmError(f"{path}: the answer is not JSON", status=response.status_code) from error
        if _UNSTORABLE.search(response.content):
            body = _storable(body)
        if response.status_code >= 400:
            message = _message(body) or "refused"
            raise CrmError(
                f"{path}: HTTP {response.status_code}: {message}", status=response.status_code, permanent=True
            )
        if isinstance(body, dict) and ("success" in body or "data" in body):
            if body.get("success") is False:  # seen with HTTP 200 when the rate limit is exceeded
                raise _PassingError(f"{path}: {_message(body) or 'success is false'}", response)
            meta = body.get("meta")
            return body.get("data"), meta if isinstance(meta, dict) else {}
        return body, {}


class _PassingError(CrmError):
    """A passing fault; carries the server's own delay."""

    def __init__(self, message: str, response: httpx.Response) -> None:
        super().__init__(message, status=response.status_code)
        delay = response.headers.get("retry-after", "")
        self.delay = float(delay) if delay.isascii() and delay.isdigit() else None


def _pause(error: CrmError, attempt: int) -> float:
    named = error.delay if isinstance(error, _PassingError) else None
    return min(named if named is not None else PAUSES[min(attempt, len(PAUSES) - 1)], LONGEST_PAUSE)


def _rows(data: Any) -> list[dict[str, Any]]:
    if data in (None, ""):
        return []
    if not isinstance(data, list) or not all(isinstance(row, dict) for row in data):
        raise CrmError(f"expected a list of objects, got {type(data).__name__}")
    return data


def _mapping(data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise CrmError(f"expected an object, got {type(data).__name__}")
    return data


def _storable(value: Any) -> Any:
    """The JSON value with texts that can be stored: no NUL, no half of a character."""
    if isinstance(value, str):
        return value.replace("\x00", "").encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, dict):
        return {_storable(name): _storable(item) for name, item in value.items()}
    return value


def _message(body: Any) -> str:
    meta = body.get("meta") if isinstance(body, dict) else None
    return str(meta.get("message") or "") if isinstance(meta, dict) else ""
