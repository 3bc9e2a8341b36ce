"""Where the project's own files lie, in a checkout and in an installed wheel."""

from pathlib import Path


def sql_dir() -> Path:
    """The folder with `migrations` and `analytics`."""
    package = Path(__file__).resolve().parent
    for folder in (package.parent / "sql", package / "sql"):
        if folder.is_dir():
            return folder
    raise FileNotFoundError("the project's sql folder is missing: install the package again")
