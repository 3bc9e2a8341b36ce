"""A seeded town of salons as the lake's Parquet frames: the input of the benchmarks, the same bytes for the same arguments.

Records are sorted by company and client, as the lake keeps them. A client has a rhythm, comes for one to sixty visits over two years and
went silent some time ago; a visit has one or two lines.
"""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from reactivation_core.contracts import CONTRACTS, polars_schema
from reactivation_core.local_time import microseconds

AS_OF = datetime(2026, 11, 20, 7, tzinfo=UTC)
ZONES = (
    *(
        "Europe/Moscow",
        "Asia/Yekaterinburg",
        "Asia/Novosibirsk",
        "Europe/Samara",
        "Asia/Vladivostok",
        "Europe/Kaliningrad",
    ),
    *("Asia/Almaty", "Europe/Berlin", "America/Toronto", "Asia/Dubai"),
)
SERVICES, STAFF, CLIENTS_PER_SALON = 10, 8, 1000
_DAY_US = 86_400_000_000


def town(folder: Path, clients: int, seed: int = 7) -> Path:
    """The folder with the frames of a town of `clients`, generated unless it is there."""
    target = folder / f"town-{clients}-{seed}"
    if not (target / "done").exists():
        target.mkdir(parents=True, exist_ok=True)
        for name, frame in _frames(clients, np.random.default_rng(seed)).items():
            columns = polars_schema(CONTRACTS[name])
            frame.select(pl.col(column).cast(kind) for column, kind in columns.items()).write_parquet(
                target / f"{name}.parquet"
            )
        (target / "done").touch()
    return target


def _frames(clients: int, dice: np.random.Generator) -> dict[str, pl.DataFrame]:
    salons = max(clients // CLIENTS_PER_SALON, 1)
    number = pl.int_range(salons, dtype=pl.Int64, eager=True)
    companies = pl.DataFrame({"company_id": 1_200_000 + 37 * number, "number": number}).with_columns(
        pl.format("Salon {}", "number").alias("title"),
        pl.lit("beauty").alias("business_type"),
        pl.col("number").map_elements(lambda n: ZONES[n % len(ZONES)], return_dtype=pl.String).alias("timezone"),
        country=pl.lit("RU"), currency=pl.lit("RUB"), phone=pl.lit("+78000000000"), language=pl.lit("ru"),
        enabled=pl.col("number") % 20 != 19, consent_basis=pl.lit("agreement"), exported_at=None, crm_source=pl.lit("yclients"),
        tone=pl.lit("friendly"), max_days_inactive=365, min_days_since_visit=14, personal_factor=1.5, holdout_percent=10,
    )  # fmt: skip
    ids = companies.select("company_id", "number")
    services = ids.join(pl.DataFrame({"i": range(SERVICES)}), how="cross").select(
        "company_id", service_id=8_000_000 + pl.col("number") * 100 + pl.col("i"), title=pl.format("Service {}", "i"), category=None,
        list_price_minor=(pl.col("i") * 37 % 11 + 5) * 20_000, duration_s=3600 + 900 * (pl.col("i") % 3), active=pl.col("i") != 5,
        i="i",
    )  # fmt: skip
    staff = ids.join(pl.DataFrame({"j": range(STAFF)}), how="cross").select(
        "company_id", staff_id=2_000_000 + pl.col("number") * 100 + pl.col("j"), name=pl.format("Master {}", "j"), phone=None,
        active=pl.col("j") != 7, service_ids=pl.concat_list(8_000_000 + pl.col("number") * 100 + (pl.col("j") + step) % SERVICES for step in range(7)),
    )  # fmt: skip
    people, records = _people_and_records(clients, salons, dice)
    rules = services.filter(pl.col("i") < 6).select(
        "company_id", "service_id", interval_days=21 + 7 * pl.col("i"), retry_interval_days=14, max_attempts=3,
        discount_progression=pl.lit([10, 15, 20]), active=True, interval_source=pl.lit("default"),
    )  # fmt: skip
    some = people.filter(pl.int_range(pl.len()) % 23 == 0)
    planned = pl.lit(AS_OF) - pl.duration(days=pl.int_range(pl.len()) % 40)
    campaigns = some.select(
        "company_id", "client_id", campaign_id=pl.format("campaign-{}", "client_id"), episode_no=1, attempt_number=pl.int_range(pl.len()) % 3 + 1,
        status=pl.lit("accepted"), held_out=False, day=planned.dt.date(), planned_at=planned, send_after=planned,
        sent_at=planned + pl.duration(hours=3), response_type=None, responded_at=None, next_attempt_at=planned + pl.duration(days=14),
        completion_reason=None, completed_at=None, open_until=None,
    )  # fmt: skip
    lately = pl.lit(AS_OF) - pl.duration(days=pl.int_range(pl.len()) % 300 + 1)
    suppressions = people.filter((pl.int_range(pl.len()) % 31 == 0) & pl.col("phone").is_not_null()).select(
        "company_id", "phone", at=lately, reason=pl.lit("opt_out"), lifted_at=None
    )
    pauses = people.filter(pl.int_range(pl.len()) % 57 == 0).select(
        "company_id", "client_id", at=lately, until=lately + pl.duration(days=90), reason=pl.lit("decline_now")
    )
    return {
        "companies": companies, "services": services, "staff": staff, "clients": people, "records": records, "rules": rules,
        "campaigns": campaigns, "suppressions": suppressions, "pauses": pauses, "open_slots": _slots(staff, services, dice),
    }  # fmt: skip


def _people_and_records(clients: int, salons: int, dice: np.random.Generator) -> tuple[pl.DataFrame, pl.DataFrame]:
    salon = np.sort(dice.integers(0, salons, clients))
    order = np.arange(clients)
    people = pl.DataFrame({"salon": salon, "client_id": 150_000_000 + order * 97, "order": order}).select(
        company_id=1_200_000 + 37 * pl.col("salon"),
        client_id="client_id",
        name=pl.lit("Olga"),
        phone=pl.when(pl.col("order") % 90 == 1).then(None).when(pl.col("order") % 200 == 2)
        .then(pl.format("+7900{}", 1_000_000 + pl.col("order") - 1)).otherwise(pl.format("+7900{}", 1_000_000 + pl.col("order"))),
        mailing_refused=pl.col("order") % 61 == 3, blacklisted=pl.col("order") % 97 == 4, consent=None, deleted=pl.col("order") % 83 == 5,
    )  # fmt: skip
    visits = np.where(dice.random(clients) < 0.25, 1, 1 + dice.negative_binomial(2, 0.07, clients)).clip(1, 60)
    rhythm, away = dice.lognormal(3.2, 0.5, clients), dice.exponential(70, clients) - 10
    client = np.repeat(order, visits)
    gap = dice.exponential(1, len(client)) * rhythm[client] * 0.5 + rhythm[client] * 0.5
    first = np.repeat(np.cumsum(visits) - visits, visits)
    total = np.cumsum(gap)
    back = away[client] + total - total[first]
    lines = np.where(dice.random(len(client)) < 0.25, 2, 1)
    visit = np.repeat(np.arange(len(client)), lines)
    line = np.arange(len(visit)) - np.repeat(np.cumsum(lines) - lines, lines)
    who = client[visit]
    day = microseconds(AS_OF) // _DAY_US - back[visit].astype(np.int64)
    hour = (dice.normal(0, 2, len(client)) + 6 + 8 * dice.random(clients)[client]).clip(4, 16)
    starts = day * _DAY_US + (hour[visit] * 4).astype(np.int64) * 900_000_000 + line * 3_600_000_000
    favourite = dice.integers(0, SERVICES, clients)[who]
    service = np.where(dice.random(len(visit)) < 0.7, favourite, dice.integers(0, SERVICES, len(visit)))
    master = np.where(
        dice.random(len(visit)) < 0.8, dice.integers(0, STAFF, clients)[who], dice.integers(0, STAFF, len(visit))
    )
    fate = dice.random(len(visit))
    past = starts <= microseconds(AS_OF)
    frame = pl.DataFrame({
        "salon": salon[who], "client_id": 150_000_000 + who * 97, "record_id": 900_000_000 + visit, "line": line, "starts": starts,
        "staff": master, "service": service, "price": dice.integers(8, 60, len(visit)) * 10_000, "fate": fate, "past": past,
    })  # fmt: skip
    records = frame.select(
        company_id=1_200_000 + 37 * pl.col("salon"), client_id="client_id", record_id="record_id", line="line",
        starts_at=pl.from_epoch("starts", time_unit="us").dt.replace_time_zone("UTC"),
        staff_id=2_000_000 + pl.col("salon") * 100 + pl.col("staff"), service_id=8_000_000 + pl.col("salon") * 100 + pl.col("service"),
        price_minor=pl.when(pl.col("fate") > 0.02).then("price"),
        status=pl.when(pl.col("fate") > 0.93).then(pl.lit("cancelled")).when(pl.col("fate") > 0.90).then(pl.lit("no_show"))
        .when("past").then(pl.lit("attended")).otherwise(pl.lit("booked")),
        deleted=pl.col("fate") < 0.01,
        created_at=pl.from_epoch(pl.min_horizontal("starts", pl.lit(microseconds(AS_OF - timedelta(days=2)))), time_unit="us").dt.replace_time_zone("UTC"),
    )  # fmt: skip
    return people, records.filter(pl.col("starts_at") > AS_OF - timedelta(days=1000)).sort(
        "company_id", "client_id", maintain_order=True
    )


def _slots(staff: pl.DataFrame, services: pl.DataFrame, dice: np.random.Generator) -> pl.DataFrame:
    """Half-hour starts of the coming week, a third of them free."""
    starts = pl.DataFrame({"offset": [day * 48 + half for day in range(1, 8) for half in range(6, 28)]})
    free = (
        staff.select("company_id", "staff_id", service_id="service_ids").explode("service_id").join(starts, how="cross")
    )
    free = free.filter(pl.Series(dice.random(free.height) < 0.33)).join(
        services.select("service_id", "duration_s"), on="service_id"
    )
    midnight = pl.lit(AS_OF.replace(hour=0))
    return free.select(
        "company_id",
        "service_id",
        "staff_id",
        starts_at=midnight + pl.duration(minutes=30 * pl.col("offset")),
        length_s="duration_s",
    )


if __name__ == "__main__":
    print(town(Path(sys.argv[1]), int(sys.argv[2])))
