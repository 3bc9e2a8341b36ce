"""The metrics of the lake: the queries of `sql/analytics`, run by DuckDB over the Parquet files of `conversions`.

A query reads the view `conversions` and takes $company_id (null for all), $from and $to, both days included. Add a metric by
adding a file and its twin to `reactivation_core.metrics`; rates and intervals belong there, never here.
"""

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from reactivation_core.attribution import CONVERSIONS
from reactivation_resources.paths import sql_dir

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

ASSET = "conversions"


class Analytics:
    """Runs the metrics over the lake at `lake_root`, a folder or an object-store URL. Writes nothing, keeps nothing open."""

    def __init__(self, lake_root: str) -> None:
        self.lake_root = lake_root.rstrip("/")
        self._queries = sql_dir() / "analytics"

    def names(self) -> list[str]:
        """The metrics there are, sorted."""
        return sorted(path.stem for path in self._queries.glob("*.sql"))

    def query(self, name: str, company_id: int | None, first_day: date, last_day: date) -> pl.DataFrame:
        """The rows of the metric `name` for one company (None: all) and the days from first to last, both included.

        A lake without facts gives what the metric gives over none. Raises ValueError for an unknown name.
        """
        import duckdb

        if name not in self.names():
            raise ValueError(f"unknown metric {name!r}: one of {', '.join(self.names())}")
        sql = (self._queries / f"{name}.sql").read_text(encoding="utf-8")
        with duckdb.connect(":memory:") as connection:
            self._open(connection, first_day, last_day)
            wanted = {"company_id": company_id, "from": first_day, "to": last_day}
            return pl.DataFrame(connection.sql(sql, params=wanted).to_arrow_table())

    def _open(self, connection: "DuckDBPyConnection", first_day: date, last_day: date) -> None:
        """Create the view `conversions`."""
        if "://" in self.lake_root:
            # Read by Polars: DuckDB would have to download an extension to reach an object store.
            facts = pl.scan_parquet(
                f"{self.lake_root}/{ASSET}/*/part.parquet",
                schema=CONVERSIONS,
                extra_columns="ignore",
                hive_partitioning=False,
            )
            wanted = facts.filter(pl.col("day").is_between(first_day, last_day)).collect(engine="streaming")
            connection.register(ASSET, wanted.to_arrow())
        elif files := sorted(Path(self.lake_root, ASSET).glob("day=*/part.parquet")):
            connection.read_parquet([str(file) for file in files], hive_partitioning=False).create_view(ASSET)
        else:
            connection.register(ASSET, pl.DataFrame(schema=CONVERSIONS).to_arrow())
