"""Plain statistics of proportions: intervals, the comparison of two arms, the sample it takes.

Knows counts and sums only, no frames. Every formula names its source.
"""

import math
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from statistics import NormalDist

Z95 = 1.959963984540054  # two-sided 95 %
WORTHWHILE = 0.05  # the smallest difference of booking rates worth finding: five points
HOLDOUT_SHARE = 0.1  # planned share of held-out episodes, used while an arm is still empty
USUAL_RATE = 0.15  # the booking rate expected before anything is known, worth one episode

_ALPHA, _POWER = 0.05, 0.80
_SMALL_EXPECTED_COUNT = 5  # below it the normal approximation of a two-by-two table is poor (Cochran 1954)


@dataclass(frozen=True)
class Interval:
    """A closed interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Rate:
    """`successes` out of `n` with the Wilson 95 % interval; `value` is None when `n` is 0."""

    successes: int
    n: int
    value: float | None
    interval: Interval


@dataclass(frozen=True)
class Arm:
    """What happened to the episodes of one arm. Money in minor units; `revenue_squared` sums its squares per episode."""

    episodes: int
    booked: int
    revenue_minor: int = 0
    revenue_squared: int = 0


@dataclass(frozen=True)
class Lift:
    """Messaged against held-out episodes, by intention to treat.

    `difference` is a difference of rates (0.05 is five points), `test` is "z" or "fisher". Everything but the rates and
    `more_episodes` is None while an arm is empty; `revenue_interval` also with fewer than two episodes in an arm.
    `detectable` is the smallest difference that this sample shows four times out of five; `more_episodes` is how many
    more it takes until that is `WORTHWHILE`.
    """

    treated: Rate
    control: Rate
    more_episodes: int
    difference: float | None = None
    interval: Interval | None = None
    p_value: float | None = None
    test: str | None = None
    bookings: float | None = None
    bookings_interval: Interval | None = None
    revenue_minor: int | None = None
    revenue_interval: tuple[int, int] | None = None
    detectable: float | None = None

    @property
    def words(self) -> str:
        """What the comparison shows, in one or two sentences, with the numbers it rests on."""
        arms = f"{self.treated.n} messaged and {self.control.n} held-out episodes"
        points = f"{100 * WORTHWHILE:g} points"
        need = f" About {self.more_episodes} more episodes are needed to show a lift of {points}."
        need = need if self.more_episodes else ""
        if self.difference is None or self.interval is None or self.bookings is None:
            return f"Not enough data: {arms}.{need}"
        low, high = 100 * self.interval.low, 100 * self.interval.high
        p = "p < 0.001" if self.p_value is not None and self.p_value < 0.001 else f"p = {self.p_value:.3f}"
        seen = f"{100 * self.difference:+.1f} points (95 % interval {low:+.1f} to {high:+.1f}, {p})"
        if low > 0:
            return f"Messages raise the booking rate by {seen}: about {self.bookings:.0f} bookings more. {arms}."
        if high < 0:
            return f"Messages lower the booking rate by {seen}. {arms}."
        return f"Not enough data to tell an effect from chance: {seen}, {arms}.{need}"


def wilson(successes: int, n: int, z: float = Z95) -> Interval:
    """The score interval of a proportion (Wilson 1927, JASA 22:209-212); [0, 1] when `n` is 0.

    Raises ValueError unless 0 <= successes <= n.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes out of {n}")
    if n == 0:
        return Interval(0.0, 1.0)
    p, zz = successes / n, z * z
    centre = p + zz / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + zz / (4 * n * n))
    low = 0.0 if successes == 0 else (centre - half) / (1 + zz / n)
    high = 1.0 if successes == n else (centre + half) / (1 + zz / n)
    return Interval(low, high)


def rate(successes: int, n: int) -> Rate:
    """`successes / n` with its interval. Raises ValueError unless 0 <= successes <= n."""
    return Rate(successes, n, successes / n if n else None, wilson(successes, n))


def newcombe(treated: int, treated_n: int, control: int, control_n: int, z: float = Z95) -> Interval:
    """Interval of the difference of two independent proportions, treated minus control.

    The hybrid score interval, method 10 of Newcombe 1998, "Interval estimation for the difference between independent
    proportions", Statistics in Medicine 17:873-890. [-1, 1] when an arm is empty.
    """
    one, two = wilson(treated, treated_n, z), wilson(control, control_n, z)
    if not treated_n or not control_n:
        return Interval(-1.0, 1.0)
    p1, p2 = treated / treated_n, control / control_n
    return Interval(
        p1 - p2 - math.hypot(p1 - one.low, two.high - p2),
        p1 - p2 + math.hypot(one.high - p1, p2 - two.low),
    )


def fisher(treated: int, treated_n: int, control: int, control_n: int) -> float:
    """Two-sided p-value of Fisher's exact test: the tables of the same margins no likelier than the one seen."""
    total, successes = treated_n + control_n, treated + control
    first, last = max(0, successes - control_n), min(successes, treated_n)

    def log_choose(n: int, k: int) -> float:
        return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)

    def probability(k: int) -> float:
        return math.exp(log_choose(treated_n, k) + log_choose(control_n, successes - k) - log_choose(total, successes))

    seen = probability(treated) * (1 + 1e-9)  # tables as likely as the one seen count whatever the rounding
    return min(1.0, sum(p for p in map(probability, range(first, last + 1)) if p <= seen))


def pooled_z(treated: int, treated_n: int, control: int, control_n: int) -> float:
    """Two-sided p-value of the z test of two proportions with the pooled variance."""
    pooled = (treated + control) / (treated_n + control_n)
    variance = pooled * (1 - pooled) * (1 / treated_n + 1 / control_n)
    if variance == 0:
        return 1.0
    z = (treated / treated_n - control / control_n) / math.sqrt(variance)
    return math.erfc(abs(z) / math.sqrt(2))


def detectable_difference(treated_n: int, control_n: int, base_rate: float) -> float:
    """The smallest rise over `base_rate` that two arms of this size show with power 80 % at 5 %, two-sided.

    Fleiss, Levin and Paik, "Statistical Methods for Rates and Proportions" (2003), 4.1, solved by bisection. 1 - base
    rate when even that is too small to be shown.
    """
    low, high = 0.0, 1 - base_rate
    for _ in range(60):
        middle = (low + high) / 2
        if _needed(middle, base_rate, 1 / treated_n, 1 / control_n) <= 1:
            high = middle
        else:
            low = middle
    return high


def episodes_needed(difference: float, base_rate: float, control_share: float) -> int:
    """Episodes of both arms together that show a rise of `difference` over `base_rate` (power 80 %, 5 % two-sided)."""
    difference = min(difference, 1 - base_rate)
    return math.ceil(_needed(difference, base_rate, 1 / (1 - control_share), 1 / control_share))


def _needed(difference: float, base: float, per_treated: float, per_control: float) -> float:
    """Sample size in units of the arms' sizes: at most 1 means that arms of 1/per_treated and 1/per_control are enough."""
    if difference <= 0:
        return math.inf
    normal = NormalDist()
    raised = base + difference
    pooled = (raised * per_control + base * per_treated) / (per_treated + per_control)
    spread = normal.inv_cdf(1 - _ALPHA / 2) * math.sqrt(pooled * (1 - pooled) * (per_treated + per_control))
    spread += normal.inv_cdf(_POWER) * math.sqrt(raised * (1 - raised) * per_treated + base * (1 - base) * per_control)
    return (spread / difference) ** 2


def lift(treated: Arm, control: Arm) -> Lift:
    """Compare the arms: difference of booking rates, its interval and p-value, and what it is worth.

    The p-value is Fisher's while an expected count is below five, else the pooled z test's. Incremental bookings and
    revenue are those of the messaged episodes beyond what the held-out rate gives; revenue has a normal interval of the
    difference of means with unequal variances (Welch 1947).
    """
    n, m = treated.episodes, control.episodes
    rates = rate(treated.booked, n), rate(control.booked, m)
    # One imagined episode at the usual rate, so that a base rate of exactly 0 or 1 does not promise certainty.
    base = (control.booked + USUAL_RATE) / (m + 1) if m else (treated.booked + USUAL_RATE) / (n + 1)
    share = m / (n + m) if n and m else HOLDOUT_SHARE
    more = max(0, episodes_needed(WORTHWHILE, base, share) - n - m)
    if not n or not m:
        return Lift(*rates, more_episodes=more)
    counts = (treated.booked, n, control.booked, m)
    interval = newcombe(*counts)
    difference = treated.booked / n - control.booked / m
    booked = treated.booked + control.booked
    small = min(booked, n + m - booked) * min(n, m) / (n + m) < _SMALL_EXPECTED_COUNT
    gained = treated.revenue_minor - _round_half_up(Decimal(control.revenue_minor) * n / m)
    return Lift(
        *rates,
        more_episodes=more,
        difference=difference,
        interval=interval,
        p_value=fisher(*counts) if small else pooled_z(*counts),
        test="fisher" if small else "z",
        bookings=difference * n,
        bookings_interval=Interval(interval.low * n, interval.high * n),
        revenue_minor=gained,
        revenue_interval=_revenue_interval(treated, control, gained),
        detectable=detectable_difference(n, m, base),
    )


def roi(revenue_minor: int, cost_minor: int) -> Decimal | None:
    """(revenue - cost) / cost to four places, a half rounded up; None when nothing was spent."""
    if cost_minor == 0:
        return None
    return (Decimal(revenue_minor - cost_minor) / cost_minor).quantize(Decimal("0.0001"), ROUND_HALF_UP)


def _revenue_interval(treated: Arm, control: Arm, gained: int) -> tuple[int, int] | None:
    if min(treated.episodes, control.episodes) < 2:
        return None
    error = math.sqrt(_variance(treated) / treated.episodes + _variance(control) / control.episodes)
    half = round(Z95 * error * treated.episodes)
    return gained - half, gained + half


def _variance(arm: Arm) -> float:
    spread = arm.episodes * arm.revenue_squared - arm.revenue_minor**2  # whole numbers: nothing cancels out
    return max(0, spread) / (arm.episodes * (arm.episodes - 1))


def _round_half_up(value: Decimal) -> int:
    return int(value.quantize(Decimal(1), ROUND_HALF_UP))
