"""Where a channel may carry marketing: by the salon's country, by the client's phone, and by what the owner has taken upon himself.

What to add here: rules of countries. What to keep out: consent of clients (exclusions) and limits of numbers (account_health).

Facts and dates: specification, protocols/whatsapp.md, sections 1.2 and 5.
"""

from collections.abc import Collection, Mapping
from typing import Final

WHATSAPP: Final = frozenset({"waha", "whatsapp_cloud"})

RISKS: Final[Mapping[str, str]] = {
    "whatsapp_ru": "WhatsApp is blocked in Russia, and the authorities see signs of a violation in advertising there",
}
"""What an owner can take upon himself in writing, by name."""

_NEEDS_RISK: Final = {("RU", channel): "whatsapp_ru" for channel in WHATSAPP}
_CLOSED: Final = frozenset({"CU", "IR", "KP", "SY"})
"""Sanctioned countries, which the business platform does not serve."""
_NO_MARKETING: Final = frozenset({"US"})
"""Countries whose phones get no marketing templates."""


def company_objection(channel: str, country: str, accepted_risks: Collection[str]) -> str:
    """Why a salon of this country may not use the channel for marketing, or "": channel_not_allowed, risk_not_accepted."""
    if channel == "whatsapp_cloud" and country in _CLOSED:
        return "channel_not_allowed"
    risk = _NEEDS_RISK.get((country, channel))
    return "risk_not_accepted" if risk is not None and risk not in accepted_risks else ""


def phone_objection(channel: str, phone: str) -> str:
    """Why a phone (E.164) gets no marketing on the channel, or "": country_not_served."""
    if channel != "whatsapp_cloud" or not phone.startswith(("+1", "+53", "+98", "+850", "+963")):
        return ""
    import phonenumbers

    try:
        region = phonenumbers.region_code_for_number(phonenumbers.parse(phone))
    except phonenumbers.NumberParseException:
        return ""
    return "country_not_served" if region in _NO_MARKETING | _CLOSED else ""
