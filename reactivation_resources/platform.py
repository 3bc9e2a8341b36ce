"""All doors of the outside world for one process, opened on first use and closed together.

What to add here: a door. What to keep out: behaviour. Dagster's runs, the HTTP service, the CLI and the tests open it the same way and
differ in settings and clock only.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

from pydantic import SecretStr

from reactivation_resources.analytics import Analytics
from reactivation_resources.calendar import Calendar
from reactivation_resources.campaign_log import CampaignLog
from reactivation_resources.channels.base import Channel
from reactivation_resources.channels.waha import Waha
from reactivation_resources.channels.whatsapp_cloud import WhatsAppCloud
from reactivation_resources.channels.whatsapp_templates import WhatsAppTemplates
from reactivation_resources.clock import Clock, SystemClock, is_loopback, refuse_outside_world
from reactivation_resources.context_sync import ContextSync
from reactivation_resources.database.engine import Database
from reactivation_resources.dialog_context import DialogContextWriter
from reactivation_resources.embedded.servers import ServerUrls, running_servers
from reactivation_resources.gemini.client import GeminiAccess
from reactivation_resources.inbox import Inbox
from reactivation_resources.interval_suggestions import IntervalSuggestions
from reactivation_resources.known_numbers import KnownNumbers
from reactivation_resources.lake import Lake
from reactivation_resources.message_books import books_of
from reactivation_resources.message_writing import MessageWriter, ModelTerms
from reactivation_resources.mirror import Mirror
from reactivation_resources.model_ledger import Budget, Prices
from reactivation_resources.outbox import Outbox
from reactivation_resources.rate_limit import PUBLISHED_LIMITS, RateLimiter
from reactivation_resources.sending_checks import Caps
from reactivation_resources.settings import Settings
from reactivation_resources.slot_refresh import SlotRefresher
from reactivation_resources.telegram import Telegram
from reactivation_resources.yclients.client import YClients
from reactivation_resources.yclients.door import Crm


class Platform:
    """The doors. `urls` are those of servers that run; `only_company` confines planning to one company."""

    def __init__(self, settings: Settings, clock: Clock, urls: ServerUrls, only_company: int | None = None) -> None:
        cloud = settings.whatsapp_base_url if settings.whatsapp_access_token is not None else None
        told = (
            settings.reactivation_alert_telegram_url if settings.reactivation_alert_telegram_token is not None else None
        )
        refuse_outside_world(
            clock,
            {
                "YCLIENTS_BASE_URL": settings.yclients_base_url,
                "WAHA_BASE_URL": settings.waha_base_url,
                "WHATSAPP_BASE_URL": cloud,
                "REACTIVATION_ALERT_TELEGRAM_URL": told,
                "GEMINI_BASE_URL": settings.gemini_base_url if settings.gemini_api_key is not None else None,
            },
        )
        self.settings = settings
        self.clock = clock
        self.urls = urls
        self.only_company = only_company
        self.calendar = Calendar(settings, clock)
        self.lake = Lake(settings.lake_root)

    @cached_property
    def database(self) -> Database:
        """PostgreSQL."""
        return Database(self.urls.database_url)

    @cached_property
    def mirror(self) -> Mirror:
        """What the CRM says, as frames."""
        return Mirror(self.database, self.lake)

    @cached_property
    def campaign_log(self) -> CampaignLog:
        """What was planned, offered, written and sent."""
        return CampaignLog(self.database)

    @cached_property
    def analytics(self) -> Analytics:
        """The metrics of the lake."""
        return Analytics(self.lake.root)

    @cached_property
    def inbox(self) -> Inbox:
        """What channels tell us."""
        return Inbox(self.database)

    @cached_property
    def dialog_context(self) -> DialogContextWriter:
        """What the salon's chat bot needs to know."""
        return DialogContextWriter(self.urls.redis_url)

    @cached_property
    def context_sync(self) -> ContextSync:
        """Keeps the bot's context in step."""
        return ContextSync(self.database, self.dialog_context)

    @property
    def caps(self) -> Caps:
        """The platform's own limits of every account."""
        return Caps(self.settings.reactivation_daily_limit, self.settings.reactivation_hourly_limit)

    @property
    def outbox(self) -> Outbox:
        """What is to be sent, at most once each."""
        return self.outbox_of(None)

    def outbox_of(self, shard: tuple[int, int] | None) -> Outbox:
        """The outbox of a share of the companies: (number, of how many), None for all."""
        return Outbox(
            self.database,
            self.clock,
            caps=self.caps,
            refresh_slots=self.slot_refresher,
            templated=frozenset(name for name, one in self.channels.items() if not one.capabilities.free_text),
            on_sent=lambda campaigns: self.context_sync.after_send(campaigns, self.clock.now()),
            shard=shard,
        )

    @cached_property
    def slot_refresher(self) -> SlotRefresher:
        """Looks at offered slots once more before a send; what the CRM told serves all campaigns for a while."""
        return SlotRefresher(self.database, self.crm, self.clock)

    @cached_property
    def crm(self) -> Crm:
        """The booking CRM. A simulated one answers for imported salons too, and does not count calls."""
        settings = self.settings
        limits = () if is_loopback(settings.yclients_base_url) else PUBLISHED_LIMITS

        def open_client() -> YClients:
            return YClients(
                settings.yclients_base_url,
                _secret(settings.yclients_partner_token),
                _secret(settings.yclients_user_token),
                RateLimiter("yclients", limits, self.urls.redis_url or None),
                partner_id=settings.yclients_partner_id,
                proxy=_secret(settings.yclients_proxy),
            )

        return Crm(
            open_client,
            base_url=settings.yclients_base_url,
            configured=settings.yclients_partner_token is not None,
            sources=frozenset({"yclients", "import"} if self.clock.simulated else {"yclients"}),
        )

    @cached_property
    def message_writer(self) -> MessageWriter:
        """Writes the messages of planned campaigns."""
        return MessageWriter(
            self.database, self.model_terms, self.urls.redis_url or None, books_of(self.settings.reactivation_texts)
        )

    @cached_property
    def interval_suggestions(self) -> IntervalSuggestions | None:
        """Asks the model about services whose history is short; None without a key."""
        terms = self.model_terms
        if terms is None:
            return None
        return IntervalSuggestions(self.database, self.calendar, terms, self.urls.redis_url or None)

    @property
    def model_terms(self) -> ModelTerms | None:
        """The model that writes and what it may cost; None without a key."""
        settings = self.settings
        key = _secret(settings.gemini_api_key)
        if key is None:
            return None
        access = GeminiAccess(
            key,
            settings.gemini_model,
            settings.gemini_base_url,
            _secret(settings.socks_proxy),
            concurrency=settings.gemini_concurrency,
            requests_per_minute=settings.gemini_requests_per_minute,
            tokens_per_minute=settings.gemini_tokens_per_minute,
        )
        prices = Prices(settings.gemini_input_price, settings.gemini_output_price)
        budget = Budget.dollars(settings.gemini_daily_budget, settings.gemini_company_daily_budget)
        return ModelTerms(access, prices, budget, settings.exchange_rates)

    @cached_property
    def telegram(self) -> Telegram | None:
        """Tells people of alerts; None when nobody is to be told."""
        settings = self.settings
        token, chat = _secret(settings.reactivation_alert_telegram_token), settings.reactivation_alert_telegram_chat
        return Telegram(settings.reactivation_alert_telegram_url, token, chat) if token and chat else None

    @cached_property
    def whatsapp_templates(self) -> WhatsAppTemplates | None:
        """The templates at WhatsApp's Cloud API; None when that is not configured."""
        token = _secret(self.settings.whatsapp_access_token)
        return WhatsAppTemplates(self.settings.whatsapp_base_url, token) if token is not None else None

    @cached_property
    def channels(self) -> dict[str, Channel]:
        """Configured channels by name; without one, nothing can be sent."""
        settings = self.settings
        found: list[Channel] = []
        if settings.waha_base_url is not None:
            key, webhook_key = _secret(settings.waha_api_key), _secret(settings.waha_webhook_key)
            numbers = KnownNumbers(self.database, self.clock)
            found.append(Waha(settings.waha_base_url, key, webhook_key, numbers=numbers))
        if (token := _secret(settings.whatsapp_access_token)) is not None:
            found.append(
                WhatsAppCloud(
                    settings.whatsapp_base_url,
                    token,
                    _secret(settings.whatsapp_app_secret),
                    _secret(settings.whatsapp_verify_token),
                    marketing_messages=settings.whatsapp_marketing_messages,
                )
            )
        return {channel.name: channel for channel in found}

    def close(self) -> None:
        """Close what has been opened."""
        opened = self.__dict__
        if "crm" in opened:
            self.crm.close()
        for name in ("telegram", "whatsapp_templates"):
            if opened.get(name) is not None:
                opened[name].close()
        for channel in self.channels.values() if "channels" in opened else ():
            channel.close()
        if "database" in opened:
            self.database.close()


@contextmanager
def open_platform(
    settings: Settings, clock: Clock | None = None, only_company: int | None = None
) -> Iterator[Platform]:
    """Have servers running (embedded where no URL is set) and the doors at hand while the block runs."""
    with servers_for(settings) as urls:
        platform = Platform(settings, clock or SystemClock(), urls, only_company)
        try:
            yield platform
        finally:
            platform.close()


@contextmanager
def servers_for(settings: Settings) -> Iterator[ServerUrls]:
    """The configured servers' URLs; embedded ones run under the home where none is configured."""
    database_url, redis_url = _secret(settings.database_url), _secret(settings.redis_url)
    with running_servers(settings.home, postgres=database_url is None, valkey=redis_url is None) as embedded:
        yield ServerUrls(database_url or embedded.database_url, redis_url or embedded.redis_url)


def _secret(value: SecretStr | None) -> str | None:
    return value.get_secret_value() if value is not None else None
