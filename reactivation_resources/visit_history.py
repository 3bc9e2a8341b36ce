"""The lake's visit history: every client's lines of the journal, sorted for the daily scan, refreshed by what changed.

A refresh asks PostgreSQL whose journal has changed since the history's version, reads the whole histories of these clients, and writes
the segments they are in anew: a client's history is replaced, never added to. It reads in one repeatable-read transaction, so that a
history never claims a version whose lines it lacks. A writer that is killed leaves the old history. Two refreshers at once each leave a
whole one; the older may win for a while and is mended by the next refresh. What to keep out: how the history lies in the lake
(visit_segments.py), other snapshots (mirror.py), and what counts as a visit (reactivation_core.visits).
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

import polars as pl
from sqlalchemy import Connection, text

from reactivation_resources.clock import Clock, SystemClock
from reactivation_resources.database.engine import Database, copy_frame
from reactivation_resources.lake import Lake
from reactivation_resources.visit_segments import (
    ASSET,
    CLIENT,
    MANIFEST,
    SCHEMA,
    SLACK,
    Manifest,
    Segment,
    Segments,
    SegmentWriter,
)

SEGMENT_ROWS = 1_000_000
"""About how many lines a segment holds. Half of that is fetched from PostgreSQL at once, where clients are counted, by this guess:"""
LINES_OF_A_CLIENT = 20
REBUILD_ABOVE = 0.5
"""Share of the clients whose journal has changed above which reading every line costs less than asking for theirs."""

_COLUMNS = """company_id, client_id, record_id, line, starts_at, staff_id, service_id, (price * 100)::bigint AS price_minor,
    status, deleted, created_at"""
_OF_COMPANIES = f"""
    SELECT {_COLUMNS} FROM record_lines WHERE client_id IS NOT NULL AND company_id BETWEEN %(first)s AND %(last)s
"""  # noqa: S608 - made of the constants above
# OFFSET 0 keeps the planner from reading the whole journal for a few clients: it looks each up in the index
_OF_CHANGED = f"""
    SELECT h.* FROM visit_changes c CROSS JOIN LATERAL (
        SELECT {_COLUMNS} FROM record_lines r WHERE r.company_id = c.company_id AND r.client_id = c.client_id OFFSET 0
    ) h
    WHERE c.version > %(version)s AND c.company_id BETWEEN %(first)s AND %(last)s
"""  # noqa: S608 - made of the constants above
_CHANGED = "SELECT company_id, client_id FROM visit_changes WHERE version > %(version)s ORDER BY company_id, client_id"
_COUNTED = """
    SELECT company_id, count(*) FROM record_lines WHERE client_id IS NOT NULL GROUP BY company_id ORDER BY company_id
"""
_REMEMBER = """
    INSERT INTO mirror_versions (name, version) VALUES (:name, :version)
    ON CONFLICT (name) DO UPDATE SET version = greatest(mirror_versions.version, excluded.version)
"""

Progress = Callable[[int, int], None]
"""Called with the lines done so far and how many there are."""
_Count = tuple[int, int]  # a company, and how many lines or clients of it


class VisitHistory:
    """Keeps the history of `database` in `lake`. What else can be set is for tests and measurements."""

    def __init__(
        self,
        database: Database,
        lake: Lake,
        *,
        clock: Clock | None = None,
        segment_rows: int = SEGMENT_ROWS,
        rebuild_above: float = REBUILD_ABOVE,
    ) -> None:
        self.database = database
        self.clock = clock or SystemClock()
        self.segments = Segments(lake)
        self.segment_rows = segment_rows
        self.rebuild_above = rebuild_above

    @property
    def location(self) -> str:
        """Where the manifest lies."""
        return self.segments.lake.path(ASSET, file=MANIFEST)

    def refresh(self) -> pl.LazyFrame:
        """The history, brought up to date: the columns of `SCHEMA`, sorted by company, client, start, record and line.

        Lines without a client are left out. The frame can be read for an hour, whatever is refreshed meanwhile.
        """
        before = self.segments.stored()
        with self.segments.writer(self.segment_rows) as writer, self._snapshot() as connection:
            version, known = _versions(connection, before)
            if before is not None and before.version == version and known:
                return self.segments.scan(before.segments)
            changed = _changed(connection, before) if before is not None and known else None
            if before is None or changed is None or changed.height > self.rebuild_above * before.clients:
                after = self._all(connection, version, writer)
            else:
                after = self._refreshed(connection, version, writer, before, changed)
        self._publish(after, before)
        return self.segments.scan(after.segments)

    def rebuild(self, progress: Progress = lambda _done, _all: None) -> Manifest:
        """Write the whole history from nothing, whatever lies in the lake, and say what was written."""
        before = self.segments.stored()
        with self.segments.writer(self.segment_rows) as writer, self._snapshot() as connection:
            version, _ = _versions(connection, before)
            after = self._all(connection, version, writer, progress)
        self._publish(after, before)
        return after

    def _all(
        self, connection: Connection, version: int, writer: SegmentWriter, progress: Progress = lambda _done, _all: None
    ) -> Manifest:
        """Every company's lines, some companies at a time."""
        counts = [(row[0], row[1]) for row in connection.execute(text(_COUNTED))]
        total, done = sum(rows for _, rows in counts), 0
        progress(done, total)
        for part in _parts(counts, self.segment_rows // 2):
            writer.add(_pull(connection, _OF_COMPANIES, first=part[0][0], last=part[-1][0]))
            done += sum(rows for _, rows in part)
            progress(done, total)
        writer.flush()
        return Manifest(lineage=f"visits in the lake {uuid4().hex}", version=version, segments=tuple(writer.written))

    def _refreshed(
        self, connection: Connection, version: int, writer: SegmentWriter, before: Manifest, changed: pl.DataFrame
    ) -> Manifest:
        """The segments of `before`; those with clients among `changed` are written anew, the others stay."""
        segments: list[Segment] = []
        companies: list[_Count] = changed.group_by("company_id", maintain_order=True).len().rows()
        for group in grouped(before.segments, companies, self.segment_rows):
            if not group.changed:
                segments += group.segments
                continue
            begun = len(writer.written)
            kept = self.segments.scan(group.segments).join(changed.lazy(), on=CLIENT, how="anti", maintain_order="left")
            parts = list(_parts(group.changed, self.segment_rows // 2 // LINES_OF_A_CLIENT))
            for number, part in enumerate(parts):
                first, last = part[0][0], part[-1][0]
                after = pl.col("company_id") > parts[number - 1][-1][0] if number else pl.lit(value=True)
                upto = pl.col("company_id") <= last if number + 1 < len(parts) else pl.lit(value=True)
                fresh = _pull(connection, _OF_CHANGED, version=before.version, first=first, last=last)
                # a client's lines come whole from one side, so that merging by client leaves each history in its order
                writer.add(kept.filter(after, upto).merge_sorted(fresh.lazy(), key=CLIENT).collect(engine="streaming"))
            writer.flush()
            segments += writer.written[begun:]
        return Manifest(lineage=before.lineage, version=version, segments=tuple(segments))

    @contextmanager
    def _snapshot(self) -> Iterator[Connection]:
        """A transaction that sees the database as it is now, however long it takes."""
        with self.database.begin() as connection:
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
            yield connection

    def _publish(self, after: Manifest, before: Manifest | None) -> None:
        """Let the database remember the version, then replace the manifest.

        A history is trusted only up to the version that the database remembers to have given it. So a database that was restored to an
        earlier day, and has moved on since, never takes what it has forgotten for its own.
        """
        with self.database.begin() as connection:
            connection.execute(text(_REMEMBER), {"name": after.lineage, "version": after.version})
        self.segments.publish(after, before, self.clock.now())
        if before is not None and before.lineage != after.lineage:
            with self.database.begin() as connection:
                connection.execute(text("DELETE FROM mirror_versions WHERE name = :name"), {"name": before.lineage})


def _versions(connection: Connection, before: Manifest | None) -> tuple[int, bool]:
    """The version of `records`, and whether `before` is a history that this database has given and still remembers."""
    lineage = "" if before is None else before.lineage
    query = text("SELECT name, version FROM mirror_versions WHERE name IN ('records', :lineage)")
    found = {row[0]: row[1] for row in connection.execute(query, {"lineage": lineage})}
    version = found.get("records", 0)
    return version, before is not None and lineage in found and before.version <= min(found[lineage], version)


def _changed(connection: Connection, before: Manifest) -> pl.DataFrame:
    """The clients whose journal has changed since `before`, sorted."""
    return copy_frame(connection, _CHANGED, {name: SCHEMA[name] for name in CLIENT}, version=before.version)


def _pull(connection: Connection, query: str, **parameters: int) -> pl.DataFrame:
    """The lines of `query`, put in order here: the server takes twice as long for that (benchmarks/pull_visits.py)."""
    return copy_frame(connection, query, SCHEMA, **parameters).sort(*CLIENT, "starts_at", "record_id", "line")


@dataclass
class Group:
    """Neighbouring segments that are written together, with their companies that have changed and how many clients of each."""

    segments: list[Segment]
    changed: list[_Count]

    @property
    def rows(self) -> int:
        """Lines in its segments."""
        return sum(segment.rows for segment in self.segments)


def grouped(segments: Sequence[Segment], changed: Iterable[_Count], rows: int) -> list[Group]:
    """Every segment in one group, in order, and every changed company in the group where its lines belong.

    A segment stands alone, unless it or its neighbour is to be written anyway and both together make one segment of `rows` lines.
    """
    firsts = [segment.first_company for segment in segments]
    groups = [Group([segment], []) for segment in segments] or [Group([], [])]
    for company, count in changed:
        groups[max(bisect_right(firsts, company) - 1, 0)].changed.append((company, count))
    merged = groups[:1]
    for group in groups[1:]:
        last = merged[-1]
        if (last.changed or group.changed) and last.rows + group.rows <= SLACK * rows:
            merged[-1] = Group(last.segments + group.segments, last.changed + group.changed)
        else:
            merged.append(group)
    return merged


def _parts(counts: Iterable[_Count], limit: int) -> Iterator[list[_Count]]:
    """Neighbours that count no more than `limit` together; a company that counts more stands alone."""
    part: list[_Count] = []
    total = 0
    for company, count in counts:
        if part and total + count > limit:
            yield part
            part, total = [], 0
        part.append((company, count))
        total += count
    if part:
        yield part
