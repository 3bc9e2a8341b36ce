"""When a salon's messages may go out: local hours, weekdays, public holidays.

What to add here: rules about hours and days of sending. What to keep out: how many messages fit into them (planning).
"""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from reactivation_core.local_time import local_date, local_to_instant, require_aware

WORKING_DAYS = frozenset({1, 2, 3, 4, 5})
LAST_CALL = timedelta(seconds=60)
"""Nothing leaves so shortly before closing: it would arrive after it."""
_LONGEST_CLOSURE_DAYS = 60


@dataclass(frozen=True, slots=True)
class SendingWindow:
    """Open from `hour_from` to `hour_to` (0-24, half-open) on ISO weekdays `days` in `zone`, closed on public holidays of `country`.

    Hours that leave nothing, or no days, make a window that never opens. Holidays are the national ones of the ISO 3166 country; a
    country without a known calendar, or None, has no holidays. Raises ValueError for hours or days that do not exist.
    """

    zone: ZoneInfo
    hour_from: int = 10
    hour_to: int = 19
    days: frozenset[int] = WORKING_DAYS
    country: str | None = None

    def __post_init__(self) -> None:
        """Refuse hours and days that no clock or calendar has."""
        if not (0 <= self.hour_from <= 24 and 0 <= self.hour_to <= 24):
            raise ValueError(f"hours: {self.hour_from}-{self.hour_to} are not between 0 and 24")
        if not self.days <= set(range(1, 8)):
            raise ValueError(f"days: {sorted(self.days)} are not ISO weekdays 1 to 7")

    def __and__(self, other: "SendingWindow") -> "SendingWindow":
        """What both windows allow. Raises ValueError when they speak of different zones."""
        if self.zone.key != other.zone.key:
            raise ValueError(f"windows of different zones: {self.zone.key} and {other.zone.key}")
        return SendingWindow(
            zone=self.zone,
            hour_from=max(self.hour_from, other.hour_from),
            hour_to=min(self.hour_to, other.hour_to),
            days=self.days & other.days,
            country=self.country or other.country,
        )

    def opening(self, day: date) -> tuple[datetime, datetime] | None:
        """The open interval (UTC, half-open) of the local `day`, or None."""
        if self.hour_from >= self.hour_to or day.isoweekday() not in self.days:
            return None
        if self.country is not None and day in _holidays(self.country.upper(), day.year):
            return None
        opens, closes = (self._instant(day, hour) for hour in (self.hour_from, self.hour_to))
        return (opens, closes) if opens < closes else None

    def closes_at(self, day: date) -> datetime | None:
        """The instant (UTC) at which the local `day` closes, or None when it never opens."""
        interval = self.opening(day)
        return None if interval is None else interval[1]

    def is_open(self, instant: datetime) -> bool:
        """Whether a message may go out at `instant`."""
        interval = self.opening(local_date(instant, self.zone))
        return interval is not None and interval[0] <= instant < interval[1]

    def next_open(self, instant: datetime) -> datetime | None:
        """The first open instant (UTC) not before `instant`; None when there is none in the next two months."""
        found = self.open_intervals(instant, instant + timedelta(days=_LONGEST_CLOSURE_DAYS), at_most=1)
        return found[0][0] if found else None

    def open_intervals(
        self, start: datetime, end: datetime, *, at_most: int | None = None
    ) -> list[tuple[datetime, datetime]]:
        """The open intervals (UTC, half-open, in order) between `start` and `end`, cut at both; only the first `at_most`."""
        start, end = require_aware(start, "start"), require_aware(end, "end")
        found: list[tuple[datetime, datetime]] = []
        day, last = local_date(start, self.zone), local_date(end, self.zone)
        while day <= last and (at_most is None or len(found) < at_most):
            interval = self.opening(day)
            if interval is not None and max(interval[0], start) < min(interval[1], end):
                found.append((max(interval[0], start), min(interval[1], end)))
            day += timedelta(days=1)
        return found

    def _instant(self, day: date, hour: int) -> datetime:
        after_midnight = timedelta(hours=hour)  # wall time: 24 is the next day's midnight
        return local_to_instant(datetime.combine(day, time()) + after_midnight, self.zone)


@lru_cache(maxsize=512)
def _holidays(country: str, year: int) -> frozenset[date]:
    import holidays

    try:
        return frozenset(holidays.country_holidays(country, years=year))
    except NotImplementedError:
        return frozenset()
