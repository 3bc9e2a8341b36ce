"""Lists, a page at a time.

What to add here: what all lists share. What to keep out: any one list.
"""

from typing import Annotated, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel

Row = TypeVar("Row")

PageNumber = Annotated[int, Query(ge=1, le=1_000_000, description="Counted from 1.")]
PageLimit = Annotated[int, Query(ge=1, le=100, description="Rows a page.")]


class Pagination(BaseModel):
    """Where a page lies: `total` rows on `pages` pages of `limit` rows."""

    total: int
    page: int
    limit: int
    pages: int


class Page(BaseModel, Generic[Row]):
    """One page of a list."""

    items: list[Row]
    pagination: Pagination


def page_of(items: list[Row], total: int, page: int, limit: int) -> Page[Row]:
    """`items` are the rows of page `page` out of `total`. A page past the end is empty."""
    return Page(items=items, pagination=Pagination(total=total, page=page, limit=limit, pages=-(-total // limit)))
