"""One synchronisation in a process of its own, to be killed: `python sync_process.py DATABASE_URL CRM_URL PARTNER USER NOW`.

Says "ready" when it begins and "done" with the failed companies when it ends.
"""

import asyncio
import json
import sys
from datetime import datetime

from reactivation_resources.crm_sync import sync_companies
from reactivation_resources.database.engine import Database
from reactivation_resources.rate_limit import RateLimiter
from reactivation_resources.yclients.client import YClients


async def main(database_url: str, crm_url: str, partner: str, user: str, now: str) -> None:
    database = Database(database_url)
    async with YClients(crm_url, partner, user, RateLimiter("none", ())) as crm:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        report = await sync_companies(database, crm, datetime.fromisoformat(now))
    sys.stdout.write(f"done {json.dumps(report.failed)}\n")
    database.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
