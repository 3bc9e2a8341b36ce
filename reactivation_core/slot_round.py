"""One round of questions about free times: who asks now, who waits, and whose bookable days are asked for first.

What to add here: what saves calls or rounds among useful questions. What to keep out: which questions are useful (slot_demand).
"""

from dataclasses import dataclass

import polars as pl

from reactivation_core.local_time import INSTANT

CLIENT = ["company_id", "client_id"]
PAIR = ["company_id", "service_id"]
MEMBER = ["company_id", "service_id", "staff_id"]
QUESTION = ["company_id", "service_id", "staff_id", "day"]

DAYS_WORTH_A_CALL = 3
"""From so many wanted days of a staff member on, asking first which of them are bookable pays: about three days in seven are not."""
GROWTH = 4  # a client for whom nothing fits asks for more at once: a quarter of what has been asked about his service

SLOTS_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "company_id": pl.Int64, "service_id": pl.Int64, "staff_id": pl.Int64, "starts_at": INSTANT, "length_s": pl.Int64,
}  # fmt: skip
QUESTIONS_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "company_id": pl.Int64, "service_id": pl.Int64, "staff_id": pl.Int64, "day": pl.Date,
}  # fmt: skip


@dataclass(frozen=True)
class Known:
    """What has been asked so far and what came of it.

    Attributes:
        asked: company_id, service_id, staff_id, day; a null day asked which days are bookable.
        closed: company_id, service_id, staff_id, day: days found without a free time without being asked for one by one.
        slots: company_id, service_id, staff_id, starts_at, length_s.
    """

    asked: pl.DataFrame
    closed: pl.DataFrame
    slots: pl.DataFrame

    @classmethod
    def nothing(cls) -> "Known":
        """Before the first question."""
        questions = pl.DataFrame(schema=QUESTIONS_SCHEMA)
        return cls(questions, questions, pl.DataFrame(schema=SLOTS_SCHEMA))

    @property
    def answered(self) -> pl.DataFrame:
        """The questions about single days whose answer is known."""
        return pl.concat([self.asked.drop_nulls("day"), self.closed])


def next_round(useful: pl.DataFrame, known: Known) -> pl.DataFrame:
    """The questions to ask now: company_id, service_id, staff_id, day (null: which days are bookable), sorted.

    `useful` holds an option of a client each: company_id, client_id, service_id, staff_id, day; best, the points its best answer would bring;
    favourite and familiar, what the staff member is to the client; missing, how many slots the client lacks.
    """
    # the others of a service wait for its favourites' answers: they may be content with what those hold
    useful = useful.filter(pl.col("favourite") | ~pl.col("favourite").any().over(PAIR))
    return _days_first(_most_useful(useful, known), useful, known).sort(QUESTION)


def _most_useful(useful: pl.DataFrame, known: Known) -> pl.DataFrame:
    """Of each client's useful options the best few, on different days first, as questions."""
    asked = known.answered.group_by(PAIR).agg((pl.len() // GROWTH).cast(pl.Int64).alias("patience"))
    turn = pl.int_range(pl.len())
    return (
        useful.join(asked, on=PAIR, how="left")
        .sort("best", "familiar", "day", "staff_id", descending=[True, True, False, False])
        .with_columns(turn.over(*CLIENT, "day").alias("nth"))
        .sort("nth", maintain_order=True)
        .filter(turn.over(CLIENT) < pl.max_horizontal("missing", "patience", 1))
        .select(QUESTION)
        .unique()
    )


def _days_first(chosen: pl.DataFrame, useful: pl.DataFrame, known: Known) -> pl.DataFrame:
    """The questions, with staff of whom many days are wanted asked for their bookable days first, as far as that has paid so far."""
    wanted = useful.select(QUESTION).unique().group_by(MEMBER).agg(pl.len().alias("days"))
    asked = known.asked.filter(pl.col("day").is_null())
    paid = (
        pl.concat([known.closed.select("company_id", gain=pl.lit(1)), asked.select("company_id", gain=pl.lit(-1))])
        .group_by("company_id")
        .agg(pl.col("gain").sum())
    )
    members = (
        chosen.select(MEMBER)
        .unique()
        .join(asked, on=MEMBER, how="anti")
        .join(wanted.filter(pl.col("days") >= DAYS_WORTH_A_CALL), on=MEMBER)
        .join(paid, on="company_id", how="left")
        .with_columns(pl.col("gain").fill_null(0))
        .filter(pl.col("gain") >= 0)
        .sort("days", *MEMBER, descending=[True, False, False, False])
    )
    now = members.filter(pl.int_range(pl.len()).over("company_id") <= pl.col("gain"))
    which_days = now.select(*MEMBER, pl.lit(None, pl.Date).alias("day"))
    return pl.concat([which_days, chosen.join(members, on=MEMBER, how="anti")])
