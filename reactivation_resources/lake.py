"""The lake: one Parquet file per asset and partition, written atomically, read lazily.

`<root>/<asset>/day=2026-11-22/part.parquet` for a daily partition, `<root>/<asset>/part.parquet` for an unpartitioned asset. The root is
a folder or an object-store URL. A file is whole or absent: on a folder it appears by rename, on an object store by its one PUT.
"""

import os
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from uuid import uuid4

import polars as pl


class Lake:
    """Reads and writes the lake's files. `root` is a folder or a URL that Polars understands (`s3://…`)."""

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")

    def path(self, asset: str, day: date | None = None) -> str:
        """Where the file of `asset` (and `day`) lies."""
        folder = f"{self.root}/{asset}" if day is None else f"{self.root}/{asset}/day={day.isoformat()}"
        return f"{folder}/part.parquet"

    def write(
        self,
        asset: str,
        frame: pl.DataFrame | pl.LazyFrame,
        day: date | None = None,
        metadata: dict[str, str] | None = None,
    ) -> str:
        """Replace the file of `asset` (and `day`) by `frame`; a LazyFrame is streamed. Returns the path."""
        target = self.path(asset, day)
        if "://" in target:
            frame.lazy().sink_parquet(target, metadata=metadata)
            return target
        final = Path(target)
        final.parent.mkdir(parents=True, exist_ok=True)
        draft = final.with_name(f".{uuid4().hex}.tmp")
        try:
            with draft.open(
                "wb"
            ) as file:  # opened here: a frame that fails may otherwise still open its draft after we removed it
                if isinstance(frame, pl.DataFrame):
                    frame.write_parquet(file, metadata=metadata)
                else:
                    frame.sink_parquet(file, metadata=metadata)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(final)
        finally:
            draft.unlink(missing_ok=True)
        return target

    def exists(self, asset: str, day: date | None = None) -> bool:
        """Whether the file is there."""
        target = self.path(asset, day)
        if "://" not in target:
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
