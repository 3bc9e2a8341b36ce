"""What the campaign day costs: detection, profiles and slot ranking over the lake's Parquet frames, beside hand-written DuckDB SQL.

    python benchmarks/daily.py --clients 100000

Every measurement is a fresh process, the variants take turns, and the figures are medians: wall and CPU seconds of the work without imports,
peak memory with them. Both engines must give the same rows. Trust the ratio of one run; seconds depend on the machine's other work.
"""

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import polars as pl

HERE = Path(__file__).resolve().parent
VARIANTS = ("polars", "duckdb", "ranking", "imports")


def main() -> None:
    arguments = argparse.ArgumentParser(description="Measure the campaign day.")
    arguments.add_argument("--clients", type=int, default=100_000)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--threads", type=int, default=0, help="threads of each engine; 0: as many as cores")
    arguments.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "reactivation-benchmark")
    arguments.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.variant:
        _measure(options.variant, options.folder, options.threads)
    else:
        _compare(options.folder, options.clients, options.rounds, options.threads)


def _compare(folder: Path, clients: int, rounds: int, threads: int) -> None:
    data = _sibling("generate").town(folder, clients)
    lines = pl.scan_parquet(data / "records.parquet").select(pl.len()).collect().item()
    print(f"{clients:,} clients, {lines:,} record lines in {data}")
    figures: dict[str, list[dict[str, float]]] = {variant: [] for variant in VARIANTS}
    for _ in range(rounds):
        for variant in VARIANTS:
            command = [sys.executable, __file__, "--variant", variant, "--folder", str(data), "--threads", str(threads)]
            figures[variant].append(
                json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            )
    for name in ("inactive_clients", "preference_profiles"):
        ours, theirs = (pl.read_parquet(data / f"{engine}-{name}.parquet") for engine in ("polars", "duckdb"))
        if not ours.equals(theirs.cast(dict(ours.schema))):
            raise SystemExit(f"the engines disagree on {name}")
        print(f"{name}: {ours.height:,} rows, the same from both engines")
    print(f"{'variant':<12}{'wall s':>8}{'CPU s':>8}{'MB':>8}   steps, wall s")
    for variant in VARIANTS:
        middle = {key: median(figure[key] for figure in figures[variant]) for key in figures[variant][0]}
        steps = ", ".join(f"{key} {value:.2f}" for key, value in middle.items() if key not in {"wall", "cpu", "memory"})
        print(f"{variant:<12}{middle['wall']:8.2f}{middle['cpu']:8.2f}{middle['memory']:8.0f}   {steps}")
    pairs = list(zip(figures["polars"], figures["duckdb"], strict=True))
    for key in ("wall", "cpu", "memory"):
        print(f"polars / duckdb, {key}: {median(ours[key] / theirs[key] for ours, theirs in pairs):.2f}")


def _measure(variant: str, data: Path, threads: int) -> None:
    work = {"polars": _polars, "duckdb": _duckdb, "ranking": _ranking, "imports": _imports}[variant](data, threads)
    steps: dict[str, float] = {}
    wall, cpu = time.perf_counter(), time.process_time()
    for name, step in work:
        began = time.perf_counter()
        step()
        steps[name] = time.perf_counter() - began
    spent = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    print(json.dumps({**spent, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, **steps}))


Work = list[tuple[str, Callable[[], None]]]


def _polars(data: Path, _threads: int) -> Work:
    from reactivation_core.inactivity import InactivityInputs, detect_inactive
    from reactivation_core.preferences import preference_profiles

    inputs = InactivityInputs(
        **{name: pl.scan_parquet(data / f"{name}.parquet") for name in InactivityInputs.__dataclass_fields__}
    )
    found: dict[str, pl.DataFrame] = {}

    def detect() -> None:
        found["inactive_clients"] = detect_inactive(inputs, _as_of())

    def profile() -> None:
        found["preference_profiles"] = preference_profiles(
            companies=inputs.companies,
            staff=inputs.staff,
            records=inputs.records,
            due=found["inactive_clients"],
            as_of=_as_of(),
        )

    def write() -> None:
        for name, frame in found.items():
            frame.write_parquet(data / f"polars-{name}.parquet")

    return [("detect", detect), ("profile", profile), ("write", write)]


def _duckdb(data: Path, threads: int) -> Work:
    import duckdb

    connection = duckdb.connect(config={"threads": threads} if threads else {})
    connection.execute("SET TimeZone = 'UTC'")
    for file in data.glob("*.parquet"):
        connection.execute(f"CREATE VIEW \"{file.stem}\" AS SELECT * FROM read_parquet('{file}')")

    def run(name: str) -> Callable[[], None]:
        def step() -> None:
            for statement in (HERE / f"duckdb_{name}.sql").read_text().split(";\n"):
                if statement.strip():
                    connection.execute(statement.replace("$as_of", f"'{_as_of().isoformat()}'"))

        return step

    def write() -> None:
        for name in ("inactive_clients", "preference_profiles"):
            connection.execute(f"COPY (FROM temp.{name}) TO '{data}/duckdb-{name}.parquet'")

    return [("detect", run("inactive_clients")), ("profile", run("preference_profiles")), ("write", write)]


def _ranking(data: Path, _threads: int) -> Work:
    """Slots for a day's plan: the twenty best eligible clients of every salon."""
    from reactivation_core.slots import rank_slots

    def rank() -> None:
        eligible = pl.read_parquet(data / "polars-inactive_clients.parquet").filter(decision="eligible")
        planned = eligible.with_columns(priority_rank=pl.int_range(pl.len()).over("company_id")).filter(
            pl.col("priority_rank") < 20
        )
        profiles = pl.read_parquet(data / "polars-preference_profiles.parquet")
        frames = {name: pl.read_parquet(data / f"{name}.parquet") for name in ("open_slots", "services", "companies")}
        rank_slots(planned, profiles, **frames, as_of=_as_of())

    return [("rank", rank)]


def _imports(_data: Path, _threads: int) -> Work:
    """An empty process: the memory that the imports take before any work."""
    from reactivation_core import inactivity, preferences, slots  # noqa: F401

    return []


def _as_of():  # noqa: ANN202
    from datetime import UTC, datetime

    return datetime(2026, 11, 20, 7, tzinfo=UTC)


def _sibling(name: str):  # noqa: ANN202
    """A module beside this file, which need not be importable by name."""
    specification = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
