"""HTTP to the CRM: tokens, envelope, errors by their meaning, retries of what only reads, a bounded number of requests at a time.

What to add here: a form the real service has been seen to answer in. What to keep out: paths and cards (client.py, models.py). A request
that writes leaves once: there is no key by which the CRM would know it again.
"""

import random
import re
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, NamedTuple

import anyio
import httpx

from reactivation_resources.rate_limit import RateLimiter
from reactivation_resources.yclients.errors import (
    AuthError,
    CrmError,
    ForbiddenError,
    LicenceError,
    MalformedError,
    NotFoundError,
    RateLimitedError,
    RefusedError,
    UnavailableError,
)
from reactivation_resources.yclients.json_text import read_json

IN_FLIGHT = 8
PAUSES_S = (0.5, 1.0, 2.0)  # the longest pause before each retry; a random part of it is waited
LONGEST_PAUSE_S = 60.0  # also where the server names more
_WORDS = 300
_BLACKLISTED = 434

Parameters = Mapping[str, str | list[str]]


class Call(NamedTuple):
    """What is asked, for counting, for the address and for errors: a name, a path, whose it is."""

    name: str
    path: str
    company_id: int | None

    def error(
        self, kind: type[CrmError], words: str, *, status: int | None = None, code: int | None = None
    ) -> CrmError:
        """An error of this call."""
        return kind(words, call=self.path, company_id=self.company_id, status=status, code=code)


@dataclass(frozen=True, slots=True)
class Answer:
    """What an envelope held; `meta` is empty where there was none."""

    data: Any
    meta: dict[str, Any]


class Transport:
    """Requests to one CRM under one limit. `calls` counts by name the requests that left, retries included.

    Args:
        base_url: Up to and including `/api/v1`.
        headers: Go with every request; their values appear in no error.
        secrets: Texts that are masked in the CRM's own words.
        limiter: Shared by everybody who calls from this address.
        proxy: HTTP or SOCKS5 proxy; None: as the environment says.
        sleep, jitter: For tests: how to wait, and the part (0 to 1) of a pause that is waited.
    """

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        secrets: tuple[str, ...],
        limiter: RateLimiter,
        *,
        proxy: str | None = None,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.calls: Counter[str] = Counter()
        self._base_url = base_url.rstrip("/")
        self._secrets = secrets
        self._limiter = limiter
        self._sleep = sleep
        self._jitter = jitter
        self._free = anyio.Semaphore(IN_FLIGHT)
        self._http = httpx.AsyncClient(
            headers=headers,
            timeout=httpx.Timeout(30, connect=5, pool=None),  # the limiter's lease bounds the whole
            limits=httpx.Limits(max_connections=IN_FLIGHT),
            verify=_certificates(),
            proxy=proxy,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        await self._limiter.aclose()

    async def read(self, call: Call, params: Parameters | None = None, body: Any = None) -> Answer:
        """Ask a question, by POST where it has a body, again after a passing fault. Raises CrmError."""
        for pause in PAUSES_S:
            try:
                return await self._once(call, params, body, reads=True)
            except CrmError as error:
                if error.permanent:
                    raise
                named = error.retry_after
            await self._sleep(pause * self._jitter() if named is None else min(named, LONGEST_PAUSE_S))
        return await self._once(call, params, body, reads=True)

    async def write(self, call: Call, body: Any) -> Answer:
        """POST once. Raises CrmError; where that is not permanent, it may have been done or not."""
        return await self._once(call, None, body, reads=False)

    async def _once(self, call: Call, params: Parameters | None, body: Any, *, reads: bool) -> Answer:
        method, url = "GET" if body is None else "POST", f"{self._base_url}/{call.path}"
        try:
            async with self._free, self._limiter.place():
                self.calls[call.name] += 1
                response = await self._http.request(method, url, params=params, json=body)
        except (httpx.HTTPError, TimeoutError) as error:
            raise call.error(UnavailableError, f"no answer ({type(error).__name__})") from error
        return self._answer(response, call, reads=reads)

    def _answer(self, response: httpx.Response, call: Call, *, reads: bool) -> Answer:
        body, kind, words = _read(response)
        if kind is None and isinstance(body, dict) and body.get("success") is False:
            # seen with status 200 when the rate limit is exceeded
            kind, words = RateLimitedError if reads else RefusedError, "success is false"
        if kind is not None:
            words = _words(body) or words
            for secret in self._secrets:
                words = words.replace(secret, "***")
            error = call.error(kind, words[:_WORDS], status=response.status_code, code=_code(body))
            error.retry_after = _retry_after(response)
            raise error
        if not isinstance(body, dict) or not ("success" in body or "data" in body):
            return Answer(body, {})
        meta = body.get("meta")
        return Answer(body.get("data"), meta if isinstance(meta, dict) else {})


@cache
def _certificates() -> ssl.SSLContext:
    """Whom we trust, read once a process: it takes as long as many calls."""
    return httpx.create_ssl_context()


def _read(response: httpx.Response) -> tuple[Any, type[CrmError] | None, str]:
    """The body, what is wrong by the status and the form of it, and words for that in case the CRM has none."""
    status = response.status_code
    page = "html" in response.headers.get("content-type", "") or response.content.lstrip()[:1] == b"<"
    try:
        body = None if page or status == httpx.codes.NO_CONTENT else read_json(response.content)
        is_json = not page
    except ValueError:
        body, is_json = None, False
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return body, RateLimitedError, "too many requests"
    if page:
        return None, UnavailableError, "a web page instead of data"
    if status >= 500 or status == httpx.codes.REQUEST_TIMEOUT:
        return body, UnavailableError, "server error"
    if status == httpx.codes.FORBIDDEN and not is_json:
        return None, UnavailableError, "no reason given"
    if status >= 400:
        kind = RefusedError if _code(body) == _BLACKLISTED else _BY_STATUS.get(status, RefusedError)
        return body, kind, "refused"
    if status >= 300 or not is_json:
        return None, MalformedError, "the answer is not JSON"
    return body, None, ""


_BY_STATUS: dict[int, type[CrmError]] = {
    401: AuthError,
    402: LicenceError,
    403: ForbiddenError,
    404: NotFoundError,
}


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds to wait by `Retry-After`, which is a number of them or a date; the date is measured by the server's own clock."""
    text = response.headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", text):
        return float(text)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    try:
        now = parsedate_to_datetime(response.headers.get("date", ""))
    except ValueError:
        now = datetime.now(UTC)
    try:
        return max((until - now).total_seconds(), 0.0)
    except TypeError:  # one of them without a zone
        return None


def _words(body: Any) -> str:
    """The CRM's own words: its message and what it says of single fields."""
    if not isinstance(body, dict):
        return ""
    meta = body.get("meta")
    if not isinstance(meta, dict):
        meta = {}
    said: list[str] = [str(meta["message"])] if meta.get("message") else []
    for errors in (body.get("errors"), meta.get("errors")):
        said += [text for text in _texts(errors) if text not in said]
    return " ".join("; ".join(said).split())


def _texts(errors: Any) -> list[str]:
    """Messages out of errors that come as an object, a list or not at all."""
    if isinstance(errors, str):
        return [errors] if errors else []
    if isinstance(errors, list):
        return [text for item in errors for text in _texts(item)]
    if isinstance(errors, dict):
        if isinstance(errors.get("message"), str):
            return _texts(errors["message"])
        return [f"{name}: {text}" for name, item in errors.items() for text in _texts(item)]
    return []


def _code(body: Any) -> int | None:
    errors = body.get("errors") if isinstance(body, dict) else None
    if isinstance(errors, list):
        errors = next((item for item in errors if isinstance(item, dict) and item), None)
    code = errors.get("code") if isinstance(errors, dict) else None
    return int(str(code)) if str(code).isdecimal() else None
