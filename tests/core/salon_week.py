"""A week of free times and the clients who want them: what the CRM would answer, as plain values and as frames."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

import polars as pl
from hypothesis import strategies as st

from reactivation_core.local_time import local_to_instant
from reactivation_core.slot_demand import SlotDemand
from reactivation_core.slot_round import MEMBER, QUESTION, SLOTS_SCHEMA, Known

T = datetime(2026, 11, 23, 7, tzinfo=UTC)  # Monday 10:00 in Moscow, 2:00 in Toronto
TODAY = date(2026, 11, 23)
ZONES = {1: "Europe/Moscow", 2: "America/Toronto"}
CUT, DYE, MASK = 5, 6, 7
ANNA, OLGA, VERA = 11, 12, 13
LENGTH_S = 3600
Member = tuple[int, int, int]


@dataclass
class Taste:
    """What a client likes; the parts of a preference profile that slots are chosen by."""

    staff: int | None = None
    share: float = 0.0
    period: str | None = None
    sure: float = 0.0
    weekdays: tuple[int, ...] = ()
    weekdays_sure: float = 0.0
    alternatives: tuple[int, ...] = ()


@dataclass
class SalonWeek:
    """`clients` are (company, service, taste) in the order they choose; `free` holds the starting hours by (company, service, staff) and days ahead."""

    clients: list[tuple[int, int, Taste]]
    free: dict[Member, dict[int, tuple[int, ...]]]
    needed_s: int = LENGTH_S
    zones: dict[int, str] = field(default_factory=lambda: dict(ZONES))

    def demand(self, companies: Collection[int] | None = None, **options: int) -> SlotDemand:
        """The demand of some companies, of all when None."""
        wanted = [
            (company, number, service, number, taste)
            for number, (company, service, taste) in enumerate(self.clients, 1)
            if companies is None or company in companies
        ]
        ints = dict.fromkeys(["company_id", "client_id", "service_id", "priority_rank"], pl.Int64)
        profiles = [
            (
                row[0],
                row[1],
                t.staff,
                t.share,
                t.period,
                t.sure,
                list(t.weekdays),
                t.weekdays_sure,
                list(t.alternatives),
            )
            for row in wanted
            for t in [row[4]]
        ]
        taste_columns = {
            "company_id": pl.Int64, "client_id": pl.Int64, "staff_id": pl.Int64, "staff_share": pl.Float64, "time_of_day": pl.String,
            "time_confidence": pl.Float64, "weekdays": pl.List(pl.Int8), "weekday_confidence": pl.Float64, "staff_alternatives": pl.List(pl.Int64),
        }  # fmt: skip
        services = sorted({(company, service, self.needed_s) for company, service, _ in self.free})
        return SlotDemand(
            pl.DataFrame([row[:4] for row in wanted], ints, orient="row"),
            pl.DataFrame(profiles, taste_columns, orient="row"),
            pl.DataFrame(list(self.free), dict.fromkeys(MEMBER, pl.Int64), orient="row"),
            pl.DataFrame(services, dict.fromkeys(["company_id", "service_id", "duration_s"], pl.Int64), orient="row"),
            pl.DataFrame({"company_id": list(self.zones), "timezone": list(self.zones.values())}),
            as_of=T,
            **options,
        )

    def today(self, company: int) -> date:
        return T.astimezone(_zone(self.zones[company])).date()

    def hours(self, company: int, service: int, staff: int, day: date) -> tuple[int, ...]:
        """The CRM's answer about one day."""
        ahead = (day - self.today(company)).days
        return self.free.get((company, service, staff), {}).get(ahead, ())

    def days(self, company: int, service: int, staff: int) -> list[date]:
        """The CRM's answer about the bookable days."""
        week = self.free.get((company, service, staff), {})
        return [self.today(company) + timedelta(days=ahead) for ahead, hours in week.items() if hours]

    def slots(self, questions: Iterable[tuple[int, int, int, date]]) -> pl.DataFrame:
        """The open slots that answer these questions."""
        rows = [
            (
                company,
                service,
                staff,
                local_to_instant(datetime.combine(day, time(hour)), self.zones[company]),
                LENGTH_S,
            )
            for company, service, staff, day in questions
            for hour in self.hours(company, service, staff, day)
        ]
        return pl.DataFrame(rows, SLOTS_SCHEMA, orient="row")

    def told(self, known: Known, questions: pl.DataFrame, demand: SlotDemand) -> Known:
        """What is known when these questions have been answered as well."""
        rows = list(questions.select(QUESTION).iter_rows())
        dated = {row[:3] for row in rows if row[3] is None}
        closed = [
            row
            for row in demand.questions.join(known.answered, on=QUESTION, how="anti").iter_rows()
            if row[:3] in dated and row[3] not in self.days(*row[:3])
        ]
        return Known(
            pl.concat([known.asked, questions.select(QUESTION)]),
            pl.concat([known.closed, pl.DataFrame(closed, known.closed.schema, orient="row")]),
            pl.concat([known.slots, self.slots(row for row in rows if row[3] is not None)]),
        )

    def full_fetch(self) -> pl.DataFrame:
        """The offers when everything has been asked."""
        demand = self.demand()
        return demand.rank(self.slots(demand.questions.iter_rows()))


def _zone(name: str):
    from reactivation_core.local_time import parse_zone

    return parse_zone(name)


# ---------------------------------------------------------------- random weeks

HOURS = (9, 10, 12, 14, 16, 17, 19)
_confidences = st.sampled_from([0.0, 0.3, 0.5, 0.55, 0.6, 0.75, 1.0])
_tastes = st.builds(
    Taste,
    staff=st.none() | st.sampled_from([ANNA, OLGA, VERA]),
    share=_confidences,
    period=st.sampled_from([None, "morning", "afternoon", "evening"]),
    sure=_confidences,
    weekdays=st.lists(st.integers(1, 7), unique=True, max_size=3).map(tuple),
    weekdays_sure=_confidences,
)
_weeks_of_one = st.dictionaries(st.integers(1, 7), st.lists(st.sampled_from(HOURS), unique=True, min_size=1, max_size=4).map(lambda hours: tuple(sorted(hours))), max_size=7)  # fmt: skip


@st.composite
def salon_weeks(draw: st.DrawFn, clients: int = 8, companies: Collection[int] = (1, 2)) -> SalonWeek:
    """Any week of a few salons: members with many, few or no free times, clients who contend for them."""
    members = st.tuples(
        st.sampled_from(sorted(companies)), st.sampled_from([CUT, DYE, MASK]), st.sampled_from([ANNA, OLGA, VERA])
    )
    free = draw(st.dictionaries(members, _weeks_of_one, min_size=1, max_size=6))
    services = sorted({member[:2] for member in free})
    wanted = draw(st.lists(st.tuples(st.sampled_from(services), _tastes), min_size=1, max_size=clients))
    able = {pair: [m[2] for m in free if m[:2] == pair] for pair in services}
    return SalonWeek(
        [
            (
                *pair,
                taste
                if taste.staff in able[pair]
                else Taste(None, 0.0, taste.period, taste.sure, taste.weekdays, taste.weekdays_sure),
            )
            for pair, taste in wanted
        ],
        free,
    )
