"""An explanation on the screen: tables on standard output. Only here the client's name and texts are shown."""

from datetime import date, datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from reactivation_cli.explanation import CampaignHistory, Explanation
from reactivation_resources.log_masking import mask_text

_LOYALTY = {1: "New", 2: "Bronze", 3: "Silver", 4: "Gold", 5: "VIP"}
_MINOR_UNITS = 100


def print_explanation(explanation: Explanation, console: Console | None = None) -> None:
    """Print it for a person: the verdict first, then everything behind it in the order in which it was decided."""
    screen = console or Console(highlight=False)
    one = explanation
    screen.print(
        f"[bold]{escape(one.name or 'no name')}[/bold], client {one.client_id} of {escape(one.company)} ({one.company_id})"
    )
    screen.print(f"phone {one.phone or 'none'}; {one.day.isoformat()} as of {_cell(one.as_of)} {one.timezone}")
    screen.print(f"\n[bold]{escape(one.verdict)}[/bold]\n")
    _past(one, screen)
    _rules(one, screen)
    _checks(one, screen)
    _plan(one, screen)
    for campaign in one.campaigns:
        _campaign(campaign, one, screen)
    if one.replies:
        table = Table("at", "type", "intent", "read by", "words", title="Replies")
        for reply in one.replies:
            words = mask_text(reply.words_of_client or "")
            _row(table, reply.received_at, reply.response_type, reply.intent, reply.layer, words)
        screen.print(table)


def _past(one: Explanation, screen: Console) -> None:
    past = one.past
    spent = f"{past.spent_minor / _MINOR_UNITS:,.2f} {past.currency}"
    table = Table(
        "visits",
        "first",
        "last",
        "days since",
        "spent",
        "loyalty",
        "segment",
        "next record",
        title="Known at that time",
    )
    loyalty = _LOYALTY.get(past.loyalty, past.loyalty)
    segment = past.segment or "only due clients have one"
    _row(
        table,
        past.visits,
        past.first_visit,
        past.last_visit,
        past.days_since_any,
        spent,
        loyalty,
        segment,
        past.upcoming_at,
    )
    screen.print(table)


def _rules(one: Explanation, screen: Console) -> None:
    table = Table(
        "service",
        "visits",
        "last",
        "days",
        "interval",
        "gaps",
        "own",
        "rhythm",
        "factor",
        "due after",
        "",
        title="Rules",
    )
    for rule in one.rules:
        interval = f"{rule.interval_days} {rule.interval_source}"
        numbers = (
            rule.days_since,
            interval,
            rule.gaps,
            rule.own_days,
            rule.rhythm_days,
            rule.personal_factor,
            rule.due_after,
        )
        _row(table, f"{rule.service} ({rule.service_id})", rule.visits, rule.last_visit, *numbers, rule.words)
    if one.rules:
        screen.print(table)
    else:
        screen.print("The salon has no rules, so nobody is ever due.\n")
    if one.chosen is not None:
        screen.print(f"Chosen: {escape(one.chosen.service)}, {escape(one.chosen.why)}.\n")


def _checks(one: Explanation, screen: Console) -> None:
    if one.checks:
        table = Table("", "check", "because", title="Exclusions, in order; the first that applies decides")
        for check in one.checks:
            table.add_row(
                "[red]applies[/red]" if check.applies else "[green]passed[/green]", check.reason, escape(check.words)
            )
        screen.print(table)
    found = one.decision
    words = f"Decision: {found.decision}" + (f" ({found.reason})" if found.reason else "")
    if found.priority is not None:
        words += f"; priority {found.priority:.4f}, place {found.rank} of {found.due_clients} due clients"
    if found.rank_eligible is not None:
        words += f", {found.rank_eligible} of {found.eligible_clients} eligible"
    screen.print(f"{escape(words)}; {escape(one.materialized)}.\n")


def _plan(one: Explanation, screen: Console) -> None:
    screen.print(f"Plan: {escape(one.plan_words)}.")
    if one.plan is not None:
        plan = one.plan
        screen.print(
            f"Episode {plan.episode_no}, attempt {plan.attempt_number}, discount {plan.discount_percent} %, {plan.lane} lane."
        )
    account = one.account
    if account is None:
        screen.print("The salon has no sending number.\n")
        return
    table = Table(
        "number",
        "level",
        "a day",
        "an hour",
        "gap s",
        "cold lane",
        "spam score",
        "sent 24 h",
        "hours",
        "stands against it",
        title="Limits",
    )
    cold = str(account.cold_quota) if account.cold_open else "off"
    numbers = (
        account.level,
        account.daily,
        account.hourly,
        account.min_gap_s,
        cold,
        account.spam_score,
        account.sent_24h,
    )
    _row(table, f"{account.channel} {account.account_id}", *numbers, account.window, account.refusal or "nothing")
    screen.print(table)


def _campaign(campaign: CampaignHistory, one: Explanation, screen: Console) -> None:
    title = f"Campaign of {campaign.day.isoformat()}: episode {campaign.episode_no}, attempt {campaign.attempt_number}, {campaign.status}"
    ended = f", episode ended: {campaign.completion_reason}" if campaign.completion_reason else ""
    table = Table("at", "event", "status", "detail", title=title + ended)
    for event in campaign.events:
        detail = ", ".join(f"{name}: {value}" for name, value in event.detail.items())
        _row(table, event.at, event.event, event.status, mask_text(detail))
    screen.print(table)
    if campaign.next_attempt_at is not None:
        screen.print(f"next attempt from {_cell(campaign.next_attempt_at)} {one.timezone}")
    if campaign.message_text:
        screen.print(f"[italic]{escape(campaign.message_text)}[/italic]\n")


def _row(table: Table, *values: Any) -> None:
    table.add_row(*(escape(_cell(value)) for value in values))


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, date):
        return value.isoformat()
    return f"{value:g}" if isinstance(value, float) else str(value)
