import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactivation_core.phones import fits_mask, mask_phone, normalise_phone, normalise_phones, wa_digits


@pytest.mark.parametrize(
    ("raw", "country", "phone"),
    [
        ("8 (900) 000-12-34", "RU", "+79000001234"),
        ("79000001234", "RU", "+79000001234"),
        ("9000001234", "RU", "+79000001234"),
        (79000001234, "RU", "+79000001234"),
        ("+7 900 000-12-34", "CA", "+79000001234"),
        ("79000001234@c.us", "CA", "+79000001234"),
        ("416-555-0123", "CA", "+14165550123"),
        ("14165550123", "RU", "+14165550123"),
        ("\N{NO-BREAK SPACE}+1 (416) 555-0123 ", "ca", "+14165550123"),
        ("7900***1234", "RU", None),
        ("7900xxx1234", "RU", None),
        ("12345", "RU", None),
        ("+7900", "RU", None),
        ("12036304@g.us", "RU", None),
        ("no phone", "RU", None),
        ("", "RU", None),
        (None, "RU", None),
    ],
)
def test_numbers_become_e164_or_nothing(raw: str | int | None, country: str, phone: str | None):
    assert normalise_phone(raw, country) == phone


def test_a_country_that_does_not_exist_is_refused_by_value():
    with pytest.raises(ValueError, match="country: 'XX'"):
        normalise_phone("+79000001234", "XX")


@given(
    st.lists(
        st.tuples(
            st.none() | st.sampled_from(["89000001234", "bad", "4165550123"]) | st.text(max_size=15),
            st.sampled_from(["RU", "CA"]),
        )
    )
)
def test_a_column_gives_what_single_numbers_give(rows: list[tuple[str | None, str]]):
    frame = pl.DataFrame(rows, schema={"phone_raw": pl.String, "country": pl.String}, orient="row")
    column = normalise_phones(frame["phone_raw"], frame["country"])
    assert column.name == "phone_raw"
    assert column.to_list() == [normalise_phone(raw, country) for raw, country in rows]


@given(st.from_regex(r"\A\+79[0-9]{9}\Z"))
def test_a_normal_number_stays_as_it_is(phone: str):
    assert normalise_phone(phone, "RU") == phone
    assert normalise_phone(wa_digits(phone) + "@c.us", "DE") == phone


def test_masks_hide_the_middle():
    assert mask_phone("+79991231234") == "+7999***1234"
    assert mask_phone("+12345678") == "***78"
    assert mask_phone(None) == ""


def test_only_e164_is_written_for_whatsapp_and_the_error_hides_the_number():
    assert wa_digits("+79000001234") == "79000001234"
    with pytest.raises(ValueError, match=r"79000\*\*\*1234 is not E\.164"):
        wa_digits("79000001234")


@pytest.mark.parametrize(
    ("masked", "fits"),
    [
        ("+7900***0016", True),
        ("7900***0016", True),
        ("8 (900) ***-00-16", True),
        ("+7 (9**) ***-**-16", True),
        ("+7xxxxxxx016", True),
        ("***", True),
        ("+7900***0017", False),
        ("+7901***0016", False),
        ("+8900***0016", False),
        ("+79000000016", False),  # nothing is masked: it is read as a number
        ("", False),
    ],
)
def test_a_masked_number_fits_those_that_show_the_same_digits(masked, fits):
    assert fits_mask("+79000000016", masked) is fits
