"""How the visit history lies in the lake: segments, which are Parquet files of neighbouring companies, and the manifest that names them.

A reader takes what one manifest names, whole. The manifest is replaced in one step, after its segments; files it no longer names stay a
while for the readers who began before. What to keep out: where lines come from and which have changed (visit_history.py).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Literal
from uuid import uuid4

import polars as pl
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from reactivation_resources.database.engine import FrameSchema
from reactivation_resources.lake import Lake

ASSET = "visits"
MANIFEST = "manifest.json"
ROW_GROUP_ROWS = 100_000
"""A few salons: who reads one salon skips the others by their statistics."""
SLACK = 1.5
"""How many times the lines that are wanted a segment may have before it is cut."""
GRACE = timedelta(hours=1)
"""How long a superseded segment stays for the readers who began before."""
ORPHAN_AGE = timedelta(days=1)
"""A file as old as this that no manifest knows was left behind by a writer that was killed."""

INSTANT = pl.Datetime("us", "UTC")
SCHEMA: FrameSchema = {
    "company_id": pl.Int64, "client_id": pl.Int64, "record_id": pl.Int64, "line": pl.Int16, "starts_at": INSTANT, "staff_id": pl.Int64,
    "service_id": pl.Int64, "price_minor": pl.Int64, "status": pl.String, "deleted": pl.Boolean, "created_at": INSTANT,
}  # fmt: skip
CLIENT = ["company_id", "client_id"]


class Segment(BaseModel):
    """A file of the history: its name, first and last company, lines and clients in it."""

    model_config = ConfigDict(frozen=True)

    file: str
    first_company: int
    last_company: int
    rows: int
    clients: int


class Manifest(BaseModel):
    """A whole history: its segments in the order of companies, and the version of `records` that it shows.

    `lineage` is the name under which the database remembers what it has given to this lake; `retired` says since when a file of an
    earlier history is out of use.
    """

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    lineage: str
    version: int
    segments: tuple[Segment, ...] = ()
    retired: dict[str, AwareDatetime] = {}

    @property
    def rows(self) -> int:
        """Lines in all."""
        return sum(segment.rows for segment in self.segments)

    @property
    def clients(self) -> int:
        """Clients in all; who is a client of two companies counts twice."""
        return sum(segment.clients for segment in self.segments)


class Segments:
    """The history's files in `lake`."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake

    def stored(self) -> Manifest | None:
        """The present manifest; None when there is none, it cannot be read, or a segment is missing."""
        content = self.lake.read_bytes(ASSET, MANIFEST)
        if content is None:
            return None
        try:
            manifest = Manifest.model_validate_json(content)
        except ValidationError:
            return None
        files = self.lake.files(ASSET)
        return manifest if all(segment.file in files for segment in manifest.segments) else None

    def scan(self, segments: Sequence[Segment]) -> pl.LazyFrame:
        """The lines of `segments`, lazily, in their order."""
        if not segments:
            return pl.LazyFrame(schema=SCHEMA)
        paths = [self.lake.path(ASSET, file=segment.file) for segment in segments]
        return pl.scan_parquet(paths, glob=False, hive_partitioning=False)

    def publish(self, manifest: Manifest, before: Manifest | None, now: datetime) -> None:
        """Make `manifest` the history, retire what `before` used and it does not, and remove what has been out of use for long enough."""
        files = self.lake.files(ASSET)
        used = {segment.file for segment in manifest.segments} | {MANIFEST}
        retired: dict[str, datetime] = {}
        if before is not None:
            retired = dict.fromkeys((segment.file for segment in before.segments), now) | before.retired
        retired = {file: since for file, since in retired.items() if file in files and file not in used}
        manifest = manifest.model_copy(update={"retired": retired})
        self.lake.write_bytes(ASSET, MANIFEST, manifest.model_dump_json(indent=1).encode())
        for file, written_at in files.items():
            idle, allowed = (now - retired[file], GRACE) if file in retired else (now - written_at, ORPHAN_AGE)
            if file not in used and idle > allowed:
                self.lake.remove(ASSET, file)

    @contextmanager
    def writer(self, rows: int) -> Iterator["SegmentWriter"]:
        """Writes segments of about so many `rows`; after an error in the block they are removed."""
        writer = SegmentWriter(self.lake, rows)
        try:
            yield writer
        except BaseException:
            for segment in writer.written:
                self.lake.remove(ASSET, segment.file)
            raise


class SegmentWriter:
    """Cuts sorted lines into segments, between companies. Made by `Segments.writer`; `written` lists what is on disk."""

    def __init__(self, lake: Lake, rows: int) -> None:
        self.lake = lake
        self.rows = rows
        self.written: list[Segment] = []
        self._waiting = pl.DataFrame(schema=SCHEMA)

    def add(self, lines: pl.DataFrame) -> None:
        """Append lines of further companies, sorted, each company whole."""
        waiting = pl.concat([self._waiting, lines])
        while waiting.height > SLACK * self.rows:
            company = waiting["company_id"]
            before, after = (int(company.search_sorted(company[self.rows], side)) for side in ("left", "right"))
            end = before if before and self.rows - before < after - self.rows else after
            self._write(waiting.head(end))
            waiting = waiting.slice(end)
        self._waiting = waiting

    def flush(self) -> None:
        """Write what waits; the next lines begin another segment."""
        waiting, self._waiting = self._waiting, self._waiting.clear()
        self._write(waiting)

    def _write(self, lines: pl.DataFrame) -> None:
        if lines.is_empty():
            return
        first, last = lines["company_id"][0], lines["company_id"][-1]
        file = f"{first}-{last}-{uuid4().hex}.parquet"
        self.lake.write(ASSET, lines, file=file, row_group_size=ROW_GROUP_ROWS)
        changes = pl.any_horizontal(pl.col(name) != pl.col(name).shift() for name in CLIENT)
        clients = int(lines.select(changes.sum()).item()) + 1
        self.written.append(
            Segment(file=file, first_company=first, last_company=last, rows=lines.height, clients=clients)
        )
