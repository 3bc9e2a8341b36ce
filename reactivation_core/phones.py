"""Phone numbers as E.164, and their masked form for every place people can read.

A number is accepted when it parses and has a possible length for its country; whether it is assigned only the channel knows. What to keep
out: who may be written to (exclusions).
"""

import re

import polars as pl

_CHAT_SUFFIX = re.compile(r"@(c\.us|s\.whatsapp\.net)$")
_MASK = re.compile(r"[*xхXХ•#]")  # Latin and Cyrillic letters: both are seen in exports
_RUNS = re.compile(r"\d+|[*xхXХ•#]+")
_NOT_DIAL = re.compile(r"[^\d+]")
_RUSSIAN_PLAN = frozenset({"RU", "KZ"})
_RUSSIAN_DIGITS = 11
_MASKED_TAIL = 4
_MASKED_HEAD = 5


def normalise_phone(raw: str | int | None, country: str) -> str | None:
    """`raw` as E.164 (`+79001234567`), or None when it is missing, masked or not a possible number.

    `country` is the ISO 3166 code the number is read in when it names none itself. Within the Russian plan (RU, KZ) a leading 8 is a trunk
    prefix and ten digits starting with 9 (or 7 for KZ) are a mobile number. A chat address such as `79001234567@c.us` is a number with its
    country code. A country unknown to the numbering plan raises ValueError.
    """
    if raw is None:
        return None
    import phonenumbers

    text = str(raw).strip()
    region = country.upper()
    if region not in phonenumbers.SUPPORTED_REGIONS:
        raise ValueError(f"country: {country!r} is not an ISO 3166 code such as 'RU'")
    bare, chats = _CHAT_SUFFIX.subn("", text)
    if _MASK.search(bare) or "@" in bare:
        return None
    digits = _NOT_DIAL.sub("", bare)
    if chats and not digits.startswith("+"):
        digits = "+" + digits
    for candidate in _readings(digits, region):
        try:
            number = phonenumbers.parse(candidate, region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_possible_number(number):
            return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return None


def _readings(digits: str, region: str) -> list[str]:
    """How the digits may be meant, likeliest first: as written, then with the country code that lacks its plus."""
    if region in _RUSSIAN_PLAN and len(digits) == _RUSSIAN_DIGITS and digits[0] in "78":
        return ["+7" + digits[1:]]
    if digits.startswith("+"):
        return [digits]
    return [digits, "+" + digits]


def normalise_phones(phones: pl.Series, countries: pl.Series) -> pl.Series:
    """`normalise_phone` of a whole column (String): every distinct pair of number and country is worked out once."""
    name = phones.name
    pairs = pl.DataFrame({"raw": phones.cast(pl.String), "country": countries.cast(pl.String)})
    distinct = pairs.unique().drop_nulls()
    known = [normalise_phone(raw, country) for raw, country in distinct.iter_rows()]
    distinct = distinct.with_columns(pl.Series("phone", known, dtype=pl.String))
    return pairs.join(distinct, on=["raw", "country"], how="left", maintain_order="left")["phone"].alias(name)


def fits_mask(phone: str, masked: str) -> bool:
    """Whether the E.164 number `phone` may be the one that `masked` shows a part of; False where nothing is masked."""
    if not _MASK.search(masked):
        return False
    runs = "".join(r"\d+" if _MASK.match(run) else run for run in _RUNS.findall(masked))
    trunk = runs.startswith("8") and not masked.strip().startswith("+")
    return any(re.fullmatch(form, phone[1:]) for form in (runs, "7" + runs[1:])[: 2 if trunk else 1])


def mask_phone(phone: str | None) -> str:
    """The form for logs and screens: `+79991231234` becomes `+7999***1234`; shorter ones keep less, none is an empty string."""
    if not phone:
        return ""
    if len(phone) <= _MASKED_HEAD + _MASKED_TAIL:
        return "***" + phone[-2:]
    return f"{phone[:_MASKED_HEAD]}***{phone[-_MASKED_TAIL:]}"


def wa_digits(phone: str) -> str:
    """An E.164 number as WhatsApp writes it: digits alone. Raises ValueError for anything else."""
    if not re.fullmatch(r"\+[1-9]\d{6,14}", phone):
        raise ValueError(f"phone: {mask_phone(phone)} is not E.164")
    return phone[1:]
