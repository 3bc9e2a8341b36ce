"""What every daily or monthly asset does around its one computation: compute, validate, write, describe.

A month goes by its first day, so that days are all these functions know. What to add here: something all such assets show or check.
What to keep out: anything one asset alone needs (it belongs in its file).
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import dagster as dg
import polars as pl

from reactivation_assets.partitions import DAILY, Partitions, days_before
from reactivation_resources.lake import Lake

OWNERS = ["team:reactivation"]
CONTRACT = "contract"
ROW_COUNT = "row_count_within_history"
HISTORY = 28  # partitions looked back on
ENOUGH_HISTORY = 7
DAYS_AT_ONCE = 31  # frames of a backfill that are validated together


@dataclass(frozen=True)
class Check:
    """A check of a day's frame: its name, what it promises, whether a failure stops what depends on the asset."""

    name: str
    description: str
    holds: Callable[[date, pl.DataFrame], "Finding"]
    blocking: bool = True


@dataclass(frozen=True)
class Finding:
    """What a check found: whether it holds, and the numbers behind it."""

    passed: bool
    numbers: Mapping[str, Any] = field(default_factory=dict)


def always_holds(_day: date, _frame: pl.DataFrame) -> Finding:
    """Stands for a check that needs the platform: the asset puts the real one in its place."""
    return Finding(passed=True)


def no_rows(offenders: pl.DataFrame, what: str) -> Finding:
    """Holds when `offenders` is empty."""
    return Finding(passed=offenders.is_empty(), numbers={what: offenders.height})


def daily_asset(
    name: str,
    *,
    group: str,
    deps: Sequence[str],
    kinds: Iterable[str] = ("polars", "parquet"),
    checks: Sequence[Check] = (),
    partitions: Partitions = DAILY,
) -> Callable[[Callable[..., dg.MaterializeResult]], dg.AssetsDefinition]:
    """`@dg.asset` with what all daily (or monthly) assets share: partitions, one run for a backfill, owners, the contract's check."""
    specs = [
        dg.AssetCheckSpec(
            CONTRACT, asset=name, blocking=True, description="columns, types, keys and ranges are as promised"
        ),
        dg.AssetCheckSpec(ROW_COUNT, asset=name, description=f"rows within the range of the last {HISTORY} partitions"),
        *(dg.AssetCheckSpec(c.name, asset=name, blocking=c.blocking, description=c.description) for c in checks),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # single-run backfills are what makes a year of days affordable
        decorate: Callable[[Callable[..., dg.MaterializeResult]], dg.AssetsDefinition] = dg.asset(
            name=name,
            partitions_def=partitions,
            backfill_policy=dg.BackfillPolicy.single_run(),
            group_name=group,
            owners=OWNERS,
            kinds=set(kinds),
            deps=list(deps),
            check_specs=specs,
        )
    return decorate


def materialize_days(
    context: dg.AssetExecutionContext,
    lake: Lake,
    compute: Callable[[date], pl.DataFrame],
    *,
    describe: Callable[[pl.DataFrame], Mapping[str, Any]],
    picture: Callable[[date, pl.DataFrame], str],
    checks: Sequence[Check] = (),
    apply: Callable[[date, pl.DataFrame], Mapping[str, Any]] = lambda _, __: {},
    at_once: int = DAYS_AT_ONCE,
) -> dg.MaterializeResult:
    """Compute, validate and write the frame of every partition of the run (one, or a range in a backfill).

    `describe` gives a day's numbers and tables, `picture` its picture as Markdown; a backfill of many days draws its last one.
    `apply` does with a good frame what reaches beyond the lake, and gives the numbers of that. `at_once`: frames held together.
    A frame that breaks its contract is not written or applied: the check fails and stops what depends on it.
    """
    from reactivation_core.contracts import CONTRACTS, broken_days, column_types

    name = context.asset_key.path[-1]
    days = [date.fromisoformat(key) for key in context.partition_keys]
    contract = CONTRACTS[name]
    broken: dict[str, str] = {}
    findings: dict[str, dict[str, Finding]] = {check.name: {} for check in checks}
    metadata: dict[str, Any] = {}
    schema = dg.TableSchema(
        columns=[
            dg.TableColumn(column, kind, description, dg.TableColumnConstraints(nullable=nullable))
            for column, kind, nullable, description in column_types(contract)
        ]
    )
    rows = 0
    for chunk in _pieces(days, at_once):
        frames = {day: compute(day) for day in chunk}
        wrong = broken_days(contract, frames)
        broken |= {day.isoformat(): words for day, words in wrong.items()}
        for day, frame in frames.items():
            if day in wrong:
                continue
            for check in checks:
                findings[check.name][day.isoformat()] = check.holds(day, frame)
            path = lake.write(name, frame, day)
            rows = frame.height
            metadata = {
                "dagster/row_count": rows,
                "dagster/uri": path,
                "dagster/column_schema": schema,
                **describe(frame),
                **apply(day, frame),
            }
            if day == days[-1]:
                metadata["picture"] = dg.MetadataValue.md(picture(day, frame))
            if len(days) > 1:
                context.add_asset_metadata(metadata, partition_key=day.isoformat())
                metadata = {}
    results = [
        _contract_result(broken),
        _row_count_result(lake, name, _history(context, days), rows),
        *(_finding_result(check, findings[check.name]) for check in checks),
    ]
    return dg.MaterializeResult(metadata=metadata, check_results=results)


def _pieces(days: Sequence[date], size: int) -> Iterator[Sequence[date]]:
    """The days in pieces of at most `size`."""
    return (days[start : start + size] for start in range(0, len(days), size))


def _contract_result(broken: Mapping[str, str]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(check_name=CONTRACT, passed=not broken, metadata=dict(list(broken.items())[:20]))


def _finding_result(check: Check, findings: Mapping[str, Finding]) -> dg.AssetCheckResult:
    failed = {day: finding for day, finding in findings.items() if not finding.passed}
    numbers: dict[str, Any] = {}
    if len(findings) == 1:
        numbers = dict(next(iter(findings.values())).numbers)
    elif failed:
        numbers = {day: str(dict(finding.numbers)) for day, finding in list(failed.items())[:20]}
    severity = dg.AssetCheckSeverity.ERROR if check.blocking else dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(check_name=check.name, passed=not failed, severity=severity, metadata=numbers)


def _history(context: dg.AssetExecutionContext, days: Sequence[date]) -> list[date]:
    """The partitions a run's one partition is compared with; a backfill of many is not compared."""
    partitions = context.assets_def.partitions_def
    if len(days) > 1 or not isinstance(partitions, dg.DailyPartitionsDefinition | dg.MonthlyPartitionsDefinition):
        return []
    return days_before(partitions, days[0], HISTORY)


def _row_count_result(lake: Lake, name: str, history: Sequence[date], rows: int) -> dg.AssetCheckResult:
    """Warn when the rows leave three times the range of the partitions before."""
    counts = [lake.rows(name, day) for day in history if lake.exists(name, day)]
    numbers: dict[str, Any] = {"rows": rows, "partitions compared": len(counts)}
    passed = True
    if len(counts) >= ENOUGH_HISTORY:
        low, high = min(counts) / 3, max(*counts, 1) * 3
        numbers |= {"lowest expected": low, "highest expected": float(high)}
        passed = low <= rows <= high
    return dg.AssetCheckResult(
        check_name=ROW_COUNT, passed=passed, severity=dg.AssetCheckSeverity.WARN, metadata=numbers
    )


def counts_table(frame: pl.DataFrame, *columns: str) -> dg.MetadataValue[Any]:
    """A small Markdown table: how many rows there are of each combination of `columns`, most frequent first."""
    if frame.is_empty():
        return dg.MetadataValue.md("no rows")
    counts = frame.group_by(columns).len("rows").sort("rows", *columns, descending=[True, *(False for _ in columns)])
    return markdown_table(counts)


def markdown_table(frame: pl.DataFrame) -> dg.MetadataValue[Any]:
    """A frame of a few rows as a Markdown table. Never hand it phones or names: the event log keeps it for ever."""
    header = "| " + " | ".join(frame.columns) + " |"
    rule = "|" + "---|" * len(frame.columns)
    rows = [
        "| " + " | ".join("" if value is None else str(value) for value in row) + " |" for row in frame.head(60).rows()
    ]
    return dg.MetadataValue.md("\n".join([header, rule, *rows]))
