from datetime import date

import polars as pl
import pytest

from reactivation_core.contracts import (
    CONTRACTS,
    CONVERSIONS,
    INACTIVE_CLIENTS,
    RULES,
    ContractError,
    column_types,
    empty_frame,
    polars_schema,
    validate,
)  # fmt: skip
from reactivation_core.inactivity import INACTIVE_CLIENTS as INACTIVE_COLUMNS
from tests.core.books import book, frame

ROW = {
    "company_id": 1, "client_id": 5, "service_id": 2, "last_visit": date(2026, 1, 1), "days_since": 50, "days_since_any": 20,
    "due_after": 42, "decision": "eligible", "reason": "", "segment": "regular", "priority": 0.5, "visits": 3, "spent_minor": 100,
    "loyalty": 2, "interval_days": 30, "rhythm_days": 28.0, "gaps": 2, "service_visits": 3, "upcoming_at": None,
}  # fmt: skip


def inactive(**changes: object) -> pl.DataFrame:
    return pl.DataFrame([{**ROW, **changes}], schema=polars_schema(INACTIVE_CLIENTS))


@pytest.mark.parametrize("name", CONTRACTS)
def test_every_frame_describes_every_column_and_may_be_empty(name: str):
    assert all(column.description and column.type for column in column_types(CONTRACTS[name]))
    assert validate(CONTRACTS[name], empty_frame(CONTRACTS[name])).height == 0


def test_a_frame_that_keeps_its_contract_comes_back_unchanged():
    assert validate(INACTIVE_CLIENTS, inactive()).equals(inactive())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"due_after": 50}, "due means days_since > due_after"),
        ({"interval_days": 43}, "due_after >= interval_days"),
        ({"days_since_any": 51}, "days_since_any <= days_since"),
        ({"reason": "paused"}, "excluded rows and only they have a reason"),
        ({"decision": "excluded"}, "excluded rows and only they have a reason"),
        ({"decision": "excluded", "reason": "bored"}, "reason must keep"),
        ({"loyalty": 4}, "vip means loyalty of 4 or 5"),
        ({"rhythm_days": None}, "a rhythm needs two gaps"),
        ({"segment": None}, "segment must not be null, fails in 1 of 1 rows"),
        ({"visits": 0}, "visits must keep"),
    ],
)
def test_a_broken_rule_is_named(changes: dict[str, object], words: str):
    with pytest.raises(ContractError, match="inactive_clients: ") as error:
        validate(INACTIVE_CLIENTS, inactive(**changes))
    assert words in str(error.value)


def test_missing_foreign_and_mistyped_columns_are_named():
    broken = inactive().drop("gaps").with_columns(extra=1, visits=pl.lit("three"))
    with pytest.raises(ContractError) as error:
        validate(INACTIVE_CLIENTS, broken)
    assert "gaps is missing" in str(error.value)
    assert "extra is not part of the contract" in str(error.value)
    assert "visits is String, not Int32" in str(error.value)


def test_repeated_keys_are_counted():
    with pytest.raises(ContractError, match="company_id, client_id repeat in 2 of 2 rows"):
        validate(INACTIVE_CLIENTS, pl.concat([inactive(), inactive()]))


def test_complaints_never_show_a_phone_or_a_name():
    clients = frame("clients", [{"client_id": 1, "name": "Olga Secret", "phone": "89000001234"}] * 2)
    with pytest.raises(ContractError) as error:
        validate(CONTRACTS["clients"], clients)
    assert "Olga" not in str(error.value)
    assert "9000001234" not in str(error.value)


def test_a_lazy_frame_is_refused_because_its_values_would_not_be_checked():
    with pytest.raises(TypeError, match="collect the LazyFrame first"):
        validate(INACTIVE_CLIENTS, inactive().lazy())  # type: ignore[arg-type]


def test_types_are_told_in_words():
    words = {column.name: (column.type, column.nullable) for column in column_types(RULES)}
    assert words["discount_progression"] == ("list of whole number", False)
    assert {column.name: column.type for column in column_types(CONVERSIONS)}["sent_at"] == "instant (UTC)"


def test_the_contract_lists_the_columns_that_detection_returns():
    assert dict(polars_schema(INACTIVE_CLIENTS)) == INACTIVE_COLUMNS


def test_the_inputs_of_the_tests_keep_their_contracts():
    inputs = book(
        services=[{"service_id": 1}],
        staff=[{"staff_id": 1}],
        clients=[{"client_id": 1}],
        rules=[{"service_id": 1, "interval_days": 3}],
    )
    for name in inputs.__dataclass_fields__:
        validate(CONTRACTS[name], getattr(inputs, name))
