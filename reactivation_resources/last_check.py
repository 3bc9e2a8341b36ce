"""The last look before `sending`: may each of these claimed campaigns still go out, and as what letter?

What to add here: the order of the questions. What to keep out: the questions themselves (sending_checks.py, letters.py) and acting on the
answers (outbox.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection

from reactivation_resources.campaign_moves import Change
from reactivation_resources.channels.base import Letter
from reactivation_resources.letters import letters
from reactivation_resources.sending_checks import CONTACT_GAP, Caps, Objection, Standing, objections, standings

NO_TEMPLATE_REST = timedelta(minutes=30)
"""How long a campaign for which no template fits waits for one."""


@dataclass(frozen=True, slots=True)
class Never:
    """It must not go out any more."""

    reason: str


@dataclass(frozen=True, slots=True)
class Later:
    """It must wait. `rest`: until when this campaign is left alone; None when only its account has to wait (`until`)."""

    reason: str
    until: datetime | None = None
    rest: datetime | None = None


Verdict = Letter | Never | Later


def last_check(
    connection: Connection,
    changes: Sequence[Change],
    now: datetime,
    *,
    templated: frozenset[str],
    caps: Caps,
) -> dict[UUID, Verdict]:
    """The verdict on each of these locked campaigns, whose accounts are locked too; in their order, as long as there is room."""
    ids = [change["campaign_id"] for change in changes]
    against = objections(connection, ids, now)
    accounts = standings(connection, {change["account_id"] for change in changes}, now, besides=ids, caps=caps)
    verdicts: dict[UUID, Verdict] = {}
    places = _Places(accounts)
    for change in changes:
        verdict = _of_campaign(change, against.get(change["campaign_id"]), now) or places.take(change, now)
        if verdict is not None:
            verdicts[change["campaign_id"]] = verdict
    free = [change for change in changes if change["campaign_id"] not in verdicts]
    views = {key: one.account for key, one in accounts.items() if one.account is not None}
    written = letters(connection, free, views, templated, now)
    for key in (change["campaign_id"] for change in free):
        rest = now + NO_TEMPLATE_REST
        verdicts[key] = written.get(key) or Later("no_template", rest, rest)
    return verdicts


def _of_campaign(change: Change, objection: Objection | None, now: datetime) -> Never | Later | None:
    """What the campaign and its client say."""
    if change["expires_at"] <= now:
        return Never("expired")
    if objection is not None:
        return (
            Never(objection.reason)
            if objection.until is None
            else Later(objection.reason, objection.until, objection.until)
        )
    if change["message_text"] is None:
        return Later("no_text")
    return None


class _Places:
    """The room that accounts have, taken place by place; and who is written to by this very batch."""

    def __init__(self, accounts: Mapping[int, Standing]) -> None:
        self._accounts = accounts
        self._room = {key: one.room for key, one in accounts.items()}
        self._cold = {key: one.cold for key, one in accounts.items()}
        self._written: set[tuple[int, str]] = set()

    def take(self, change: Change, now: datetime) -> Later | None:
        """Give the campaign a place, or say why there is none."""
        key, cold = change["account_id"], change["lane"] == "cold"
        standing = self._accounts[key]
        if standing.reason:
            return Later(standing.reason, standing.until)
        person = (change["company_id"], change["phone"])
        if person in self._written:  # two clients with one phone
            return Later("contacted_recently", now + CONTACT_GAP, now + CONTACT_GAP)
        if self._room[key] <= 0 or (cold and self._cold[key] <= 0):
            return Later("cold_lane" if cold and self._room[key] > 0 else "account_full")
        self._room[key] -= 1
        self._cold[key] -= cold
        self._written.add(person)
        return None
