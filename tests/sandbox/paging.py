"""Reading the town's listings to their end, as a client of the CRM does."""

from typing import Any

import httpx


def pages(crm: httpx.Client, path: str, **query: Any) -> list[dict[str, Any]]:
    """All rows of a paged GET."""
    found: list[dict[str, Any]] = []
    for page in range(1, 50):
        body = crm.get(path, params={"page": page, "count": 200, **query}).json()
        found += body["data"]
        if not body["data"] or len(found) >= body["meta"]["total_count"]:
            break
    return found


def search(crm: httpx.Client, *filters: dict[str, Any], **body: Any) -> list[dict[str, Any]]:
    """All rows of clients/search in salon 101."""
    found: list[dict[str, Any]] = []
    for page in range(1, 50):
        asked = {"page": page, "page_size": 200, "filters": list(filters), **body}
        answer = crm.post("/company/101/clients/search", json=asked)
        assert answer.status_code == 200, answer.text
        rows = answer.json()["data"]
        found += rows
        if not rows:
            break
    return found
