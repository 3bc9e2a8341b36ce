"""Check-ups of what the platform has to do with: salons, zones, CRM, channels, keys, the day's run, and what waits for people.

What to add here: a check that needs the database. What to keep out: the machine (doctor_machine.py). No phone and no name is selected.
"""

import zoneinfo
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import anyio
from sqlalchemy import text

from reactivation_cli.finding import Finding, failure, ok, warning
from reactivation_core.channel_policy import RISKS, company_objection
from reactivation_core.local_time import parse_zone
from reactivation_core.message_templates import TemplateFileError, lint
from reactivation_resources.alerts import untold
from reactivation_resources.gemini.client import Gemini
from reactivation_resources.message_books import books_of
from reactivation_resources.platform import Platform
from reactivation_resources.settings import Settings
from reactivation_resources.telegram import TelegramError
from reactivation_resources.yclients.errors import AuthError, CrmError, ForbiddenError

_LISTED = 20
_RECENT = timedelta(days=7)
_REPLY_PATIENCE = timedelta(minutes=10)
_ENOUGH_ZONES = 400
_UNAUTHORIZED = (401, 403)

_COMPANIES = """
SELECT c.company_id, c.timezone, c.crm_source, c.crm_status, c.country, c.accepted_risks,
       ARRAY(SELECT a.channel FROM channel_accounts a WHERE a.company_id = c.company_id) AS channels, coalesce(s.enabled, false) AS enabled,
       trim(coalesce(c.consent_basis, '')) <> '' AS consent,
       EXISTS (SELECT FROM service_reactivation_rules r WHERE r.company_id = c.company_id AND r.active) AS rules,
       EXISTS (SELECT FROM channel_accounts a WHERE a.company_id = c.company_id) AS account
FROM companies c LEFT JOIN reactivation_settings s USING (company_id) ORDER BY c.company_id
"""
_ACCOUNTS = """
SELECT a.account_id, a.company_id, a.channel, a.session, a.state, a.paused_until > :now AS resting, a.phone <> c.phone AS other_phone
FROM channel_accounts a JOIN companies c USING (company_id) ORDER BY a.company_id, a.account_id
"""


def _rows(platform: Platform, query: str, **parameters: Any) -> list[Any]:
    with platform.database.begin() as connection:
        return list(connection.execute(text(query), parameters))


def zones(platform: Platform) -> Iterator[Finding]:
    """Time zones are known to this machine, and every salon has one of them."""
    known = len(zoneinfo.available_timezones())
    if known < _ENOUGH_ZONES:
        yield failure(
            "time zones", f"this machine knows only {known} zones", "Install tzdata (system package or from PyPI)."
        )
    wrong = []
    for row in _rows(platform, _COMPANIES):
        try:
            parse_zone(row.timezone)
        except ValueError:
            wrong.append(row.company_id)
    if wrong:
        advice = "Correct `timezone` in the CRM or in company.json (an IANA name such as Europe/Moscow): detection stops at it."
        yield failure("time zones", f"unknown zone in company {_some(wrong)}", advice)
    elif known >= _ENOUGH_ZONES:
        yield ok("time zones", f"{known} known; the platform's is {platform.settings.reactivation_timezone}")


def companies(platform: Platform) -> Iterator[Finding]:
    """Every salon has what it takes to write to its clients."""
    rows = _rows(platform, _COMPANIES)
    if not rows:
        yield warning(
            "salons",
            "none is known",
            "`reactivation import FOLDER` loads one; `reactivation demo` shows a pretend one.",
        )
        return
    missing = {
        "rules": "Import rules.csv or set rules through the HTTP API: without one nobody is ever due.",
        "consent": "Set `consent_basis` (company.json, `reactivation connect`): nothing is sent for a salon until it is given.",
        "account": "Connect a sending number: everyone is deferred with `no_account`.",
    }
    words = {"rules": "no active rule", "consent": "no consent basis", "account": "no sending number"}
    for name, advice in missing.items():
        lacking = [row.company_id for row in rows if not getattr(row, name)]
        if lacking:
            yield warning("salons", f"{words[name]} in company {_some(lacking)}", advice)
    off = [row.company_id for row in rows if not row.enabled]
    if off:
        yield warning(
            "salons", f"reactivation is off in company {_some(off)}", "Turn `enabled` on when the salon wants it."
        )
    cut = [row.company_id for row in rows if row.crm_status in ("frozen", "no_access")]
    if cut:
        yield warning(
            "salons", f"the CRM refuses company {_some(cut)}", "Ask the salon to renew the licence or the access."
        )
    gone = [row.company_id for row in rows if row.crm_status in ("uninstalled", "suspended")]
    if gone:
        advice = (
            "Its mirror stands still and nothing is sent. After a new installation: `reactivation connect COMPANY`."
        )
        yield warning("salons", f"the marketplace has stopped our application in company {_some(gone)}", advice)
    yield ok("salons", f"{len(rows)} known, {len(rows) - len(off)} of them enabled")


def crm(platform: Platform) -> Iterator[Finding]:
    """The CRM can be reached and takes the tokens."""
    door = platform.crm
    if not door.configured:
        advice = "Set YCLIENTS_PARTNER_TOKEN (and YCLIENTS_USER_TOKEN) to mirror salons; imported salons need none."
        yield warning("crm", "YCLIENTS_PARTNER_TOKEN is not set", advice)
        return
    served = [row for row in _rows(platform, _COMPANIES) if door.serves(row.crm_source)]
    if not served:
        yield warning(
            "crm", "configured, but no salon of the CRM is known", "Add the salon first; the token is tried on it."
        )
        return
    company = next((row for row in served if row.crm_status == "active"), served[0]).company_id
    try:
        door.run(lambda crm: crm.staff(company))  # needs both tokens
    except CrmError as error:
        if isinstance(error, AuthError | ForbiddenError):
            advice = "Correct YCLIENTS_PARTNER_TOKEN and YCLIENTS_USER_TOKEN, and the user's rights in the salon."
            yield failure("crm", f"the token is not accepted for company {company} (HTTP {error.status})", advice)
        elif error.permanent:
            yield failure("crm", str(error), "Look at the salon's licence and at YCLIENTS_BASE_URL.")
        else:
            advice = "Look at the network, at YCLIENTS_PROXY, and at YCLIENTS_BASE_URL."
            yield failure("crm", f"{door.base_url} does not answer: {error}", advice)
    else:
        yield ok("crm", f"answers and takes the token (company {company})")


def crm_webhook(platform: Platform) -> Iterator[Finding]:
    """The CRM can tell of changes, and tells of the right salons."""
    if not platform.crm.configured:
        return
    if platform.settings.yclients_webhook_secret is None:
        advice = "Set it to 16 or more letters and digits, and register the webhook: `reactivation connect COMPANY ... --webhook-url https://HOST`."
        yield warning("crm webhook", "YCLIENTS_WEBHOOK_SECRET is not set: bookings are seen once an hour only", advice)
        return
    query = (
        "SELECT max(received_at) AS last, array_agg(company_id ORDER BY received_at DESC) FILTER (WHERE error = 'unknown company') AS strangers"
        " FROM inbox WHERE channel = 'yclients' AND received_at > :recent"
    )
    [row] = _rows(platform, query, recent=platform.clock.now() - _RECENT)
    if row.strangers:
        advice = (
            "`reactivation connect` connects a salon; else take our address out of that salon's webhooks in the CRM."
        )
        yield warning(
            "crm webhook", f"events came in the last week of company {_some(row.strangers)}, unknown here", advice
        )
    heard = f"last heard {row.last:%Y-%m-%d %H:%M} UTC" if row.last else "nothing was heard in the last week"
    yield ok("crm webhook", f"YCLIENTS_WEBHOOK_SECRET is set; {heard}")


def policies(platform: Platform) -> Iterator[Finding]:
    """Every salon may use its channels in its country."""
    for row in _rows(platform, _COMPANIES):
        objections = {one: company_objection(one, row.country, row.accepted_risks) for one in row.channels}
        for channel, objection in objections.items():
            if objection == "risk_not_accepted":
                advice = (
                    "When the owner has taken the risk upon himself in writing: `accepted_risks` in company.json, or"
                    f" `reactivation connect {row.company_id} ... --accept-risk NAME` with NAME one of {', '.join(RISKS)}."
                )
                words = f"company {row.company_id} ({row.country}) may not use {channel} yet: nothing is sent by it"
                yield warning("channel policy", words, advice)
            elif objection:
                words = f"company {row.company_id} ({row.country}) may not use {channel} at all"
                yield warning("channel policy", words, "Connect another channel.")


def channels(platform: Platform) -> Iterator[Finding]:
    """A channel is configured whole."""
    settings = platform.settings
    if settings.waha_base_url is None and settings.whatsapp_access_token is None:
        yield warning(
            "channel",
            "neither WAHA_BASE_URL nor WHATSAPP_ACCESS_TOKEN is set: nothing can be sent",
            "Set WAHA_BASE_URL, WAHA_API_KEY, WAHA_WEBHOOK_KEY, or WHATSAPP_ACCESS_TOKEN, WHATSAPP_APP_SECRET, WHATSAPP_VERIFY_TOKEN.",
        )
    if settings.whatsapp_access_token is not None:
        yield from _cloud(settings)
    if settings.waha_base_url is not None:
        yield from _waha(settings)


def _cloud(settings: Settings) -> Iterator[Finding]:
    for name in ("whatsapp_app_secret", "whatsapp_verify_token"):
        secret = getattr(settings, name)
        if secret is None or not secret.get_secret_value():
            yield failure("channel", f"{name.upper()} is not set", "Set it: without it the HTTP API does not start.")
    yield ok("channel", f"WhatsApp Cloud API at {settings.whatsapp_base_url}")


def _waha(settings: Settings) -> Iterator[Finding]:
    if settings.waha_webhook_key is None or not settings.waha_webhook_key.get_secret_value():
        advice = "Set it, and the same HMAC key in WAHA's webhooks: without it the HTTP API does not start."
        yield failure("channel", "WAHA_WEBHOOK_KEY is not set", advice)
    if settings.waha_api_key is None:
        yield warning(
            "channel", "WAHA_API_KEY is not set", "Let WAHA ask for a key: whoever reaches it may write in your name."
        )
    yield ok("channel", f"WAHA at {settings.waha_base_url}")


def account_checks(platform: Platform) -> dict[str, Callable[[], Iterable[Finding]]]:
    """A check of every sending number, by its name in the findings."""
    accounts = _rows(platform, _ACCOUNTS, now=platform.clock.now())
    return {
        f"account {row.account_id} of company {row.company_id}": partial(_account, platform, row) for row in accounts
    }


def _account(platform: Platform, row: Any) -> Iterator[Finding]:
    name = f"account {row.account_id} of company {row.company_id}"
    if row.other_phone:
        advice = "Compare both: clients must recognise the number. Correct the salon's phone or connect its own number."
        yield warning(name, "its number is not the salon's phone", advice)
    if row.state != "working" or row.resting:
        why = "is stopped until its session works again" if row.state == "stopped" else "is paused"
        yield warning(
            name, f"{why}: nothing is sent from it", "The account's history says why; resume it when that is settled."
        )
    channel = platform.channels.get(row.channel)
    if channel is None:
        found = failure if platform.channels else warning  # without any channel, that is a finding of its own already
        yield found(
            name, f"its channel {row.channel} is not configured", "Set the channel's variables to send from it."
        )
        return
    status = channel.health(row.session)
    if status.working:
        yield ok(name, f"{row.channel} session {row.session}: {status.words}")
        return
    if any(f"HTTP {code}" in status.words for code in _UNAUTHORIZED):
        advice = "WAHA_API_KEY is not accepted: set it to the key that WAHA was started with."
    elif "does not answer" in status.words:
        advice = "Start WAHA, or correct WAHA_BASE_URL."
    elif "HTTP 404" in status.words:
        advice = "WAHA does not know this session: create it there, or correct the account's session name."
    else:
        advice = "Open WAHA's dashboard and bring the session to WORKING (SCAN_QR_CODE: pair the phone again)."
    yield failure(name, f"{row.channel} session {row.session}: {status.words}", advice)


def api_keys(platform: Platform) -> Iterator[Finding]:
    """Somebody may call the HTTP API."""
    [row] = _rows(platform, "SELECT count(*) AS found FROM api_keys WHERE revoked_at IS NULL")
    if row.found:
        yield ok("api keys", f"{row.found} in force")
    else:
        yield warning("api keys", "none: nobody can use the HTTP API", "`reactivation keys create NAME` makes one.")


def daily_run(platform: Platform) -> Iterator[Finding]:
    """The last day that was due has been materialized."""
    calendar = platform.calendar
    day = calendar.today()
    if calendar.as_of(day) > platform.clock.now():
        day -= timedelta(days=1)
    due = f"{day.isoformat()}, due {calendar.as_of(day):%H:%M} UTC"
    if platform.lake.exists("inactive_clients", day):
        yield ok("daily run", f"materialized for {due}")
    elif not _rows(platform, "SELECT FROM companies LIMIT 1"):
        yield ok("daily run", "nothing to run: no salon is known")
    else:
        advice = "`reactivation up` runs it every day; `reactivation run` runs it now."
        yield warning("daily run", f"not materialized for {due}", advice)


def unknown_campaigns(platform: Platform) -> Iterator[Finding]:
    """Messages of which nobody knows whether they left."""
    query = "SELECT company_id, count(*) AS found, min(sending_at) AS oldest FROM reactivation_campaigns WHERE status = 'unknown' GROUP BY 1 ORDER BY 1"
    rows = _rows(platform, query)
    if not rows:
        yield ok("lost answers", "none")
        return
    total, oldest = sum(row.found for row in rows), min(row.oldest for row in rows)
    advice = (
        "They are never sent again; a status event settles them within seven days. Look into the chat for older ones."
    )
    yield warning(
        "lost answers",
        f"{total} messages may or may not have left, the oldest {oldest:%Y-%m-%d}, company {_some([row.company_id for row in rows])}",
        advice,
    )


def inbox(platform: Platform) -> Iterator[Finding]:
    """Replies are read in time, and events can be understood."""
    now = platform.clock.now()
    query = (
        "SELECT count(*) FILTER (WHERE kind = 'message' AND processed_at IS NULL AND received_at < :late) AS waiting,"
        " count(*) FILTER (WHERE kind = 'malformed' AND received_at > :recent) AS malformed, count(*) AS stored FROM inbox"
    )
    [row] = _rows(platform, query, late=now - _REPLY_PATIENCE, recent=now - _RECENT)
    if row.waiting:
        yield warning(
            "inbox", f"{row.waiting} replies wait to be read", "Start `reactivation up`: its daemon reads them."
        )
    if row.malformed:
        advice = "The table inbox shows them, those of a salon GET /inbox/COMPANY too; the gateway or the CRM may have changed its events."
        yield warning("inbox", f"{row.malformed} events of the last week could not be read", advice)
    if not row.waiting and not row.malformed:
        yield ok("inbox", f"{row.stored} events stored, none waits")


def model(platform: Platform) -> Iterator[Finding]:
    """The model that writes is there, and the texts of people can be read."""
    try:
        books = books_of(platform.settings.reactivation_texts)
    except TemplateFileError as error:
        yield failure("message texts", str(error), "Correct the file, or unset REACTIVATION_TEXTS.")
        return
    for language, book in books.items():
        for complaint in lint(book)[:_LISTED]:
            advice = "`reactivation messages --lint FILE` lists all; such a text is passed over."
            yield warning("message texts", f"{language}.txt, {complaint}", advice)
    terms = platform.model_terms
    if terms is None:
        yield ok("model", "GEMINI_API_KEY is not set: messages come from texts of people")
        return

    async def ask() -> str | None:
        async with Gemini(terms.access) as door:
            return await door.check()

    objection = anyio.run(ask)
    if objection is not None:
        advice = "Correct GEMINI_API_KEY, GEMINI_MODEL, GEMINI_BASE_URL or SOCKS_PROXY; until then messages come from texts of people."
        yield failure("model", f"{terms.access.model}: {objection}", advice)
        return
    spent = platform.message_writer.ledger.spent(platform.calendar.today()) / 1_000_000
    yield ok(
        "model",
        f"{terms.access.model} answers; {spent:.2f} of {terms.budget.total / 1_000_000:.2f} dollars spent today",
    )
    query = "SELECT DISTINCT currency FROM companies ORDER BY 1"
    missing = [row.currency for row in _rows(platform, query) if row.currency not in terms.rates]
    if missing:
        yield warning(
            "model", f"no rate for {', '.join(missing)}: its cost counts as nothing", "Add it to GEMINI_EXCHANGE_RATES."
        )


def telegram(platform: Platform) -> Iterator[Finding]:
    """People are told of alerts."""
    if platform.telegram is None:
        advice = "Set REACTIVATION_ALERT_TELEGRAM_TOKEN and REACTIVATION_ALERT_TELEGRAM_CHAT to be told; here they are listed."
        yield warning("telegram", "not configured: nobody is told of alerts", advice)
        return
    try:
        name = platform.telegram.check()
    except TelegramError as error:
        yield failure("telegram", str(error), "Correct REACTIVATION_ALERT_TELEGRAM_TOKEN, and look at the network.")
        return
    waiting = untold(platform.database, platform.clock.now())
    yield ok("telegram", f"the bot {name} answers; {waiting} alerts wait to be told")


def alerts(platform: Platform) -> Iterator[Finding]:
    """What the platform wanted people to see."""
    query = "SELECT kind, message, times, last_at FROM alerts WHERE last_at > :recent ORDER BY last_at DESC, alert_id LIMIT :listed"
    rows = _rows(platform, query, recent=platform.clock.now() - _RECENT, listed=_LISTED)
    for row in rows:
        often = f", {row.times} times" if row.times > 1 else ""
        yield warning(
            "alert", f"{row.message} ({row.kind}, last {row.last_at:%Y-%m-%d %H:%M} UTC{often})", "See to it."
        )
    if not rows:
        yield ok("alerts", "none in the last week")


CHECKS: dict[str, Callable[[Platform], Iterable[Finding]]] = {
    "time zones": zones,
    "salons": companies,
    "channel policy": policies,
    "crm": crm,
    "crm webhook": crm_webhook,
    "channel": channels,
    "api keys": api_keys,
    "daily run": daily_run,
    "lost answers": unknown_campaigns,
    "inbox": inbox,
    "model": model,
    "telegram": telegram,
    "alerts": alerts,
}
"""In the order in which they are shown."""


def _some(companies: list[int]) -> str:
    listed = ", ".join(map(str, companies[:_LISTED]))
    return listed if len(companies) <= _LISTED else f"{listed} and {len(companies) - _LISTED} more"
