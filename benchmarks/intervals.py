"""What a month of intervals costs: the gaps between all visits of two years and what they say, beside hand-written DuckDB SQL.

    python benchmarks/intervals.py --clients 100000

Every measurement is a fresh process, the variants take turns, and the figures are medians: wall and CPU seconds without imports, peak memory
with them. Both engines must find the same intervals. Trust the ratio of one run; seconds depend on the machine's other work.
"""

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import polars as pl
from polars.testing import assert_frame_equal

HERE = Path(__file__).resolve().parent
VARIANTS = ("polars", "duckdb")


def main() -> None:
    arguments = argparse.ArgumentParser(description="Measure a month of intervals.")
    arguments.add_argument("--clients", type=int, default=100_000)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "reactivation-benchmark")
    arguments.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.variant:
        _measure(options.variant, options.folder)
    else:
        _compare(options.folder, options.clients, options.rounds)


def _compare(folder: Path, clients: int, rounds: int) -> None:
    data = _sibling("generate").town(folder, clients)
    lines = pl.scan_parquet(data / "records.parquet").select(pl.len()).collect().item()
    print(f"{clients:,} clients, {lines:,} record lines in {data}")
    figures: dict[str, list[dict[str, float]]] = {variant: [] for variant in VARIANTS}
    for _ in range(rounds):
        for variant in VARIANTS:
            command = [sys.executable, __file__, "--variant", variant, "--folder", str(data)]
            found = subprocess.run(command, check=True, capture_output=True, text=True)
            figures[variant].append(json.loads(found.stdout))
    ours, theirs = (pl.read_parquet(data / f"{engine}-service_intervals.parquet") for engine in VARIANTS)
    assert_frame_equal(ours, theirs.cast(dict(ours.schema)))
    gaps = pl.scan_parquet(data / "polars-visit_gaps.parquet").select(pl.len()).collect().item()
    print(f"{gaps:,} gaps, {ours.height:,} intervals, the same from both engines")
    for variant in VARIANTS:
        middle = {name: median(figure[name] for figure in figures[variant]) for name in figures[variant][0]}
        print(f"{variant:<8}" + ", ".join(f"{name} {value:.2f}" for name, value in middle.items()))


def _measure(variant: str, data: Path) -> None:
    steps: dict[str, float] = {}
    wall, cpu = time.perf_counter(), time.process_time()
    (_polars if variant == "polars" else _duckdb)(data, steps)
    spent = {"wall s": time.perf_counter() - wall, "CPU s": time.process_time() - cpu}
    print(json.dumps({**spent, "MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, **steps}))


def _polars(data: Path, steps: dict[str, float]) -> None:
    """The two assets' work: measure, validate, write; read again, count, validate, write."""
    from reactivation_core.contracts import SERVICE_INTERVALS, VISIT_GAPS, validate
    from reactivation_core.visit_gaps import service_intervals, visit_gaps

    began = time.perf_counter()

    def done(step: str) -> None:
        nonlocal began
        steps[step], began = time.perf_counter() - began, time.perf_counter()

    frames = {name: pl.scan_parquet(data / f"{name}.parquet") for name in ("companies", "clients", "records")}
    gaps = visit_gaps(**frames, as_of=_sibling("generate").AS_OF)
    done("gaps")
    validate(VISIT_GAPS, gaps)
    done("validate")
    gaps.write_parquet(data / "polars-visit_gaps.parquet")
    done("write")
    del gaps
    intervals = service_intervals(pl.scan_parquet(data / "polars-visit_gaps.parquet"))
    validate(SERVICE_INTERVALS, intervals).write_parquet(data / "polars-service_intervals.parquet")
    done("intervals")


def _duckdb(data: Path, _steps: dict[str, float]) -> None:
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    for name in ("companies", "clients", "records"):
        connection.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{data / name}.parquet')")
    as_of = f"'{_sibling('generate').AS_OF.isoformat()}'"
    for statement in (HERE / "duckdb_service_intervals.sql").read_text().split(";\n"):
        if statement.strip():
            connection.execute(statement.replace("$as_of", as_of))
    connection.execute(f"COPY temp.service_intervals TO '{data}/duckdb-service_intervals.parquet'")


def _sibling(name: str):  # noqa: ANN202
    """A module beside this file, which need not be importable by name."""
    specification = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
