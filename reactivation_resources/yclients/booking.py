"""Free times and bookings.

What to add here: a call about when somebody can come, or that makes them come. A booking is sent once: there is no key by which the CRM would
know it again, so each carries an id of ours (`api_id`) to be found by when its answer is lost.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any

from reactivation_resources.yclients.caller import Caller, card_of, rows_of, sound
from reactivation_resources.yclients.errors import MalformedError
from reactivation_resources.yclients.models import (
    Appointment,
    BookableStaff,
    BookDates,
    Booking,
    BookTime,
    RecordCard,
    read_cards,
)
from reactivation_resources.yclients.transport import Call


class BookingCalls(Caller):
    """The calls of the CRM's booking form, and the journal's own booking."""

    async def book_dates(
        self,
        company_id: int,
        service_ids: Iterable[int],
        staff_id: int | None = None,
        date_from: date | None = None,
        date_to: date | None = None,
    ) -> BookDates:
        """Days on which all these services can start, with one person or anybody."""
        query = _services(service_ids)
        if staff_id is not None:
            query["staff_id"] = str(staff_id)
        if date_from is not None:
            query["date_from"] = date_from.isoformat()
        if date_to is not None:
            query["date_to"] = date_to.isoformat()
        return await self._one(Call("book_dates", f"book_dates/{company_id}", company_id), BookDates, query)

    async def book_times(self, company_id: int, staff_id: int, day: date, service_ids: Iterable[int]) -> list[BookTime]:
        """Free starts of a local day for all these services, with one person or anybody (0)."""
        call = Call("book_times", f"book_times/{company_id}/{staff_id}/{day.isoformat()}", company_id)
        times = await self._whole(call, BookTime, _services(service_ids))
        if not all(time.length_s for time in times):
            raise call.error(MalformedError, "a slot without a length")
        return times

    async def book_staff(self, company_id: int, service_ids: Iterable[int]) -> list[BookableStaff]:
        """Who can be booked for all these services."""
        query = _services(service_ids) | {"without_seances": "1"}
        return await self._whole(Call("book_staff", f"book_staff/{company_id}", company_id), BookableStaff, query)

    async def book_check(self, company_id: int, appointments: Sequence[Appointment]) -> None:
        """Whether these could be booked now; raises RefusedError with the CRM's code where not."""
        call = Call("book_check", f"book_check/{company_id}", company_id)
        await self._transport.read(call, body={"appointments": _wishes(appointments)})

    async def book_record(
        self,
        company_id: int,
        appointments: Sequence[Appointment],
        *,
        phone: str,
        fullname: str,
        api_id: str,
        email: str = "",
        comment: str = "",
    ) -> list[Booking]:
        """Book as a client would. It is sent once; after an error that is not permanent ask `find_by_api_id` first."""
        call = Call("book_record", f"book_record/{company_id}", company_id)
        body = {
            "phone": phone.removeprefix("+"),
            "fullname": fullname,
            "email": email,
            "comment": comment,
            "api_id": api_id,
            "appointments": _wishes(appointments),
        }
        answer = await self._transport.write(call, body)
        return sound(call, read_cards(Booking, rows_of(call, answer.data)))

    async def create_record(
        self,
        company_id: int,
        *,
        staff_id: int,
        service_ids: Sequence[int],
        phone: str,
        name: str,
        starts_at: datetime,
        seance_length_s: int,
        api_id: str,
        comment: str = "",
        save_if_busy: bool = False,
    ) -> RecordCard:
        """Write into the journal as the salon's desk would. It is sent once; after an error that is not permanent ask `find_by_api_id`."""
        call = Call("create_record", f"records/{company_id}", company_id)
        body = {
            "staff_id": staff_id,
            "services": [{"id": service_id} for service_id in service_ids],
            "client": {"phone": phone.removeprefix("+"), "name": name},
            "datetime": starts_at.isoformat(),
            "seance_length": seance_length_s,
            "save_if_busy": save_if_busy,
            "send_sms": False,
            "comment": comment,
            "api_id": api_id,
        }
        data = (await self._transport.write(call, body)).data
        return card_of(call, RecordCard, data[0] if isinstance(data, list) and len(data) == 1 else data)


def _services(service_ids: Iterable[int]) -> dict[str, Any]:
    """The bracket form: any other is silently ignored, and the slots found are too short."""
    return {"service_ids[]": [str(service_id) for service_id in service_ids]}


def _wishes(appointments: Sequence[Appointment]) -> list[dict[str, Any]]:
    return [wish.model_dump(mode="json", by_alias=True) for wish in appointments]
