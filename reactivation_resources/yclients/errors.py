"""What can go wrong with a call of the CRM, one class a meaning.

A failed read is an error and never an empty answer, so that an outage cannot look like "no visits" or "no free slots". What to add here:
a meaning somebody acts on. What to keep out: retries (transport.py). No message holds a token: they travel in headers only.
"""


class CrmError(RuntimeError):
    """The CRM did not answer a question.

    Attributes:
        permanent: Asking again will not help (token, licence, rights, no such thing, refused).
        call: The path that was asked, without its query.
        company_id: Whose call it was; None where it is nobody's own.
        status: The HTTP status; None when no answer came.
        code: The CRM's own number of a booking error (431-438), where it gave one.
        retry_after: Seconds the CRM asks to wait, where it does.
    """

    permanent = False
    retry_after: float | None = None

    def __init__(
        self,
        words: str,
        *,
        call: str,
        company_id: int | None = None,
        status: int | None = None,
        code: int | None = None,
    ) -> None:
        super().__init__(words)
        self.words = words
        self.call = call
        self.company_id = company_id
        self.status = status
        self.code = code

    def __str__(self) -> str:
        """The call, the company where the path does not show it, the status and the CRM's own words."""
        company = "" if self.company_id is None else f" (company {self.company_id})"
        status = "" if self.status is None else f" HTTP {self.status}:"
        code = "" if self.code is None else f" [{self.code}]"
        return f"{self.call}{company}:{status}{code} {self.words}"


class AuthError(CrmError):
    """401: a token is missing or no longer valid."""

    permanent = True


class LicenceError(CrmError):
    """402: the salon's licence has expired."""

    permanent = True


class ForbiddenError(CrmError):
    """403 with a reason: the tokens have no such right in this salon."""

    permanent = True


class NotFoundError(CrmError):
    """404: no such company, client, record or call."""

    permanent = True


class RefusedError(CrmError):
    """400, 409, 422 and their like: understood and refused. Booking errors carry their `code`."""

    permanent = True


class RateLimitedError(CrmError):
    """429, or an envelope that says no to a read: too many calls from this address."""


class UnavailableError(CrmError):
    """No answer, half an answer, a server error, or a web page instead of data: what was asked may be true or not."""


class ListingChangedError(UnavailableError):
    """A listing of several pages that changed whenever it was read; a shorter one may hold still."""


class MalformedError(CrmError):
    """An answer that is not JSON or has a shape nobody knows."""
