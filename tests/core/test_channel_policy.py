"""Where marketing may not go at all, and what an owner must have taken upon himself."""

import pytest

from reactivation_core.channel_policy import RISKS, company_objection, phone_objection


@pytest.mark.parametrize(
    ("channel", "country", "accepted", "objection"),
    [
        ("waha", "RU", (), "risk_not_accepted"),
        ("whatsapp_cloud", "RU", (), "risk_not_accepted"),
        ("waha", "RU", ("whatsapp_ru",), ""),
        ("waha", "KZ", (), ""),
        ("telegram", "RU", (), ""),
        ("whatsapp_cloud", "IR", tuple(RISKS), "channel_not_allowed"),
        ("waha", "IR", (), ""),
    ],
)
def test_a_salon_may_use_a_channel_where_its_country_lets_it(channel, country, accepted, objection):
    assert company_objection(channel, country, accepted) == objection


@pytest.mark.parametrize(
    ("channel", "phone", "objection"),
    [
        ("whatsapp_cloud", "+12125550123", "country_not_served"),  # New York
        ("whatsapp_cloud", "+14165550123", ""),  # Toronto
        ("waha", "+12125550123", ""),
        ("whatsapp_cloud", "+989121234567", "country_not_served"),
        ("whatsapp_cloud", "+79161234567", ""),
        ("whatsapp_cloud", "+1", ""),
    ],
)
def test_a_phone_gets_no_marketing_where_the_messenger_delivers_none(channel, phone, objection):
    assert phone_objection(channel, phone) == objection
