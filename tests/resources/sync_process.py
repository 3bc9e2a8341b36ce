"""One synchronisation that kills itself: `python -m tests.resources.sync_process DATABASE_URL CRM_URL PARTNER USER NOW STATEMENT`.

Dies before its STATEMENT-th statement or commit. Where there are fewer it prints the failed companies when it ends.
"""

import asyncio
import json
import sys
from datetime import datetime

from reactivation_resources.crm_sync import sync_companies
from reactivation_resources.database.engine import Database
from reactivation_resources.rate_limit import RateLimiter
from reactivation_resources.yclients.client import YClients
from tests.sudden_death import die_at_statement


async def main(database_url: str, crm_url: str, partner: str, user: str, now: str, statement: str) -> None:
    database = Database(database_url)
    die_at_statement(database, int(statement))
    async with YClients(crm_url, partner, user, RateLimiter("none", ())) as crm:
        report = await sync_companies(database, crm, datetime.fromisoformat(now))
    sys.stdout.write(json.dumps(report.failed))
    database.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
