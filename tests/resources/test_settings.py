"""Configuration: what is wrong is refused by name; secrets are never shown."""

from pathlib import Path

import pytest

from reactivation_resources.settings import Settings, SettingsError

OWN = [name.upper() for name in Settings.model_fields]


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in OWN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_nothing_set_gives_the_documented_defaults() -> None:
    settings = Settings.load()
    assert settings.reactivation_enabled
    assert settings.reactivation_cron == "0 10 * * *"
    assert settings.scheduled_time == (10, 0)
    assert settings.reactivation_timezone == "Europe/Moscow"
    assert settings.database_url is None
    assert settings.redis_url is None


def test_an_unknown_variable_of_ours_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REACTIVATION_CORN", "0 10 * * *")
    with pytest.raises(SettingsError, match="REACTIVATION_CORN"):
        Settings.load()


@pytest.mark.parametrize("line", ["REACTIVATION_CORN=0 9 * * *", "reactivation_corn=1", "export REACTIVATION_CORN=1"])
def test_an_unknown_variable_in_the_env_file_is_named(line: str) -> None:
    Path(".env").write_text(f"# ours\n{line}\n")
    with pytest.raises(SettingsError, match="REACTIVATION_CORN"):
        Settings.load()


def test_variables_of_others_are_none_of_our_business(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMEBODY_ELSES", "1")
    Path(".env").write_text("COMPOSE_PROJECT_NAME=salon\n")
    assert Settings.load().reactivation_enabled


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REACTIVATION_ENABLED", "perhaps"),
        ("REACTIVATION_CRON", "*/5 * * * *"),
        ("REACTIVATION_CRON", "60 10 * * *"),
        ("REACTIVATION_CRON", "0 24 * * *"),
        ("REACTIVATION_CRON", "0 10 * * 1"),
        ("REACTIVATION_TIMEZONE", "Mars/Olympus"),
        ("REACTIVATION_TIMEZONE", "../etc/passwd"),
        ("REACTIVATION_FIRST_DAY", "yesterday"),
        ("REACTIVATION_DAILY_LIMIT", "-1"),
        ("REACTIVATION_HOURLY_LIMIT", "many"),
        ("REACTIVATION_MIN_CONVERSION_RATE", "1.5"),
        ("REACTIVATION_API_PORT", "70000"),
    ],
)
def test_a_malformed_value_is_named_with_its_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        Settings.load()
    assert name in str(refused.value)
    assert value in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://user:geheim@host/db"),
        ("DATABASE_URL", "geheim"),
        ("DATABASE_URL", "postgresql://"),
        ("REDIS_URL", "localhost:6379/geheim"),
        ("REDIS_URL", "http://:geheim@localhost"),
        ("YCLIENTS_BASE_URL", "api.yclients.com/geheim"),
        ("WAHA_BASE_URL", "ftp://geheim"),
        ("WAHA_BASE_URL", "http://"),
    ],
)
def test_a_malformed_address_is_named_without_showing_what_it_may_hold(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name) as refused:
        Settings.load()
    assert "geheim" not in str(refused.value)


@pytest.mark.parametrize(
    "given", ["postgresql://u:p@h:5432/d?sslmode=require", "postgres://u:p@h:5432/d?sslmode=require"]
)
def test_a_database_address_gets_our_driver(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("DATABASE_URL", given)
    url = Settings.load().database_url
    assert url is not None
    assert url.get_secret_value() == "postgresql+psycopg://u:p@h:5432/d?sslmode=require"


def test_secrets_are_not_in_the_settings_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "REDIS_URL", "YCLIENTS_PARTNER_TOKEN", "YCLIENTS_USER_TOKEN", "WAHA_API_KEY"):
        value = {"DATABASE_URL": "postgresql://u:geheim@h/d", "REDIS_URL": "redis://:geheim@h"}.get(name, "geheim")
        monkeypatch.setenv(name, value)
    assert "geheim" not in repr(Settings.load())


def test_the_environment_goes_before_the_env_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("REACTIVATION_CRON=30 8 * * *\nREACTIVATION_TIMEZONE=Asia/Omsk\n")
    monkeypatch.setenv("REACTIVATION_CRON", " 15 7 * * * ")
    settings = Settings.load()
    assert settings.scheduled_time == (7, 15)
    assert settings.reactivation_timezone == "Asia/Omsk"


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "")
    monkeypatch.setenv("REACTIVATION_DAILY_LIMIT", "")
    settings = Settings.load()
    assert settings.database_url is None
    assert settings.reactivation_daily_limit is None


def test_the_lake_lies_in_the_home_unless_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert Settings.load().lake_root == str(tmp_path / ".reactivation" / "lake")
    monkeypatch.setenv("REACTIVATION_LAKE", "s3://bucket/lake")
    assert Settings.load().lake_root == "s3://bucket/lake"
