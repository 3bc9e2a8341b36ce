"""A process that calls under a shared limit, or holds places until it is killed.

`python rate_limit_process.py call NAME REDIS_URL LIMITS CRM_URL`: says "ready" and calls, many at a time, until its input ends.
`python rate_limit_process.py hold NAME REDIS_URL LIMITS LEASE_S`: takes every place of the first limit, says "ready", never gives one back.
"""

import asyncio
import json
import sys

from reactivation_resources.rate_limit import Limits, RateLimiter
from reactivation_resources.yclients.client import YClients


def ready() -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()


async def call(name: str, redis_url: str, limits: Limits, crm_url: str) -> None:
    async def ask(client: YClients) -> None:
        while True:
            await client.staff(1)

    async with YClients(crm_url, "partner", "user", RateLimiter(name, limits, redis_url)) as client:
        ready()
        asking = [asyncio.create_task(ask(client)) for _ in range(8)]
        ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
        done, _ = await asyncio.wait([*asking, ended], return_when=asyncio.FIRST_COMPLETED)
        for task in asking:
            task.cancel()
        for task in done - {ended}:
            task.result()


async def hold(name: str, redis_url: str, limits: Limits, lease_s: str) -> None:
    limiter = RateLimiter(name, limits, redis_url, lease_s=float(lease_s))

    async def one(taken: asyncio.Semaphore) -> None:
        async with limiter.place():
            taken.release()
            await asyncio.sleep(600)

    taken = asyncio.Semaphore(0)
    holding = [asyncio.create_task(one(taken)) for _ in range(limits[0][0])]
    for _ in holding:
        await taken.acquire()
    ready()
    await asyncio.gather(*holding)


if __name__ == "__main__":
    work, name, redis_url, limits, last = sys.argv[1:]
    asyncio.run((call if work == "call" else hold)(name, redis_url, tuple(map(tuple, json.loads(limits))), last))
