"""The lake: one Parquet file per asset and partition, written atomically, read lazily.

`<root>/<asset>/day=2026-11-22/part.parquet` for a daily partition, `<root>/<asset>/part.parquet` for an unpartitioned asset. The root is
a folder or an object-store URL. A file is whole or absent: on a folder it appears by rename, on an object store by its one PUT. An asset
too large for one file keeps several under names of its own and says which belong together (visit_history.py).
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from stat import S_ISREG
from typing import IO, Any
from uuid import uuid4

import polars as pl

PART = "part.parquet"
DRAFT_AGE = timedelta(days=1)
"""A draft as old as this was left behind by a writer that was killed."""


class Lake:
    """Reads and writes the lake's files. `root` is a folder or a URL that Polars and Arrow understand (`s3://…`)."""

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")
        self._remote = "://" in root

    def path(self, asset: str, day: date | None = None, file: str = PART) -> str:
        """Where the file of `asset` (and `day`) lies."""
        folder = f"{self.root}/{asset}" if day is None else f"{self.root}/{asset}/day={day.isoformat()}"
        return f"{folder}/{file}"

    def write(
        self,
        asset: str,
        frame: pl.DataFrame | pl.LazyFrame,
        day: date | None = None,
        metadata: dict[str, str] | None = None,
        *,
        file: str = PART,
        row_group_size: int | None = None,
    ) -> str:
        """Replace the file of `asset` (and `day`) by `frame`; a LazyFrame is streamed. Returns the path."""
        target = self.path(asset, day, file)
        if self._remote:
            frame.lazy().sink_parquet(target, metadata=metadata, row_group_size=row_group_size)
            return target
        with _draft(Path(target)) as draft:
            if isinstance(frame, pl.DataFrame):
                frame.write_parquet(draft, metadata=metadata, row_group_size=row_group_size)
            else:
                frame.sink_parquet(draft, metadata=metadata, row_group_size=row_group_size)
        return target

    def write_bytes(self, asset: str, file: str, content: bytes) -> None:
        """Replace the file called `file` of an unpartitioned asset."""
        if self._remote:
            store, root = self._store
            with store.open_output_stream(f"{root}/{asset}/{file}") as stream:
                stream.write(content)
        else:
            with _draft(Path(self.path(asset, file=file))) as draft:
                draft.write(content)

    def read_bytes(self, asset: str, file: str) -> bytes | None:
        """What `write_bytes` wrote; None when there is no such file."""
        try:
            if not self._remote:
                return Path(self.path(asset, file=file)).read_bytes()
            store, root = self._store
            with store.open_input_stream(f"{root}/{asset}/{file}") as stream:
                return bytes(stream.read())
        except FileNotFoundError:
            return None

    def files(self, asset: str) -> dict[str, datetime]:
        """The files of an unpartitioned asset and when each was written, drafts left out; none when the asset is not there."""
        if self._remote:
            from pyarrow.fs import FileSelector, FileType

            store, root = self._store
            found = store.get_file_info(FileSelector(f"{root}/{asset}", allow_not_found=True))
            return {info.base_name: info.mtime for info in found if info.type == FileType.File}
        listed = {}
        for path in Path(self.root, asset).glob("[!.]*"):
            with suppress(FileNotFoundError):  # removed meanwhile
                state = path.stat()
                if S_ISREG(state.st_mode):
                    listed[path.name] = datetime.fromtimestamp(state.st_mtime, UTC)
        return listed

    def remove(self, asset: str, file: str) -> None:
        """Delete the file called `file` of an unpartitioned asset; one that is gone is no error."""
        with suppress(FileNotFoundError):
            if self._remote:
                store, root = self._store
                store.delete_file(f"{root}/{asset}/{file}")
            else:
                Path(self.path(asset, file=file)).unlink()

    def exists(self, asset: str, day: date | None = None) -> bool:
        """Whether the file is there."""
        target = self.path(asset, day)
        if not self._remote:
            return Path(target).is_file()
        try:
            pl.read_parquet_metadata(target)
        except (FileNotFoundError, OSError):
            return False
        return True

    def metadata(self, asset: str, day: date | None = None) -> dict[str, str]:
        """The key-value metadata the file was written with; empty when there is no file."""
        if not self.exists(asset, day):
            return {}
        return dict(pl.read_parquet_metadata(self.path(asset, day)))

    def rows(self, asset: str, day: date | None = None) -> int:
        """How many rows the file has, from its footer."""
        return int(self.scan(asset, day).select(pl.len()).collect().item())

    def scan(self, asset: str, day: date | None = None) -> pl.LazyFrame:
        """The file of `asset` (and `day`), lazily. Raises FileNotFoundError naming the asset to materialize."""
        if not self.exists(asset, day):
            wanted = asset if day is None else f"{asset} of {day.isoformat()}"
            raise FileNotFoundError(f"the lake has no {wanted}: materialize it first")
        return pl.scan_parquet(self.path(asset, day))

    def scan_days(self, asset: str, days: Iterable[date]) -> pl.LazyFrame | None:
        """The files of those `days` that exist, as one frame; None when there is none."""
        paths = [self.path(asset, day) for day in days if self.exists(asset, day)]
        return pl.scan_parquet(paths) if paths else None

    @cached_property
    def _store(self) -> tuple[Any, str]:
        """The object store and the root's place in it. Polars reads and writes frames there, but lists and removes nothing."""
        from pyarrow.fs import FileSystem

        store, root = FileSystem.from_uri(self.root)
        return store, root


@contextmanager
def _draft(final: Path) -> Iterator[IO[bytes]]:
    """A hidden file that becomes `final` at the end of the block, and vanishes on an error. Drafts of killed writers are cleared away."""
    final.parent.mkdir(parents=True, exist_ok=True)
    draft = final.with_name(f".{uuid4().hex}.tmp")
    try:
        # opened here: a frame that fails may otherwise still open its draft after we removed it
        with draft.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(final)
    finally:
        draft.unlink(missing_ok=True)
    oldest = datetime.now(UTC) - DRAFT_AGE
    for left in final.parent.glob(".*.tmp"):
        with suppress(OSError):  # another writer clears away too; a file that may not be removed is no reason to fail
            if datetime.fromtimestamp(left.stat().st_mtime, UTC) < oldest:
                left.unlink()
