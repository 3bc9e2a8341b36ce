"""`account_health`: what every sending number may send, what it has sent, and why some may not."""

from datetime import timedelta
from typing import Any

import dagster as dg
import polars as pl

from reactivation_assets.daily_frames import CONTRACT, OWNERS, counts_table, markdown_table
from reactivation_assets.pictures import bar_chart, histogram
from reactivation_assets.resources import PlatformParam
from reactivation_resources.account_watch import health_frame, poll_accounts, refresh_health
from reactivation_resources.alerts import Told, tell
from reactivation_resources.platform import Platform
from reactivation_resources.template_registry import Synced, sync_all

WITHIN_LIMITS, ALL_MAY_SEND = "within_limits", "all_may_send"
_BARS = 30
_TEMPLATES_EVERY = timedelta(hours=1)


@dg.asset(
    group_name="feedback",
    owners=OWNERS,
    kinds={"postgres", "whatsapp", "polars"},
    check_specs=[
        dg.AssetCheckSpec(
            CONTRACT,
            asset="account_health",
            blocking=True,
            description="columns, types, keys and ranges are as promised",
        ),
        dg.AssetCheckSpec(
            WITHIN_LIMITS, asset="account_health", description="no number has sent more than its warm-up level allows"
        ),
        dg.AssetCheckSpec(ALL_MAY_SEND, asset="account_health", description="every enabled company's number may send"),
    ],
)
def account_health(platform: PlatformParam) -> dg.MaterializeResult:
    """Asks the channels about their numbers and templates, recounts the spam scores, tells people what they must see, and shows where all
    numbers stand.

    Not partitioned: it is what is true now. What was true before stands in the history (`account_events`).
    """
    from reactivation_core.contracts import CONTRACTS, broken, column_types

    now = platform.clock.now()
    polled = poll_accounts(platform.database, platform.channels, now)
    refresh_health(platform.database, now)
    templates = _sync_templates(platform)
    told = _tell(platform)
    frame = health_frame(platform.database, now, platform.caps)
    contract = CONTRACTS["account_health"]
    words = broken(contract, frame)
    metadata: dict[str, Any] = {}
    if not words:
        schema = dg.TableSchema(
            columns=[
                dg.TableColumn(column, kind, description, dg.TableColumnConstraints(nullable=nullable))
                for column, kind, nullable, description in column_types(contract)
            ]
        )
        metadata = {
            "dagster/row_count": frame.height,
            "dagster/uri": platform.lake.write("account_health", frame),
            "dagster/column_schema": schema,
            "asked": polled.asked,
            "working": polled.working,
            "signals": dict(polled.signals),
            "templates usable": sum(one.usable for one in templates.values() if not isinstance(one, str)),
            "templates not read": {business: one for business, one in templates.items() if isinstance(one, str)},
            "alerts told": told.told,
            "alerts waiting": told.waiting,
            "states": counts_table(frame, "state", "level", "refusal"),
            "cannot send": markdown_table(
                _idle(frame).select("account_id", "company_id", "channel", "refusal", "paused_until")
            ),
            "picture": dg.MetadataValue.md(_picture(frame)),
        }
    over, idle = (
        frame.filter(pl.col("sent_24h") > _ALLOWED),
        _idle(frame).filter(pl.col("refusal") != "company_disabled"),
    )
    return dg.MaterializeResult(
        metadata=metadata,
        check_results=[
            dg.AssetCheckResult(check_name=CONTRACT, passed=not words, metadata={"broken": words} if words else {}),
            _warning(WITHIN_LIMITS, over, "numbers above their level"),
            _warning(ALL_MAY_SEND, idle, "numbers that may not send"),
        ],
    )


# A limit that has been lowered since is no breach: what the level allows was allowed when it was sent.
_ALLOWED = pl.col("level").replace_strict({"cold": 20, "warm": 50, "hot": 100}, return_dtype=pl.Int32)


def _idle(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.filter(pl.col("refusal") != "")


def _tell(platform: Platform) -> Told:
    if platform.telegram is None:
        return Told()
    return tell(platform.database, platform.telegram, platform.clock.now())


def _sync_templates(platform: Platform) -> dict[str, Synced | str]:
    if platform.whatsapp_templates is None:
        return {}
    return sync_all(platform.database, platform.whatsapp_templates.list, platform.clock.now(), _TEMPLATES_EVERY)


def _warning(name: str, offenders: pl.DataFrame, what: str) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=name,
        passed=offenders.is_empty(),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={what: offenders.height},
    )


def _picture(frame: pl.DataFrame) -> str:
    """How much of its daily limit each number has used, in percent; of many numbers how often which share occurs."""
    used = frame.filter(pl.col("daily_limit") > 0).with_columns(
        (100 * pl.col("sent_24h") / pl.col("daily_limit")).alias("used")
    )
    title = "Daily limit used, percent, by sending number"
    if used.height > _BARS:
        return histogram(used["used"].to_list(), title, unit="percent of the daily limit", threshold=100)
    return bar_chart(used["account_id"].to_list(), used["used"].round(1).to_list(), title)
