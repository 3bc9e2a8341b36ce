"""Every error of the protocol page calls for what the page says: for the campaign, the client, the number and the template."""

import pytest

from reactivation_core.account_health import Signal
from reactivation_core.channel_errors import CLOUD_ERRORS, WAHA_ANSWERS, WAHA_REFUSALS, WAHA_SESSIONS, cloud_consequence

# code: campaign, client, number, template; "retry?" is a failure of the messenger's that says nothing about the message.
PAGE = {
    130429: ("retry", "", None, ""),
    131056: ("retry", "", None, ""),
    80007: ("hold", "", None, ""),
    4: ("hold", "", None, ""),
    131000: ("retry?", "", None, ""),
    131016: ("retry?", "", None, ""),
    133004: ("retry?", "", None, ""),
    2: ("retry?", "", None, ""),
    131049: ("fail", "", None, ""),
    131050: ("fail", "opted_out", None, ""),
    130472: ("fail", "", None, ""),
    131026: ("fail", "unreachable", None, ""),
    131047: ("retry", "", None, ""),
    131048: ("hold", "", Signal.SPAM_RATE, ""),
    368: ("hold", "", Signal.BANNED, ""),
    131031: ("hold", "", Signal.BANNED, ""),
    130497: ("fail", "unreachable", None, ""),
    131064: ("hold", "", Signal.RESTRICTED, ""),
    131042: ("hold", "", Signal.REFUSED, ""),
    190: ("hold", "", Signal.REFUSED, ""),
    10: ("hold", "", Signal.REFUSED, ""),
    200: ("hold", "", Signal.REFUSED, ""),
    299: ("hold", "", Signal.REFUSED, ""),
    0: ("hold", "", Signal.REFUSED, ""),
    3: ("hold", "", Signal.REFUSED, ""),
    131005: ("hold", "", Signal.REFUSED, ""),
    131008: ("fail", "", None, ""),
    131009: ("fail", "", None, ""),
    131051: ("fail", "", None, ""),
    100: ("fail", "", None, ""),
    131021: ("fail", "", None, ""),
    131030: ("fail", "", None, ""),
    132000: ("retry", "", None, "resync"),
    132012: ("retry", "", None, "resync"),
    132018: ("retry", "", None, "resync"),
    132001: ("retry", "", None, "disable"),
    132005: ("retry", "", None, "disable"),
    132007: ("retry", "", None, "disable"),
    132015: ("retry", "", None, "pause"),
    132016: ("retry", "", None, "disable"),
    131037: ("hold", "", Signal.REFUSED, ""),
    131063: ("hold", "", Signal.REFUSED, ""),
    131062: ("fail", "", None, ""),
    133010: ("hold", "", Signal.REFUSED, ""),
    131045: ("hold", "", Signal.REFUSED, ""),
}


@pytest.mark.parametrize("code", sorted(PAGE))
def test_a_code_of_the_page_calls_for_what_the_page_says(code: int) -> None:
    campaign, client, number, template = PAGE[code]
    found = CLOUD_ERRORS[code]
    assert (found.campaign, found.ambiguous) == (campaign.removesuffix("?"), campaign.endswith("?"))
    assert (found.client, found.account, found.template) == (client, number, template)


def test_what_the_page_does_not_name_is_a_refusal_or_with_a_5xx_no_answer() -> None:
    refused, failed = cloud_consequence(999_999, 400), cloud_consequence(999_999, 503)
    assert (refused.campaign, refused.ambiguous) == ("fail", False)
    assert failed.ambiguous


def test_no_table_takes_a_403_for_a_ban() -> None:
    assert WAHA_ANSWERS[403].account is None
    assert 403 not in WAHA_REFUSALS
    assert cloud_consequence(403, 403).account is None


def test_the_gateways_words_for_locked_and_logged_out_numbers_are_known() -> None:
    assert (WAHA_REFUSALS[463].account, WAHA_REFUSALS[463].campaign) == (Signal.SPAM_RATE, "hold")
    assert WAHA_SESSIONS == {"SCAN_QR_CODE": Signal.BANNED, "FAILED": Signal.BANNED}


def test_the_marketing_cap_of_a_client_is_no_fault_and_rests_for_days() -> None:
    found = CLOUD_ERRORS[131049]
    assert found.account is None
    assert found.wait is not None
    assert 1 <= found.wait.days <= 7
