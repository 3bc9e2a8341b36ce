"""What a day's free times cost: calls of the full fetch beside those that could still change an offer, and what planning them takes.

    python benchmarks/slot_calls.py

A chain under one roof and many small salons, against answers kept in memory. Nothing is random between two runs. Offers of both ways are
compared; the CRM allows 200 calls a minute, which is what the minutes are.
"""

import argparse
import asyncio
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock

import polars as pl

from reactivation_core.local_time import local_to_instant
from reactivation_core.slot_demand import SlotDemand
from reactivation_core.slot_round import MEMBER, SLOTS_SCHEMA
from reactivation_resources.open_slots import find_slots
from reactivation_resources.yclients.models import BookDates, BookTime

AS_OF = datetime(2026, 11, 23, 7, tzinfo=UTC)
TODAY = date(2026, 11, 23)
WEEK = [TODAY + timedelta(days=ahead) for ahead in range(1, 8)]
ZONE = "Europe/Moscow"
OPENS, CELLS = 10 * 60, 20  # minutes after midnight; half hours
CALLS_A_MINUTE = 200
PERIODS = ("morning", "afternoon", "evening")
CLIENT = ["company_id", "client_id"]


def main() -> None:
    arguments = argparse.ArgumentParser(description="Count the calls that a day's free times cost.")
    arguments.add_argument("--load", type=float, default=0.55, help="share of working hours that are booked")
    load = arguments.parse_args().load
    cases = {
        "chain, 40 staff, 20 services, 100 clients": salons(1, staff=40, services=20, clients=100, load=load),
        "chain, 40 staff, 20 services, 500 clients": salons(1, staff=40, services=20, clients=500, load=load),
        "200 salons, 5 staff, 8 services, 4 clients": salons(200, staff=5, services=8, clients=4, load=load),
        "200 salons, 5 staff, 8 services, 15 clients": salons(200, staff=5, services=8, clients=15, load=load),
    }
    print(
        f"{'':<46}{'full':>7}{'asked':>7}{'saved':>7}{'of days':>8}{'rounds':>8}{'planner CPU s':>14}{'minutes':>16}   offers"
    )
    for name, town in cases.items():
        print(f"{name:<46}{_row(town)}", flush=True)


def _row(town: "Salons") -> str:
    companies = town.clients["company_id"].unique().sort().to_list()
    began = time.process_time()
    found = asyncio.run(find_slots(town, town.demand, companies, budget=10**9))
    seconds = time.process_time() - began
    demand = town.demand(companies)
    full = demand.questions.height
    ours, theirs = demand.rank(found.slots), demand.rank(town.all_slots(demand))
    minutes = f"{full / CALLS_A_MINUTE:.1f} -> {found.calls / CALLS_A_MINUTE:.1f}"
    figures = f"{full:>7}{found.calls:>7}{1 - found.calls / full:>7.0%}{town.asked_days:>8}{found.rounds:>8}{seconds:>14.1f}{minutes:>16}"
    return f"{figures}   {_difference(ours, theirs)}"


def _difference(ours: pl.DataFrame, theirs: pl.DataFrame) -> str:
    """How the offers of the two ways differ, in words."""
    points = pl.col("score").sort()
    mine, full = (frame.filter(~pl.col("spare")).group_by(CLIENT).agg(points) for frame in (ours, theirs))
    both = full.join(mine, on=CLIENT, how="left", suffix="_ours")
    fewer = both.filter(pl.col("score_ours").list.len().fill_null(0) < pl.col("score").list.len()).height
    other = both.filter(pl.col("score_ours").ne_missing(pl.col("score"))).height
    return f"{both.height} clients, {other} with other scores, {fewer} with fewer"


@dataclass
class Salons:
    """Salons and their planned clients, as frames, and the CRM's answers: free starts in minutes after midnight by question."""

    companies: pl.DataFrame
    services: pl.DataFrame
    able: pl.DataFrame
    clients: pl.DataFrame
    profiles: pl.DataFrame
    free: dict[tuple[int, int, int, date], list[int]]
    lengths: dict[tuple[int, int], int]
    asked_days: int = 0

    def demand(self, companies: Sequence[int]) -> SlotDemand:
        clients = self.clients.filter(pl.col("company_id").is_in(list(companies)))
        return SlotDemand(clients, self.profiles, self.able, self.services, self.companies, as_of=AS_OF)

    def all_slots(self, demand: SlotDemand) -> pl.DataFrame:
        rows = [
            (*row[:3], local_to_instant(datetime.combine(row[3], _clock(start)), ZONE), self.lengths[row[:2]])
            for row in demand.questions.iter_rows()
            for start in self.free.get(row, ())
        ]
        return pl.DataFrame(rows, SLOTS_SCHEMA, orient="row")

    async def book_times(self, company_id: int, staff_id: int, day: date, service_ids: Iterable[int]) -> list[BookTime]:
        (service,) = service_ids
        length = self.lengths[company_id, service]
        starts = self.free.get((company_id, service, staff_id, day), ())
        return [BookTime(time=_clock(start), seance_length=length) for start in starts]

    async def book_dates(
        self,
        company_id: int,
        service_ids: Iterable[int],
        staff_id: int | None = None,
        date_from: date | None = None,  # noqa: ARG002 - the week is all there is
        date_to: date | None = None,  # noqa: ARG002
    ) -> BookDates:
        (service,) = service_ids
        self.asked_days += 1
        days = [day for day in WEEK if (company_id, service, staff_id, day) in self.free]
        return BookDates(booking_dates=days)


def salons(count: int, *, staff: int, services: int, clients: int, load: float) -> Salons:
    """`count` salons, alike in size. A member does a third of the services and works five days, or two on and two off."""
    dice = random.Random(7)
    free: dict[tuple[int, int, int, date], list[int]] = {}
    lengths = {(c, s): dice.choice([2700, 3600, 5400, 7200]) for c in range(count) for s in range(services)}
    able: dict[tuple[int, int], list[int]] = {}
    for company in range(count):
        for member in range(staff):
            mine = [service for service in range(services) if (service + member) % 3 == 0]
            for service in mine:
                able.setdefault((company, service), []).append(member)
            for day in _working_days(dice):
                booked = _booked(dice, load)
                for service in mine:
                    if starts := _starts(booked, lengths[company, service]):
                        free[company, service, member, day] = starts
    wanted, tastes = [], []
    for number, company in enumerate(company for company in range(count) for _ in range(clients)):
        service = dice.choices(range(services), [1 / (place + 1) for place in range(services)])[0]
        wanted.append((company, number, service, number))
        tastes.append((company, number, *_taste(dice, able[company, service])))
    ids = ["company_id", "client_id", "service_id", "priority_rank"]
    kinds = {
        "company_id": pl.Int64, "client_id": pl.Int64, "staff_id": pl.Int64, "staff_share": pl.Float64, "time_of_day": pl.String,
        "time_confidence": pl.Float64, "weekdays": pl.List(pl.Int8), "weekday_confidence": pl.Float64, "staff_alternatives": pl.List(pl.Int64),
    }  # fmt: skip
    rows = [(*pair, length) for pair, length in lengths.items()]
    return Salons(
        companies=pl.DataFrame({"company_id": range(count)}, {"company_id": pl.Int64}).with_columns(
            timezone=pl.lit(ZONE)
        ),
        services=pl.DataFrame(rows, dict.fromkeys(["company_id", "service_id", "duration_s"], pl.Int64), orient="row"),
        able=pl.DataFrame(
            [(*pair, one) for pair, who in able.items() for one in who], dict.fromkeys(MEMBER, pl.Int64), orient="row"
        ),
        clients=pl.DataFrame(wanted, dict.fromkeys(ids, pl.Int64), orient="row"),
        profiles=pl.DataFrame(tastes, kinds, orient="row"),
        free=free,
        lengths=lengths,
    )


def _working_days(dice: random.Random) -> list[date]:
    offset, day_off = dice.randrange(4), dice.randint(1, 7)
    if dice.random() < 0.4:
        return [day for day in WEEK if (day.toordinal() + offset) % 4 < 2]
    return [day for day in WEEK if day.isoweekday() not in (day_off, day_off % 7 + 1)]


def _booked(dice: random.Random, load: float) -> list[bool]:
    """A day's half hours, booked by visits of one to two hours."""
    cells: list[bool] = []
    while len(cells) < CELLS:
        cells += [dice.random() < load] * dice.choice([2, 2, 3, 4])
    return cells[:CELLS]


def _starts(booked: list[bool], length_s: int) -> list[int]:
    cells = -(-length_s // 1800)
    return [OPENS + 30 * first for first in range(CELLS - cells + 1) if not any(booked[first : first + cells])]


def _taste(dice: random.Random, able: list[int]) -> tuple[int, float, str | None, float, list[int], float, list[int]]:
    """Half of the clients came once, which makes every wish of theirs look firm."""
    visits = dice.choice([1, 1, 1, 1, 2, 3, 4, 6, 10, 20])

    def share(of_one: float) -> float:
        return max(1, sum(dice.random() < of_one for _ in range(visits))) / visits

    timely = share(0.6)
    period = dice.choice(PERIODS) if timely > 0.4 else None
    favourite, *others = dice.sample(able, min(3, len(able)))
    weekdays = dice.sample(range(1, 8), min(3, visits))
    return favourite, share(0.65), period, timely if period else 0.0, weekdays, share(0.3), others if visits > 2 else []


def _clock(minutes: int) -> clock:
    return clock(minutes // 60, minutes % 60)


if __name__ == "__main__":
    main()
