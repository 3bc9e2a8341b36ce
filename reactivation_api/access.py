"""Who calls and what they may see: API keys as FastAPI dependencies.

What to add here: rules of access. What to keep out: how keys are made and stored (`reactivation_resources.api_keys`).
"""

from typing import Annotated

from fastapi import Depends, HTTPException, Path, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import select

from reactivation_resources import api_keys
from reactivation_resources.api_keys import ApiKeyView
from reactivation_resources.database.models import Company
from reactivation_resources.platform import Platform

_BIGINT = 2**63 - 1
_bearer = HTTPBearer(scheme_name="ApiKey", description="A key made by `reactivation keys create`.", auto_error=False)


def _platform(request: Request) -> Platform:
    platform: Platform = request.app.state.platform
    return platform


ThePlatform = Annotated[Platform, Depends(_platform)]
"""The outside world, as handed to `create_app`."""


def _caller(
    platform: ThePlatform, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
) -> ApiKeyView:
    key = api_keys.resolve(platform.database, credentials.credentials) if credentials is not None else None
    if key is None:
        words = "A valid API key is needed: `Authorization: Bearer <key>`."
        raise HTTPException(401, words, {"WWW-Authenticate": "Bearer"})
    return key


Caller = Annotated[ApiKeyView, Depends(_caller)]
"""The key in force that was presented; 401 without one."""


def _company(
    platform: ThePlatform,
    key: Caller,
    company_id: Annotated[int, Path(ge=1, le=_BIGINT, description="The company's id in the CRM.")],
) -> int:
    """404 and not 403 for a foreign company: a key must not tell which companies there are."""
    if key.may_see(company_id):
        with platform.database.begin() as connection:
            if connection.execute(select(1).where(Company.company_id == company_id)).first() is not None:
                return company_id
    raise HTTPException(404, "This company is not known.")


TheCompany = Annotated[int, Depends(_company)]
"""The `company_id` of the path, which the caller may see; 404 otherwise."""
