"""Time the import of a large book into embedded, durable PostgreSQL, and the snapshot of its records.

`python benchmarks/import_book.py --rows 2000000` prints seconds, rows a second and the peak memory of this process.
"""

import argparse
import random
import resource
import time
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from reactivation_resources.book_import import import_book
from reactivation_resources.book_template import write_template
from reactivation_resources.database.engine import Database, migrate
from reactivation_resources.embedded.servers import running_servers
from reactivation_resources.lake import Lake
from reactivation_resources.mirror import Mirror


def write_book(directory: Path, rows: int, seed: int = 1) -> None:
    """A book of `rows` visits by a tenth as many clients."""
    chance = random.Random(seed)
    write_template(directory)
    clients = max(rows // 10, 1)
    with (directory / "clients.csv").open("w") as file:
        file.write("client_id,name,phone\n")
        file.writelines(f"{n},Client {n},+7900{n:07d}\n" for n in range(1, clients + 1))
    start = datetime(2023, 1, 1, 9)  # noqa: DTZ001 - wall time
    with (directory / "visits.csv").open("w") as file:
        file.write("record_id,client_id,starts_at,staff_id,service_id,price,status\n")
        for record in range(1, rows + 1):
            at = start + timedelta(minutes=15 * chance.randrange(4 * 24 * 1300))
            status = chance.choices(("completed", "no_show", "cancelled"), (90, 5, 5))[0]
            file.write(
                f"{record},{chance.randrange(clients) + 1},{at:%Y-%m-%d %H:%M},{chance.randrange(2) + 11},"
                f"{chance.randrange(3) + 1},{chance.randrange(500, 9000)}.00,{status}\n"
            )


def main() -> None:
    """Write the book, import it twice, take the snapshot twice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    rows = parser.parse_args().rows
    with TemporaryDirectory() as folder, running_servers(Path(folder) / "home", valkey=False) as urls:
        write_book(Path(folder) / "book", rows)
        migrate(urls.database_url)
        database = Database(urls.database_url)
        mirror = Mirror(database, Lake(str(Path(folder) / "lake")))
        print(f"{rows:,} visits; memory before {_memory()}")
        for name in ("import", "import again"):
            report = import_book(database, Path(folder) / "book")
            print(
                f"{name}: {report.seconds:.1f} s, {rows / report.seconds:,.0f} rows/s, changed {sum(report.changed.values()):,},"
                f" rejected {sum(report.rejected.values())}, peak memory {_memory()}"
            )
        for name in ("snapshot of records", "snapshot of records again"):
            started = time.monotonic()
            mirror.snapshot("records")
            print(f"{name}: {time.monotonic() - started:.2f} s, peak memory {_memory()}")
        database.close()


def _memory() -> str:
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB"


if __name__ == "__main__":
    main()
