"""`reactivation messages`: what clients read, for people to read first.

What to add here: how it is shown. What to keep out: the texts, their rules and their samples.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from rich.console import Console

from reactivation_cli.console import fail, progress_bar, stderr
from reactivation_core.message_facts import BUSINESSES, LANGUAGES, STAGES, TONES, Stage
from reactivation_core.message_samples import Sample, samples
from reactivation_core.message_templates import TemplateFileError, lint, template_message
from reactivation_resources.composing import Message
from reactivation_resources.database.engine import migrate
from reactivation_resources.message_books import read_book
from reactivation_resources.message_preview import NoPreviewError, preview_message
from reactivation_resources.platform import open_platform
from reactivation_resources.settings import Settings


def gallery(
    settings: Settings | None, language: str, business: str | None, stage: Stage | None, tone: str | None
) -> None:
    """Print the samples that match; with settings they are the model's."""
    wanted = list(
        samples(
            language,
            (business,) if business else BUSINESSES,
            (stage,) if stage else STAGES,
            (tone,) if tone else TONES,
        )
    )
    texts = _by_model(settings, wanted) if settings is not None else _by_people(wanted)
    print_gallery(wanted, texts)


def print_gallery(wanted: Sequence[Sample], texts: Sequence[str]) -> None:
    """Print samples under a heading for each kind of business, stage and tone."""
    out = Console(width=120, highlight=False, markup=False, emoji=False)
    shown = list(zip(wanted, texts, strict=True))
    for (business, stage, tone), group in groupby(shown, key=lambda one: (one[0].business, one[0].stage, one[0].tone)):
        out.print(f"== {business}, {stage}, {tone} ==")
        for sample, text in group:
            body, _, hint = text.partition("\n")
            out.print(f"{sample.situation:>9}  {body}", soft_wrap=True)
            if hint:
                out.print(f"{'':>9}  {hint}", soft_wrap=True)
        out.print()


def _by_people(wanted: Sequence[Sample]) -> list[str]:
    return [template_message(sample.facts, sample.client_key).text for sample in wanted]


def _by_model(settings: Settings, wanted: Sequence[Sample]) -> list[str]:
    with open_platform(settings) as platform:
        migrate(platform.urls.database_url)
        if platform.model_terms is None:
            fail("GEMINI_API_KEY is not set: without --model the samples are texts of people")
        found: list[Message] = []
        with progress_bar() as progress:
            task = progress.add_task("asking the model", total=len(wanted))
            for sample in wanted:
                today, now = platform.calendar.today(), datetime.now(UTC)
                found.append(platform.message_writer.preview(sample.facts, 0, sample.client_key, today, now))
                progress.advance(task)
        written = sum(one.source == "gemini" for one in found)
        stderr.print(f"{written} of {len(found)} by {settings.gemini_model}; the others are texts of people")
    return [one.text for one in found]


def preview(settings: Settings, company: int, client: int) -> None:
    """Print what a client would be written, who wrote it, and why not the model."""
    with open_platform(settings) as platform:
        migrate(platform.urls.database_url)
        try:
            message = preview_message(platform, company, client)
        except NoPreviewError as error:
            fail(str(error))
    author = "the model" if message.source == "gemini" else f"a text of people, {message.template_id}"
    why = f" ({message.fallback})" if message.fallback else ""
    stderr.print(f"{message.stage}, {len(message.text)} characters, by {author}{why}", highlight=False)
    Console(highlight=False, markup=False, emoji=False).print(message.text, soft_wrap=True)


def check(files: Sequence[Path]) -> bool:
    """Print what is wrong with files of texts. Whether nothing is."""
    good = True
    for path in files:
        language = next((one for one in LANGUAGES if path.name.endswith(f"{one}.txt")), None)
        if language is None:
            fail(f"{path}: the name must end in {' or '.join(f'{one}.txt' for one in LANGUAGES)}")
        try:
            book = read_book(path, language)
        except TemplateFileError as error:
            stderr.print(f"[red]{error}[/red]", highlight=False)
            good = False
            continue
        complaints = lint(book)
        for complaint in complaints:
            Console(highlight=False, markup=False, emoji=False).print(f"{path}: {complaint}", soft_wrap=True)
        texts = sum(map(len, book.templates.values()))
        stderr.print(f"{path}: {texts} texts, {len(complaints)} complaints", highlight=False)
        good = good and not complaints
    return good
