"""The texts of people that an installation uses: its own files where it has some, else the product's.

What to keep out: what may stand in them (`reactivation_core.message_templates`).
"""

from pathlib import Path

from reactivation_core.message_facts import LANGUAGES
from reactivation_core.message_templates import TemplateBook, TemplateFileError, parse


def read_book(path: Path, language: str) -> TemplateBook:
    """Read a file of texts. Raises TemplateFileError, naming the file and the line, if it cannot be read."""
    try:
        return parse(path.read_text(encoding="utf-8"), language)
    except (OSError, UnicodeDecodeError) as error:
        raise TemplateFileError(f"{path}: cannot be read ({type(error).__name__})") from None
    except TemplateFileError as error:
        raise TemplateFileError(f"{path}: {error}") from None


def books_of(folder: Path | None) -> dict[str, TemplateBook]:
    """The books of a folder by language; a language without a file is not among them. Raises TemplateFileError."""
    if folder is None:
        return {}
    if not folder.is_dir():
        raise TemplateFileError(f"REACTIVATION_TEXTS={folder}: there is no such folder")
    return {
        language: read_book(folder / f"{language}.txt", language)
        for language in LANGUAGES
        if (folder / f"{language}.txt").exists()
    }
