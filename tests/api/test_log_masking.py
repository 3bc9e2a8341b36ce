"""Phones are masked wherever they stand in a log line; ids, dates and small numbers stay readable."""

import logging
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactivation_core.phones import mask_phone
from reactivation_resources.log_masking import MaskingFilter, mask_text
from reactivation_resources.settings import Settings, SettingsError


@pytest.mark.parametrize(
    ("written", "masked"),
    [
        ("to +79000001234 now", "to +7900***1234 now"),
        ("to 79000001234@c.us", "to +7900***1234@c.us"),
        ("to 79000001234:7@s.whatsapp.net", "to +7900***1234:7@s.whatsapp.net"),
        ("8 (900) 000-12-34", "+8900***1234"),
        ("+1 416 555-0123", "+1416***0123"),
        ("phone=79000001234&x=1", "phone=+7900***1234&x=1"),
        ("tel%2B79000001234", "tel%2B+7900***1234"),
        ("['+79000001234', '+79000005678']", "['+7900***1234', '+7900***5678']"),
        ("2026-11-22 79000001234", "2026-11-22 +7900***1234"),
        ("a\n79000001234\n79000005678", "a\n+7900***1234\n+7900***5678"),
    ],
)
def test_a_phone_is_masked_however_it_is_written(written, masked):
    assert mask_text(written) == masked


@pytest.mark.parametrize(
    "written",
    [
        "GET /api/reactivation/inbox/101 200 12 ms",
        "campaign 12345678-1234-4123-8123-123456789012 sent",
        "day 2026-11-22, run at 2026-11-22 10:00:00.123456",
        "2026-11-22T10:00:00+00:00",
        "listening on 127.0.0.1:54321",
        "company 712345678 of 5000 in 0.123 s",
        "",
    ],
)
def test_what_is_no_phone_is_left_alone(written):
    assert mask_text(written) == written


@given(
    st.integers(10**9, 10**15 - 1),
    st.sampled_from(["", "+", "tel:", "(", "№", "=", "_", "я"]),
    st.sampled_from(["", " ", ")", ",", "x"]),
)
def test_no_phone_survives_whatever_stands_beside_it(number, before, after):
    text = mask_text(f"{before}{number}{after}")
    assert str(number) not in text
    assert mask_phone(f"+{number}") in text


@given(st.text())
def test_masking_twice_is_masking_once_for_any_text(text):
    assert mask_text(mask_text(text)) == mask_text(text)


def written_by(record_something) -> str:
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(MaskingFilter())
    logger = logging.Logger("test")  # noqa: LOG001 - of its own, so that no other handler hears it
    logger.addHandler(handler)
    record_something(logger)
    return stream.getvalue()


def test_arguments_are_masked_with_the_message():
    assert written_by(lambda log: log.warning("to %s: %d%%", "+79000001234", 5)) == "to +7900***1234: 5%\n"


def test_of_an_error_its_type_and_place_are_written_and_not_its_words():
    client = "Анна +79000001234"

    def fail(log):
        try:
            int(client)
        except ValueError:
            try:
                {}[client]
            except KeyError:
                log.exception("failed for %s", "+79000005678")

    written = written_by(fail)
    assert "builtins.ValueError" in written
    assert "builtins.KeyError" in written
    assert "test_log_masking.py" in written
    assert "failed for +7900***5678" in written
    assert "Анна" not in written


def test_of_our_own_errors_the_words_are_written():
    def fail(log):
        try:
            Settings.load(reactivation_cron="hourly")
        except SettingsError:
            log.exception("failed")

    assert "REACTIVATION_CRON='hourly'" in written_by(fail)
