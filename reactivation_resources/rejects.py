"""What could not be imported: every line with its reason in a CSV file, the first of each file in the database too."""

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from sqlalchemy import Connection, text

from reactivation_resources.book_files import BadLine

KEPT = 10_000
"""How many rejected lines of one file the database keeps."""

_LONGEST = 2_000  # characters of a line that the database keeps
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_INSERT = """
INSERT INTO rejected_rows (company_id, source, line, reason, content, content_hash)
SELECT :company_id, :source, r.line, r.reason, jsonb_build_object('text', r.content), r.hash
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(line bigint, reason text, content text, hash text)
ON CONFLICT DO NOTHING
"""


@contextmanager
def collecting_rejects(path: Path | None) -> Iterator["Rejects"]:
    """Collects bad lines. The file at `path` appears when the block ends well, and only if there are any."""
    rejects = Rejects(path)
    try:
        yield rejects
        rejects.finish(keep=True)
    finally:
        rejects.finish(keep=False)


class Rejects:
    """The bad lines so far. Made by `collecting_rejects`."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.counts: Counter[str] = Counter()
        self._first: dict[str, list[BadLine]] = {}
        self._file: IO[str] | None = None

    def add(self, file: str, lines: Iterable[BadLine]) -> None:
        """Note the bad lines of `file`."""
        lines = list(lines)
        if not lines:
            return
        self.counts[file] += len(lines)
        first = self._first.setdefault(file, [])
        first.extend(lines[: max(KEPT - len(first), 0)])
        if self.path is not None:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = NamedTemporaryFile(  # noqa: SIM115 - closed by finish; only its owner may read it
                    "w", encoding="utf-8", newline="", dir=self.path.parent, prefix=".rejects-", delete=False
                )
                csv.writer(self._file).writerow(("file", "line", "reason", "content"))
            csv.writer(self._file).writerows((file, bad.line, bad.reason, _harmless(bad.content)) for bad in lines)

    def store(self, connection: Connection, company_id: int, files: Iterable[str]) -> None:
        """Make `rejected_rows` say of `files` what this import found; what has been mended since the last one goes."""
        for file in files:
            rows = [
                {"line": bad.line, "reason": bad.reason, "content": content, "hash": _hash(bad.line, content)}
                for bad in self._first.get(file, ())
                for content in [bad.content[:_LONGEST].replace("\x00", "\ufffd")]
            ]
            values = {"company_id": company_id, "source": f"import/{company_id}/{file}"}
            connection.execute(
                text("DELETE FROM rejected_rows WHERE source = :source AND NOT content_hash = ANY(:hashes)"),
                values | {"hashes": [row["hash"] for row in rows]},
            )
            if rows:
                connection.execute(text(_INSERT), values | {"rows": json.dumps(rows)})

    def finish(self, *, keep: bool) -> None:
        """Close the file of rejects and put it in place, or forget it."""
        if self._file is None or self.path is None:
            return
        self._file.close()
        draft, self._file = Path(self._file.name), None
        if keep:
            draft.replace(self.path)
        draft.unlink(missing_ok=True)


def _harmless(content: str) -> str:
    """A cell that a spreadsheet would take for a formula is marked as text."""
    return f"'{content}" if content.startswith(_FORMULA) else content


def _hash(line: int, content: str) -> str:
    return sha256(f"{line}\n{content}".encode()).hexdigest()
