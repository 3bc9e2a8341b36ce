"""The documented variants of the CRM's answers and webhooks, each switchable while the town runs.

A variant is one field: its first value is what the town shows by itself, `by_id` meaning that the form follows from the
card's id and so is the same on every read. Add a field here and obey it in `wire*.py`, the `crm_*.py` calls or
`crm_hooks.py`; keep what strikes single calls in `gate.py`.
"""

from dataclasses import dataclass, field, fields
from typing import Any


def _one_of(*values: str, meaning: str) -> str:
    chosen: str = field(default=values[0], metadata={"values": values, "meaning": meaning})
    return chosen


def _number(default: float, low: float, high: float, meaning: str) -> float:
    chosen: float = field(default=default, metadata={"low": low, "high": high, "meaning": meaning})
    return chosen


@dataclass(slots=True)
class Variants:
    """The present value of every variant."""

    envelope: str = _one_of(
        "by_accept", "always", "never", meaning="success/data/meta round the data: by the vnd Accept header"
    )
    meta: str = _one_of("as_is", "object", "list", meaning="an empty meta as [], as {}; or every meta as []")
    total_count: str = _one_of("as_is", "text", "missing", meaning="meta.total_count of listings")
    page_size: str = _one_of(
        "as_is", "fallback", "short", meaning="rows a page: as asked, always 25, four fifths of those asked"
    )
    order: str = _one_of("id", "changed_desc", "changed_asc", meaning="order of the pages of records")
    custom_fields: str = _one_of(
        "by_id", "list", "object", "filled", meaning="custom_fields as [], {} or {code: value}"
    )
    client_null: str = _one_of("null", "missing", "list", meaning="client of a record that has none: null, absent, []")
    position: str = _one_of("by_id", "missing", "list", "object", meaning="position of a master")
    visit_id: str = _one_of("by_id", "int", "text", meaning="visit_id of a record")
    label_id: str = _one_of("by_id", "int", "text", meaning="id of a record's label")
    price: str = _one_of("by_id", "number", "text", meaning="prices of services and of a record's lines")
    booking_days: str = _one_of("by_id", "int", "text", "empty", meaning="days in booking_days: 4, '4', or [] for all")
    book_times: str = _one_of(
        "full", "seance_only", "unix", "no_length", "no_time", meaning="what a free start carries"
    )
    record_created: str = _one_of("object", "array", meaning="data of the 201 of POST /records")
    phones: str = _one_of("as_is", "masked", "empty", meaning="clients' phones")
    last_visit_date: str = _one_of(
        "by_id", "date", "datetime", "null", "empty", meaning="visit dates in clients/search"
    )
    datetime_offset: str = _one_of("winter", "right", meaning="offset in a record's datetime in summer")
    composite: str = _one_of("shared", "apart", meaning="whether records of one visit share its visit_id")
    activity: str = _one_of(
        "as_is", "by_id", meaning="whether some records show an activity_id without belonging to a group event"
    )
    names: str = _one_of(
        "as_is", "nul", "surrogate", meaning="a NUL or half a surrogate pair in every third name and title"
    )
    numbers: str = _one_of(
        "as_is", "absurd", meaning="in every eleventh card a price, a length and a count that no table takes"
    )
    flags: str = _one_of("as_is", "int", "text", meaning="deleted of a record as bool, 0/1, '0'/'1'")
    errors_422: str = _one_of(
        "code", "text", "list", meaning="booking errors: {errors: {code}}, meta.message only, meta.errors [{}]"
    )
    not_found: str = _one_of("message", "empty", meaning="meta of a 404: {message} or {}")
    search_created: str = _one_of("booking", "visit", meaning="what `created` means in the search filter `record`")
    consent_filters: str = _one_of("refused", "served", meaning="is_newsletter_allowed and its like in clients/search")
    partner_id: str = _one_of("optional", "required", meaning="the header X-Partner-Id")
    delete_record: str = _one_of("allowed", "forbidden", meaning="DELETE /record: 204 or 403")
    self_sending: str = _one_of("no", "yes", meaning="whether API writes raise webhooks")
    webhook_body: str = _one_of("object", "array", meaning="body of a webhook: an event, or a list of events")
    webhook_data: str = _one_of("full", "partial", "empty", meaning="data of a webhook: the card, a few keys of it, []")
    webhook_order: str = _one_of("as_is", "shuffled", meaning="order of webhooks")
    webhook_copies: float = _number(1, 1, 4, "up to this many identical webhooks an event")
    webhook_dropped: float = _number(0.0, 0.0, 1.0, "share of webhooks never sent")

    def switch(self, wanted: dict[str, Any]) -> None:
        """Set variants by name; an unknown name or value raises ValueError and changes nothing."""
        known = {item.name: item.metadata for item in fields(self)}
        for name, value in wanted.items():
            if name not in known:
                raise ValueError(f"variant {name} is none of {', '.join(known)}")
            allowed = known[name].get("values")
            if allowed is not None and value not in allowed:
                raise ValueError(f"{name}={value!r} is none of {', '.join(allowed)}")
            if allowed is None and not (
                isinstance(value, int | float) and known[name]["low"] <= value <= known[name]["high"]
            ):
                raise ValueError(f"{name}={value!r} is not from {known[name]['low']} to {known[name]['high']}")
        for name, value in wanted.items():
            setattr(self, name, value)

    def restore(self) -> None:
        """Set every variant back to what the town shows by itself."""
        for item in fields(self):
            setattr(self, item.name, item.default)

    def described(self) -> list[dict[str, Any]]:
        """Every variant: name, meaning, value, default and what is allowed."""
        return [
            {
                "name": item.name,
                "meaning": item.metadata["meaning"],
                "value": getattr(self, item.name),
                "default": item.default,
                "values": list(item.metadata.get("values") or (item.metadata["low"], item.metadata["high"])),
            }
            for item in fields(self)
        ]


def form(chosen: str, by_id: str) -> str:
    """The form that a card shows: the one that follows from its id unless another was chosen."""
    return by_id if chosen == "by_id" else chosen
