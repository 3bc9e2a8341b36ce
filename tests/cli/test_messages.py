"""`reactivation messages`: samples for people, one client's text, a check of the files."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from reactivation_cli.main import app
from reactivation_core.message_rules import judge_message
from reactivation_core.message_samples import samples
from reactivation_core.message_templates import own_source, template_message
from reactivation_resources.database.engine import Database
from reactivation_sandbox.process import Town
from tests.resources.sending_world import add_salon, execute

GALLERY = Path(__file__).with_name("gallery")


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["messages", *arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def town(model_town: Town) -> Town:
    return model_town


@pytest.fixture
def settled(database: Database, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    """A salon whose client 1 was there two months ago, and variables that lead to it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database.url.replace("+psycopg", ""))
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("REACTIVATION_HOME", str(tmp_path / "home"))
    add_salon(database)
    execute(database, "INSERT INTO services (company_id, service_id, title) VALUES (1, 1, 'Женская стрижка')")
    execute(
        database,
        "INSERT INTO record_lines (company_id, record_id, line, client_id, starts_at, service_id, status, created_at)"
        " VALUES (1, 1, 1, 1, now() - interval '60 days', 1, 'attended', now() - interval '70 days')",
    )
    return database


@pytest.mark.parametrize("language", ["ru", "en"])
def test_the_gallery_is_as_it_was_last_read(language: str) -> None:
    """When it changes, read it, then write it anew: `reactivation messages --sample --language ru > tests/cli/gallery/ru.txt`."""
    code, printed, _ = run("--sample", "--language", language)
    assert code == 0
    assert printed == (GALLERY / f"{language}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("language", ["ru", "en"])
def test_every_sample_keeps_the_rules(language: str) -> None:
    shown = list(samples(language))
    assert len(shown) == 5 * 3 * 3 * 6
    for one in shown:
        assert judge_message(template_message(one.facts, one.client_key).text, one.facts) == []


def test_a_part_of_the_gallery() -> None:
    _, printed, _ = run("--sample", "--business", "dental", "--stage", "offer", "--tone", "professional")
    assert printed.count("==") == 2
    assert "== dental, offer, professional ==" in printed
    assert "no name" in printed


@pytest.mark.usefixtures("settled")
def test_samples_by_the_model(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, told = run("--sample", "--model", "--business", "dental", "--stage", "offer", "--tone", "casual")
    assert (code, "GEMINI_API_KEY is not set" in told) == (1, True)
    monkeypatch.setenv("GEMINI_API_KEY", town.gemini_key)
    monkeypatch.setenv("GEMINI_BASE_URL", town.gemini_url)
    code, printed, told = run("--sample", "--model", "--business", "dental", "--stage", "offer", "--tone", "casual")
    assert code == 0, told
    assert "6 of 6 by gemini-3.5-flash-lite" in told
    assert "Екатерина" in printed


@pytest.mark.usefixtures("settled")
def test_what_one_client_would_read(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    code, printed, told = run("--company", "1", "--client", "1")
    assert code == 0, told
    assert "offer, " in told
    assert "a text of people, ru/offer/friendly/" in told
    assert "(no_key)" in told
    assert "Анна" in printed
    assert "два месяца" in printed.lower()
    monkeypatch.setenv("GEMINI_API_KEY", town.gemini_key)
    monkeypatch.setenv("GEMINI_BASE_URL", town.gemini_url)
    code, printed, told = run("--company", "1", "--client", "1")
    assert (code, "by the model" in told) == (0, True)
    assert "Анна" in printed


@pytest.mark.parametrize(("client", "complaint"), [("99", "has no client 99"), ("2", "never been there")])
@pytest.mark.usefixtures("settled")
def test_a_client_who_cannot_be_written_to(client: str, complaint: str) -> None:
    code, _, told = run("--company", "1", "--client", client)
    assert code == 1
    assert complaint in " ".join(told.split())


def test_a_file_of_texts_is_checked(tmp_path: Path) -> None:
    good, bad = tmp_path / "my-ru.txt", tmp_path / "bad.ru.txt"
    good.write_text(own_source("ru"), encoding="utf-8")
    bad.write_text(
        own_source("ru").replace("Записать вас {visit}? 😊", "Записать вас {visit} бесплатно? 😊", 1), encoding="utf-8"
    )
    assert run("--lint", str(good))[0] == 0
    code, printed, told = run("--lint", str(good), "--lint", str(bad))
    assert code == 1
    assert "offer: it offers what nobody offered (бесплатно)" in printed
    assert f"{len(printed.splitlines())} complaints" in " ".join(told.split())
    broken = tmp_path / "ru.txt"
    broken.write_text("Привет\n", encoding="utf-8")
    code, _, told = run("--lint", str(broken))
    assert (code, "line 1: a text stands before any heading" in " ".join(told.split())) == (1, True)
    assert run("--lint", str(tmp_path / "texts.md"))[0] == 1
    assert run("--lint", str(tmp_path / "absent-ru.txt"))[0] == 1


@pytest.mark.usefixtures("settled")
def test_an_installations_own_texts_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "texts"
    own.mkdir()
    line = "[{name}, ]здравствуйте! Вы не были у нас {days_phrase}. Будем рады. Записать вас? 🌷"
    source = own_source("ru")
    start, end = source.index("== offer, friendly =="), source.index("== offer, professional ==")
    (own / "ru.txt").write_text(source[:start] + f"== offer, friendly ==\n{line}\n\n" + source[end:], encoding="utf-8")
    monkeypatch.setenv("REACTIVATION_TEXTS", str(own))
    _, printed, _ = run("--company", "1", "--client", "1")
    assert "Будем рады. Записать вас? 🌷" in printed
    monkeypatch.setenv("REACTIVATION_TEXTS", str(tmp_path / "nowhere"))
    code, _, _ = run("--company", "1", "--client", "1")
    assert code != 0


def test_nothing_asked_nothing_shown() -> None:
    code, _, told = run()
    assert (code, "say what to show" in told) == (1, True)
