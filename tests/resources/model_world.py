"""A model to write with: the town's, and the terms on which it is asked."""

from decimal import Decimal
from typing import Any

from reactivation_resources.gemini.client import GeminiAccess
from reactivation_resources.message_writing import ModelTerms
from reactivation_resources.model_ledger import Budget, Prices
from reactivation_sandbox.process import Town

MODEL = "gemini-3.5-flash-lite"
PRICES = Prices(Decimal("0.30"), Decimal("2.50"))
RATES = {"RUB": Decimal(90), "USD": Decimal(1)}


def access_to(town: Town, **changes: Any) -> GeminiAccess:
    """How the town's model is asked."""
    return GeminiAccess(**{"api_key": town.gemini_key, "model": MODEL, "base_url": town.gemini_url, **changes})


def terms_of(town: Town, total: int = 10**9, company: int = 10**9, **access: Any) -> ModelTerms:
    """Terms with a budget in millionths of a dollar."""
    return ModelTerms(access_to(town, **access), PRICES, Budget(total, company), RATES)
