"""Which questions about free times are worth a call of the CRM, given what is known already.

All able staff on all days would be the full fetch. A question is useful only while its best possible answer would change what somebody is
offered: an offer is missing, or lies outside wishes that the answer might fulfil, or scores lower than the answer could. Everything known
is ranked before each round as it will be ranked in the end, so supply is never guessed. What to add here: when a question is worth asking.
What to keep out: how many of the useful questions are asked at a time (slot_round), asking, and the calls a day may spend.

What this promises against the full fetch: the favourite's best free time comes first; nobody has fewer offers, unless all of them fulfil
wishes the full fetch would have had to give up; scores are the same but for clients who contend for one slot, where ties can fall otherwise.
Spares are sought like offers, but nobody is asked to move for them.
"""

from datetime import datetime

import polars as pl

from reactivation_core.local_time import with_local
from reactivation_core.slot_board import CLIENTS_PER_SLOT, SOON, SOON_POINTS
from reactivation_core.slot_round import CLIENT, MEMBER, PAIR, QUESTION, Known, next_round
from reactivation_core.slots import period_of, rank_slots, wishes

_SLOT = ["company_id", "staff_id", "starts_at"]


class SlotDemand:
    """What planned clients need to know of their salons' free times.

    `able` holds who does which service and still works: company_id, service_id, staff_id. The other arguments are those of `rank_slots`.
    """

    def __init__(
        self,
        clients: pl.DataFrame,
        profiles: pl.DataFrame,
        able: pl.DataFrame,
        services: pl.DataFrame,
        companies: pl.DataFrame,
        *,
        as_of: datetime,
        max_slots: int = 3,
        spares: int = 2,
        days_ahead: int = 7,
    ) -> None:
        self._clients = clients
        self._profiles = profiles.join(clients, on=CLIENT, how="semi")
        self._services = services.join(clients, on=PAIR, how="semi")
        self._companies = companies.join(clients, on="company_id", how="semi")
        self._as_of, self._max_slots, self._spares, self._days_ahead = as_of, max_slots, spares, days_ahead
        self._wishes = wishes(clients, self._profiles, self._companies, as_of=as_of, max_slots=max_slots)
        self._options = self._all_options(able)
        self.questions = self._options.select(QUESTION).unique().sort(QUESTION)
        """The full fetch: every question these clients could cause, by company, service, staff member and day."""
        self.zones: dict[int, str] = dict(self._companies.select("company_id", "timezone").iter_rows())
        self.lengths: dict[tuple[int, int], int] = {
            (company, service): length or 0
            for company, service, length in self._services.select(*PAIR, "duration_s").iter_rows()
        }
        """Seconds a service of a company takes; 0 where nobody knows."""

    def rank(self, slots: pl.DataFrame) -> pl.DataFrame:
        """The offers these slots make (contract `ranked_slots`)."""
        return rank_slots(
            self._clients,
            self._profiles,
            slots,
            self._services,
            self._companies,
            as_of=self._as_of,
            max_slots=self._max_slots,
            spares=self._spares,
            days_ahead=self._days_ahead,
        )

    def next_questions(self, known: Known) -> pl.DataFrame:
        """The next round: company_id, service_id, staff_id, day (null: which days are bookable), sorted; empty when nothing is worth asking.

        No question comes twice. A company is never asked more than its full fetch and one call: asking for the bookable days goes on only
        while it has saved at least what it has cost.
        """
        offers = self._judged(self.rank(known.slots))
        left = self._left(known, offers)
        useful = left.filter(_useful())
        settled = left.join(useful, on="company_id", how="anti")
        return next_round(pl.concat([useful, self._contested(settled, known.slots, offers)]), known)

    # ------------------------------------------------------------ what could be asked

    def _all_options(self, able: pl.DataFrame) -> pl.DataFrame:
        """One row per client, able staff member and day: how good the best answer could be, in points, and what it would fulfil."""
        ahead = pl.DataFrame({"ahead": range(1, self._days_ahead + 1)}, schema={"ahead": pl.Int64})
        alternatives = self._profiles.select(*CLIENT, alternatives="staff_alternatives")
        weekday, liked = pl.col("day").dt.weekday(), pl.col("weekdays").list
        points_of_day = pl.sum_horizontal(
            pl.when(liked.get(nth, null_on_oob=True) == weekday)
            .then(pl.col("weekday_points").list.get(nth))
            .otherwise(0)
            for nth in range(3)
        ) + pl.when(pl.col("ahead").is_in(SOON)).then(SOON_POINTS).otherwise(0)
        favourite = (pl.col("favourite_id") == pl.col("staff_id")).fill_null(value=False)
        return (
            self._wishes.lazy()
            .filter(pl.col("slots_wanted") > 0)
            .rename({"staff_id": "favourite_id"})
            .join(ahead.lazy(), how="cross")
            .with_columns(day=(pl.col("today") + pl.duration(days="ahead")).cast(pl.Date))
            .with_columns(day_points=points_of_day, first_choice=~pl.col("only_weekdays") | liked.contains(weekday))
            .join(able.lazy(), on=PAIR)
            .join(alternatives.lazy(), on=CLIENT, how="left")
            .select(
                *CLIENT,
                *QUESTION[1:],
                "slots_wanted",
                "first_choice",
                favourite.alias("favourite"),
                pl.col("alternatives").list.contains(pl.col("staff_id")).fill_null(value=False).alias("familiar"),
                (
                    pl.col("day_points")
                    + pl.when(pl.col("period").is_not_null()).then("period_points").otherwise(0)
                    + pl.when(favourite).then("staff_points").otherwise(0)
                ).alias("best"),
            )
            .collect()
        )

    # ------------------------------------------------------------ what is offered so far

    def _judged(self, offers: pl.DataFrame) -> pl.DataFrame:
        """The offers, each with the wish that had to be given up for it: 0 none, 1 the weekdays, 2 the period too."""
        tastes = self._wishes.select(*CLIENT, "period", "weekdays", "only_period", "only_weekdays")
        timely = ~pl.col("only_period") | (pl.col("period") == period_of(pl.col("local_minute")))
        liked = ~pl.col("only_weekdays") | pl.col("weekdays").list.contains(pl.col("local_day").dt.weekday())
        return (
            with_local(offers.lazy(), self._companies, "starts_at")
            .join(tastes.lazy(), on=CLIENT)
            .select(
                *CLIENT,
                *_SLOT[1:],
                pl.col("local_day").alias("day"),
                "spare",
                "score",
                pl.when(~timely).then(2).when(~liked).then(1).otherwise(0).alias("given_up"),
            )
            .collect()
        )

    def _left(self, known: Known, offers: pl.DataFrame) -> pl.DataFrame:
        """The options not asked yet that the ranking would look at, each with what its client has."""
        firm = offers.filter(~pl.col("spare"))
        worst = pl.col("score").min()
        standing = firm.group_by(CLIENT).agg(
            pl.len().cast(pl.Int64).alias("offers"),
            pl.col("given_up").max(),
            worst.alias("worst"),
            pl.col("day").filter(pl.col("score") == worst).max().alias("worst_day"),
            (pl.col("day").n_unique() < pl.len()).alias("days_repeat"),
        )
        spares = offers.filter("spare").group_by(CLIENT).agg(pl.len().cast(pl.Int64).alias("spares"))
        of_day = firm.group_by(*CLIENT, "day").agg(
            pl.col("score").max().alias("of_day"), pl.len().alias("offers_of_day")
        )
        left = (
            self._options.join(known.answered, on=QUESTION, how="anti")
            .join(standing, on=CLIENT, how="left")
            .join(spares, on=CLIENT, how="left")
            .join(of_day, on=[*CLIENT, "day"], how="left")
            .with_columns(
                pl.col("offers", "spares", "offers_of_day").fill_null(0),
                pl.col("days_repeat").fill_null(value=False),
                pl.col("given_up").fill_null(3),
            )
            .with_columns(
                ((pl.col("slots_wanted") - pl.col("offers")) + (self._spares - pl.col("spares"))).alias("missing"),
                # the ranking turns to other weekdays only when nothing fits on those that are liked
                (
                    pl.col("first_choice") | ((pl.col("given_up") > 0) & ~pl.col("first_choice").any().over(CLIENT))
                ).alias("counts"),
            )
        )
        return left.filter("counts").drop("counts")

    # ------------------------------------------------------------ who would have to move

    def _contested(self, left: pl.DataFrame, slots: pl.DataFrame, offers: pl.DataFrame) -> pl.DataFrame:
        """Options of clients who hold what somebody short of offers could have had, and who might themselves do as well elsewhere.

        Only for companies in which no question is useful otherwise. Whoever keeps such a holder from moving may have to move first, and so on.
        """
        firm = offers.filter(~pl.col("spare"))
        count = pl.col("offers").fill_null(0)
        standing = self._wishes.join(
            firm.group_by(CLIENT).agg(pl.len().cast(pl.Int64).alias("offers"), pl.col("given_up").max()),
            on=CLIENT,
            how="left",
        ).join(left, on="company_id", how="semi")
        moving = standing.filter(count < pl.col("slots_wanted")).select(CLIENT)
        if moving.is_empty():
            return left.clear()
        given_away = firm.group_by(_SLOT).len().filter(pl.col("len") >= CLIENTS_PER_SLOT)
        held = firm.join(given_away, on=_SLOT, how="semi")
        in_the_way = self._fitting(standing, slots.join(given_away, on=_SLOT, how="semi")).join(
            held, on=_SLOT, suffix="_held"
        )
        in_the_way = in_the_way.select(*CLIENT, "client_id_held").unique()
        while True:
            further = in_the_way.join(moving, on=CLIENT, how="semi").select("company_id", client_id="client_id_held")
            more = pl.concat([moving, further]).unique()
            if more.height == moving.height:
                break
            moving = more
        rival = (
            held.join(moving, on=CLIENT, how="semi")
            .group_by(CLIENT)
            .agg(pl.col("score").min().alias("held"), pl.col("day").max().alias("held_day"))
        )
        as_good = (pl.col("best") > pl.col("held")) | (
            (pl.col("best") == pl.col("held")) & (pl.col("day") <= pl.col("held_day"))
        )
        return left.join(rival, on=CLIENT).filter(as_good).select(left.columns)

    def _fitting(self, standing: pl.DataFrame, slots: pl.DataFrame) -> pl.DataFrame:
        """Which of the slots each client could have been offered: company_id, client_id, staff_id, starts_at."""
        given_up = pl.col("given_up").fill_null(2)
        timely = ~pl.col("only_period") | (given_up > 1) | (pl.col("period") == period_of(pl.col("local_minute")))
        liked = pl.col("weekdays").list.contains(pl.col("local_day").dt.weekday())
        return (
            with_local(slots.lazy().select(*MEMBER, "starts_at"), self._companies, "starts_at")
            .join(standing.lazy().drop("staff_id"), on=PAIR)
            .filter(timely, ~pl.col("only_weekdays") | (given_up > 0) | liked)
            .select(*CLIENT, *_SLOT[1:])
            .collect()
        )


def _useful() -> pl.Expr:
    """Whether the best answer would change what the client has: more, a wish fulfilled, another day, or a better score.

    An equal score on an earlier day counts for the favourite only: ties go to the earlier time.
    """
    alone = pl.col("offers_of_day") == 1
    rival = pl.when(alone).then("of_day").otherwise("worst")
    earlier = alone.not_() & (pl.col("day") < pl.col("worst_day"))
    fulfils = pl.when("first_choice").then(0).otherwise(1) < pl.col("given_up")
    return (
        (pl.col("missing") > 0)
        | fulfils
        | (pl.col("days_repeat") & (pl.col("offers_of_day") == 0))
        | (pl.col("best") > rival)
        | (pl.col("favourite") & (pl.col("best") == rival) & earlier)
    ).fill_null(value=False)
