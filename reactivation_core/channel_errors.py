"""What a messenger's error means: for the campaign, for the client, for the number, for the template. Tables, and nothing else.

What to add here: codes of a channel and what each calls for (specification: protocols/whatsapp.md, section 1.5). What to keep out: reading
answers (the channel's own file) and acting on them (`reactivation_resources.send_outcomes`, `.inbox`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from reactivation_core.account_health import Signal

CampaignEffect = Literal["retry", "hold", "fail"]
"""`retry`: the same message may go later, a bounded number of times. `hold`: the number cannot send now, the message waits for it and no try is
counted. `fail`: this attempt is over."""

ClientEffect = Literal["", "unreachable", "opted_out"]
"""`unreachable`: not on this channel; another channel may reach the client. `opted_out`: no more marketing, for good."""

TemplateEffect = Literal["", "pause", "disable", "resync"]
"""`pause`, `disable`: not to be used until the channel says otherwise. `resync`: what we know of it is out of date."""


@dataclass(frozen=True, slots=True)
class Consequence:
    """What an error calls for. `wait`: how long the same message had better rest before its next try.

    `ambiguous`: the error says that something failed, and not that the message did not go out.
    """

    words: str
    campaign: CampaignEffect
    client: ClientEffect = ""
    account: Signal | None = None
    template: TemplateEffect = ""
    wait: timedelta | None = None
    ambiguous: bool = False


_MINUTE = timedelta(minutes=1)
_ACCESS = Consequence("the access token or its permissions are not accepted", "hold", account=Signal.REFUSED)
_BUG = Consequence("the request is not understood", "fail")
_FORMAT = Consequence("the template's places do not fit what was put into them", "retry", template="resync")

CLOUD_ERRORS: Mapping[int, Consequence] = {
    # pace
    130429: Consequence("the number sends too fast", "retry", wait=_MINUTE),
    131056: Consequence("too many messages to this client in a short time", "retry", wait=_MINUTE),
    80007: Consequence("the business has reached its limit", "hold", wait=10 * _MINUTE),
    4: Consequence("the application calls too often", "hold", wait=10 * _MINUTE),
    # the messenger's own troubles
    131000: Consequence("something failed at the messenger", "retry", wait=5 * _MINUTE, ambiguous=True),
    131016: Consequence("the messenger is overloaded", "retry", wait=5 * _MINUTE, ambiguous=True),
    133004: Consequence("the messenger's server is away for a while", "retry", wait=5 * _MINUTE, ambiguous=True),
    1: Consequence("something failed at the messenger", "retry", wait=5 * _MINUTE, ambiguous=True),
    2: Consequence("the messenger's service is away for a while", "retry", wait=5 * _MINUTE, ambiguous=True),
    # the client
    131049: Consequence("the client has had enough marketing of all businesses", "fail", wait=timedelta(days=3)),
    131050: Consequence("the client has stopped this business's marketing", "fail", client="opted_out"),
    130472: Consequence("the client is in an experiment of the messenger's", "fail"),
    131026: Consequence("the message cannot be delivered to this phone", "fail", client="unreachable"),
    131047: Consequence("more than a day since the client's last message", "retry"),
    131021: Consequence("the recipient is the sender", "fail"),
    131030: Consequence("the recipient is not on the test number's list", "fail"),
    131062: Consequence("this way of naming the recipient is not supported", "fail"),
    130497: Consequence("the business may not write to this country", "fail", client="unreachable"),
    # the number
    131048: Consequence("too many clients called the number's messages spam", "hold", account=Signal.SPAM_RATE),
    368: Consequence("the account is blocked for a breach of policy", "hold", account=Signal.BANNED),
    131031: Consequence("the account is locked", "hold", account=Signal.BANNED),
    131064: Consequence(
        "the business is limited for how it classifies its templates", "hold", account=Signal.RESTRICTED
    ),
    131042: Consequence("the business has not settled its payments", "hold", account=Signal.REFUSED),
    131037: Consequence("the number's display name is not approved", "hold", account=Signal.REFUSED),
    131045: Consequence("the number's certificate is wrong", "hold", account=Signal.REFUSED),
    133010: Consequence("the number is not registered", "hold", account=Signal.REFUSED),
    131063: Consequence("marketing goes by the Marketing Messages API only", "hold", account=Signal.REFUSED),
    # access
    **dict.fromkeys((0, 3, 10, 190, *range(200, 300)), _ACCESS),
    131005: Consequence("the permission is missing", "hold", account=Signal.REFUSED),
    # the request
    **dict.fromkeys((100, 131008, 131009, 131051), _BUG),
    # the template
    **dict.fromkeys((132000, 132012, 132018), _FORMAT),
    132001: Consequence("there is no such template", "retry", template="disable"),
    132005: Consequence("the template with its values is too long", "retry", template="disable"),
    132007: Consequence("the template breaks the messenger's policy", "retry", template="disable"),
    132015: Consequence("the template is paused", "retry", template="pause"),
    132016: Consequence("the template is disabled", "retry", template="disable"),
}
"""The Cloud API's errors by code, whether they come as an answer or with a failed status (specification: protocols/whatsapp.md, 1.5)."""

_UNKNOWN_REFUSAL = Consequence("an error we do not know", "fail")
_UNKNOWN_FAILURE = Consequence("an error we do not know", "retry", wait=5 * _MINUTE, ambiguous=True)


def cloud_consequence(code: int, http_status: int | None = None) -> Consequence:
    """What an error of the Cloud API calls for; one that we do not know is a refusal, or with a 5xx a failure of the messenger's."""
    unknown = _UNKNOWN_FAILURE if http_status is not None and http_status >= 500 else _UNKNOWN_REFUSAL
    return CLOUD_ERRORS.get(code, unknown)


WAHA_ANSWERS: Mapping[int, Consequence] = {
    401: Consequence("the gateway does not take the key", "hold"),
    403: Consequence("the gateway forbids the call", "hold"),
    404: Consequence("the gateway does not know the session", "hold"),
    405: Consequence("the gateway does not know the call", "hold"),
    429: Consequence("the gateway is called too often", "hold"),
    503: Consequence("the gateway is busy", "hold"),
}
"""HTTP statuses of the gateway that say nothing about the message. Never is a ban read out of one: "403" is no ban."""

WAHA_REFUSALS: Mapping[int, Consequence] = {
    463: Consequence("WhatsApp does not let this number open new chats", "hold", account=Signal.SPAM_RATE),
}
"""Codes of WhatsApp's own server in the gateway's words; of the others the same message may be tried again."""

WAHA_SESSIONS: Mapping[str, Signal] = {"SCAN_QR_CODE": Signal.BANNED, "FAILED": Signal.BANNED}
"""States of a session that must be paired again: WhatsApp or its owner has logged it out. STOPPED is an ordinary restart: sends wait, no more."""

WAHA_CAPPED = frozenset({"SECOND_WARNING", "CAPPED"})
"""States of the quota of new chats at which the number had better rest."""
