"""The platform's days and as-of instants."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from reactivation_resources.clock import Clock
from reactivation_resources.settings import Settings


class Calendar:
    """Maps days of the platform's zone to instants and back, and says which day may reach clients."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.zone = ZoneInfo(settings.reactivation_timezone)
        self._time = time(*settings.scheduled_time)
        self._clock = clock

    def as_of(self, day: date) -> datetime:
        """The instant T of a day: its scheduled time, for today as well, so that a later run gives the same frame."""
        return datetime.combine(day, self._time, self.zone).astimezone(UTC)

    def day_of(self, instant: datetime) -> date:
        """The platform's day of an instant."""
        return instant.astimezone(self.zone).date()

    def now(self) -> datetime:
        """The clock's present instant."""
        return self._clock.now()

    def today(self) -> date:
        """The platform's running day."""
        return self.day_of(self._clock.now())

    def is_live(self, day: date) -> bool:
        """Whether `day` may reach clients: it is today and its hour has come. Any other day is analysis only.

        Raises ValueError for a day that has not begun: nothing is known as of then.
        """
        if self.as_of(day) > self._clock.now():
            raise ValueError(f"{day.isoformat()} has not begun: its run is due at {self.as_of(day).isoformat()}")
        return day == self.today()

    def evaluated_at(self, day: date, settling: timedelta) -> datetime:
        """When the outcome of `day`'s campaigns is looked at: now, until they have settled; from then on the same instant."""
        return min(self._clock.now(), self.as_of(day) + settling)

    def bounds(self, day: date) -> tuple[datetime, datetime]:
        """The first instant of `day` and of the day after it."""
        start = datetime.combine(day, time.min, self.zone)
        end = datetime.combine(day + timedelta(days=1), time.min, self.zone)
        return start.astimezone(UTC), end.astimezone(UTC)
