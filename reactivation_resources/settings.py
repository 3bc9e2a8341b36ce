"""Configuration: one typed class, environment first, `.env` second. Every variable is listed in the README."""

import os
import re
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, DotEnvSettingsSource, SettingsConfigDict

_OWN_PREFIX = "REACTIVATION_"
_SECRET = re.compile(r"(^|_)(KEY|TOKEN|URL|SECRET|PASSWORD|PROXY)(_|$)")  # names whose values are not shown
_DAILY_CRON = re.compile(r"^(\d{1,2}) (\d{1,2}) \* \* \*$")


class SettingsError(ValueError):
    """A variable is unknown or malformed; the message names it."""


class Settings(BaseSettings):
    """The whole configuration. Field names are the variables' names in lower case."""

    model_config = SettingsConfigDict(
        env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True, validate_default=True
    )

    reactivation_enabled: bool = Field(
        default=True, description="off: the daily schedule and the sensors request nothing"
    )
    reactivation_cron: str = Field(default="0 10 * * *", description="minute and hour of the daily run: `M H * * *`")
    reactivation_timezone: str = Field(default="Europe/Moscow", description="the platform's IANA zone: cuts the days")
    reactivation_first_day: date = Field(default=date(2018, 1, 1), description="first daily partition")
    reactivation_home: Path = Field(default=Path(".reactivation"), description="embedded servers, Dagster home, lake")
    reactivation_lake: str | None = Field(default=None, description="folder or object-store URL of the lake")
    reactivation_holdout_salt: str = Field(default="reactivation", description="changes who is held out")
    reactivation_daily_limit: int | None = Field(
        default=None, ge=0, description="platform-wide cap per account and 24 h"
    )
    reactivation_hourly_limit: int | None = Field(
        default=None, ge=0, description="platform-wide cap per account and hour"
    )
    reactivation_shards: int = Field(default=1, ge=1, le=1000, description="sending runs that share the companies")
    reactivation_min_conversion_rate: float = Field(default=0.10, ge=0, le=1, description="below it a check warns")
    reactivation_debug: bool = Field(default=False, description="verbose logs")
    reactivation_ui_port: int = Field(default=3000, ge=1, le=65535, description="Dagster UI of `reactivation up`")
    reactivation_api_port: int = Field(default=8700, ge=1, le=65535, description="HTTP API of `reactivation up`")

    database_url: SecretStr | None = Field(default=None, description="PostgreSQL 14+; unset: embedded")
    redis_url: SecretStr | None = Field(default=None, description="Redis or Valkey; unset: embedded")

    yclients_base_url: str = Field(default="https://api.yclients.com/api/v1", description="the CRM's REST API")
    yclients_partner_token: SecretStr | None = Field(default=None, description="partner token")
    yclients_user_token: SecretStr | None = Field(default=None, description="user token")
    yclients_partner_id: str | None = Field(default=None, description="partner id, for keys that need `X-Partner-Id`")
    yclients_proxy: SecretStr | None = Field(default=None, description="HTTP or SOCKS5 proxy to the CRM")
    yclients_webhook_secret: SecretStr | None = Field(
        default=None, description="last part of the CRM's webhook address; unset: no such webhook"
    )
    yclients_slot_calls: int = Field(default=6000, ge=0, description="calls a campaign day may spend on free slots")

    reactivation_texts: Path | None = Field(
        default=None, description="folder whose ru.txt and en.txt replace our texts"
    )
    gemini_api_key: SecretStr | None = Field(default=None, description="Gemini; unset: messages come from templates")
    gemini_model: str = Field(default="gemini-3.5-flash-lite", description="model that writes; no experimental one")
    gemini_base_url: str = Field(default="https://generativelanguage.googleapis.com", description="the model's API")
    socks_proxy: SecretStr | None = Field(default=None, description="HTTP or SOCKS5 proxy to the model")
    gemini_concurrency: int = Field(default=32, ge=1, le=512, description="questions to the model at a time")
    gemini_requests_per_minute: int = Field(default=2000, ge=0, description="of all processes together; 0: no limit")
    gemini_tokens_per_minute: int = Field(default=3_000_000, ge=0, description="of all processes together; 0: no limit")
    gemini_daily_budget: Decimal = Field(default=Decimal(20), ge=0, description="dollars a day for all companies")
    gemini_company_daily_budget: Decimal = Field(
        default=Decimal("0.5"), ge=0, description="dollars a day for one company"
    )
    gemini_input_price: Decimal = Field(
        default=Decimal("0.30"), ge=0, description="dollars a million tokens of questions"
    )
    gemini_output_price: Decimal = Field(
        default=Decimal("2.50"), ge=0, description="dollars a million tokens of answers"
    )
    gemini_exchange_rates: str = Field(
        default="USD=1 RUB=90 EUR=0.9 KZT=510 BYN=3.2 UZS=12500 KGS=87 GEL=2.7 AMD=390 UAH=42",
        description="units of a currency for a dollar: a message's cost is told in its company's currency",
    )

    waha_base_url: str | None = Field(default=None, description="WAHA HTTP API; unset: no channel, nothing is sent")
    waha_api_key: SecretStr | None = Field(default=None, description="key for WAHA's `X-Api-Key`")
    waha_webhook_key: SecretStr | None = Field(default=None, description="HMAC key of WAHA's webhooks")

    whatsapp_base_url: str = Field(default="https://graph.facebook.com/v26.0", description="Graph API with its version")
    whatsapp_access_token: SecretStr | None = Field(
        default=None, description="system user token of the WhatsApp Cloud API; unset: no such channel"
    )
    whatsapp_app_secret: SecretStr | None = Field(default=None, description="signs the Cloud API's webhooks")
    whatsapp_verify_token: SecretStr | None = Field(default=None, description="answers the webhook's first request")
    whatsapp_marketing_messages: bool = Field(default=False, description="send templates by the Marketing Messages API")

    reactivation_alert_telegram_token: SecretStr | None = Field(default=None, description="bot that tells of alerts")
    reactivation_alert_telegram_chat: str | None = Field(default=None, description="chat it tells them in")
    reactivation_alert_telegram_url: str = Field(default="https://api.telegram.org", description="Telegram's Bot API")

    @classmethod
    def load(cls, **overrides: object) -> Self:
        """Read the environment and `.env`; raise SettingsError naming the first wrong variable and its value."""
        known = {name.upper() for name in cls.model_fields}
        named = {name.upper() for name in (*os.environ, *DotEnvSettingsSource(cls).env_vars)}
        unknown = sorted(name for name in named if name.startswith(_OWN_PREFIX) and name not in known)
        if unknown:
            raise SettingsError(f"unknown variable {unknown[0]}: see the list of variables in the README")
        try:
            return cls(**overrides)  # type: ignore[arg-type]
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]).upper() if first["loc"] else "settings"
            value = "***" if _SECRET.search(name) else first["input"]
            raise SettingsError(f"{name}={value!r}: {first['msg']}") from None

    @field_validator("reactivation_timezone")
    @classmethod
    def _zone_exists(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("not an IANA time zone, e.g. Europe/Moscow") from None
        return name

    @field_validator("reactivation_cron")
    @classmethod
    def _cron_is_daily(cls, cron: str) -> str:
        match = _DAILY_CRON.match(cron.strip())
        if not match or int(match[1]) > 59 or int(match[2]) > 23:
            raise ValueError("must be a daily time of the form `M H * * *`, e.g. `0 10 * * *`")
        return cron.strip()

    @field_validator("database_url")
    @classmethod
    def _postgres_with_driver(cls, url: SecretStr | None) -> SecretStr | None:
        """Name our driver in the URL: a bare `postgresql://` means another one to every library."""
        if url is None:
            return None
        scheme, _, rest = url.get_secret_value().partition("://")
        if scheme.split("+")[0] not in {"postgresql", "postgres"} or not rest:
            raise ValueError("must start with postgresql://")
        return SecretStr(f"postgresql+psycopg://{rest}")

    @field_validator("redis_url")
    @classmethod
    def _redis_address(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not re.match(r"(rediss?|unix)://.", url.get_secret_value()):
            raise ValueError("must start with redis://, rediss:// or unix://")
        return url

    @field_validator("yclients_proxy", "socks_proxy")
    @classmethod
    def _proxy_address(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not re.match(r"(https?|socks5h?)://[^/]", url.get_secret_value()):
            raise ValueError("must start with http://, https://, socks5:// or socks5h:// and name a host")
        return url

    @field_validator("gemini_model")
    @classmethod
    def _steady_model(cls, name: str) -> str:
        if not re.fullmatch(r"[a-z0-9][a-z0-9.\-]{2,63}", name):
            raise ValueError("must be a model's code, e.g. gemini-3.5-flash-lite")
        if re.search(r"(^|-)(exp|experimental|preview|latest)(-|$)", name):
            raise ValueError(
                "must be a stable model: experimental, preview and latest ones change under a running salon"
            )
        return name

    @field_validator("gemini_exchange_rates")
    @classmethod
    def _rates(cls, said: str) -> str:
        _exchange_rates(said)
        return said

    @field_validator("yclients_webhook_secret")
    @classmethod
    def _webhook_secret(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and not re.fullmatch(r"[A-Za-z0-9._~-]{16,}", secret.get_secret_value()):
            raise ValueError("must be at least 16 letters, digits or . _ ~ -: it is a part of an address")
        return secret

    @field_validator(
        "yclients_base_url", "waha_base_url", "whatsapp_base_url", "reactivation_alert_telegram_url", "gemini_base_url"
    )
    @classmethod
    def _web_address(cls, url: str | None) -> str | None:
        if url is not None and not re.match(r"https?://[^/]", url):
            raise ValueError("must start with http:// or https:// and name a host")
        return url

    @property
    def scheduled_time(self) -> tuple[int, int]:
        """Hour and minute of the daily run in the platform's zone."""
        minute, hour, *_ = self.reactivation_cron.split()
        return int(hour), int(minute)

    @property
    def exchange_rates(self) -> dict[str, Decimal]:
        """Units of a currency for a dollar, by the currency's code."""
        return _exchange_rates(self.gemini_exchange_rates)

    @property
    def home(self) -> Path:
        """The absolute home folder."""
        return self.reactivation_home.expanduser().resolve()

    @property
    def lake_root(self) -> str:
        """Where the lake lives: `REACTIVATION_LAKE` or a folder in the home."""
        return self.reactivation_lake or str(self.home / "lake")


def _exchange_rates(said: str) -> dict[str, Decimal]:
    rates: dict[str, Decimal] = {}
    for pair in said.split():
        code, _, rate = pair.partition("=")
        try:
            rates[code] = Decimal(rate)
        except InvalidOperation:
            raise ValueError(f"{pair!r} must be CODE=RATE, e.g. RUB=90") from None
        if not re.fullmatch(r"[A-Z]{3}", code) or not rates[code].is_finite() or rates[code] <= 0:
            raise ValueError(f"{pair!r} must be CODE=RATE, e.g. RUB=90")
    return rates
