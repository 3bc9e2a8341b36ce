"""Whether the process lives and whether it can work, for whoever watches it. No key is needed and no secret is told."""

from typing import Literal

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from reactivation_api.access import ThePlatform
from reactivation_api.envelope import Success, documented
from reactivation_resources.database.engine import pending_revision
from reactivation_resources.platform import Platform

router = APIRouter(tags=["health"])

_PATIENCE_S = 2


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Ready(BaseModel):
    """Everything a request needs is there."""

    status: Literal["ready"] = "ready"


@router.get("/healthz", summary="Does the process live?")
async def healthz() -> Success[Alive]:
    """Asks nobody else: a database that is away is no reason to restart this process."""
    return Success(data=Alive())


@router.get("/readyz", summary="Can it work?", responses=documented(503))
def readyz(platform: ThePlatform) -> Success[Ready]:
    """PostgreSQL answers, its schema is this version's, and Redis answers; otherwise 503 saying which does not."""
    troubles = [trouble for trouble in (_postgres(platform), _redis(platform)) if trouble]
    if troubles:
        raise HTTPException(503, " ".join(troubles))
    return Success(data=Ready())


def _postgres(platform: Platform) -> str | None:
    try:
        with platform.database.begin() as connection:  # gives up in time, which the next line does not
            connection.execute(text("SELECT 1"))
        current, wanted = pending_revision(platform.urls.database_url)
    except SQLAlchemyError:
        return "PostgreSQL does not answer."
    if current != wanted:
        return f"The schema is at {current or 'nothing'}, this version needs {wanted}: run `reactivation migrate`."
    return None


def _redis(platform: Platform) -> str | None:
    import redis

    try:
        with redis.Redis.from_url(
            platform.urls.redis_url, socket_connect_timeout=_PATIENCE_S, socket_timeout=_PATIENCE_S
        ) as client:
            client.ping()
    except (redis.RedisError, ValueError):
        return "Redis does not answer."
    return None
