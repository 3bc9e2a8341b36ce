"""Keys to the HTTP API: made once, shown once, stored as a hash.

What to add here: what a key may be. What to keep out: what its holder may do (`reactivation_api`).

The hash is plain SHA-256. A slow, salted hash protects secrets that people choose; a key holds 256 random bits, so nobody can try them
all, however fast the hash, and every request can afford it. The hash is looked up by an index: what its timing could tell is a part of
a hash, from which no key can be found.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError

from reactivation_resources.database.engine import Database
from reactivation_resources.database.models import ApiKey

_PREFIX = "rk_"  # so that a key is known for one when it turns up where it should not be
_LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class ApiKeyView:
    """A key without its secret. `company_id` is None for an admin's."""

    key_id: int
    company_id: int | None
    name: str
    created_at: datetime
    revoked_at: datetime | None

    def may_see(self, company_id: int) -> bool:
        """Whether the holder may see and change this company."""
        return self.company_id is None or self.company_id == company_id


_VIEW = (ApiKey.key_id, ApiKey.company_id, ApiKey.name, ApiKey.created_at, ApiKey.revoked_at)


def create(database: Database, name: str, company_id: int | None) -> str:
    """Make a key for one company, or an admin key (None), and return it: it cannot be shown again.

    Raises ValueError for an empty or overlong name and for a company that is not known.
    """
    name = name.strip()
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise ValueError(f"name: must have 1 to {_LONGEST_NAME} printable characters")
    key = _PREFIX + secrets.token_urlsafe(32)
    try:
        with database.begin() as connection:
            connection.execute(insert(ApiKey).values(name=name, company_id=company_id, key_hash=_hash(key)))
    except IntegrityError:
        raise ValueError(f"company: {company_id} is not known") from None
    return key


def revoke(database: Database, key_id: int) -> bool:
    """End a key at once. False when there is none with this id that is still in force."""
    statement = update(ApiKey).where(ApiKey.key_id == key_id, ApiKey.revoked_at.is_(None)).values(revoked_at=func.now())
    with database.begin() as connection:
        return connection.execute(statement).rowcount == 1


def list_keys(database: Database) -> list[ApiKeyView]:
    """All keys, the revoked ones too, oldest first."""
    with database.begin() as connection:
        return [ApiKeyView(*row) for row in connection.execute(select(*_VIEW).order_by(ApiKey.key_id))]


def resolve(database: Database, presented: str) -> ApiKeyView | None:
    """The key in force that was presented, or None."""
    query = select(*_VIEW).where(ApiKey.key_hash == _hash(presented), ApiKey.revoked_at.is_(None))
    with database.begin() as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else ApiKeyView(*row)


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
