"""The demo's last page: what was sent, what came of it, what it earned, and whether the estimate met the truth."""

from datetime import date
from decimal import Decimal

import polars as pl
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from sqlalchemy import text

from reactivation_cli.simulation import Simulation
from reactivation_core.metrics import CampaignReport, campaign_report, lift_counts, measured_lift
from reactivation_core.statistics import Rate
from reactivation_resources.platform import Platform

EXAMPLES = 3


def print_report(simulation: Simulation, first: date, last: date) -> None:
    """Print the report on standard output."""
    platform = simulation.platform
    console = Console()
    days = pl.date_range(first, last, eager=True).to_list()
    facts = platform.lake.scan_days("conversions", days)
    responses = platform.lake.scan_days("client_responses", days)
    if facts is None or responses is None:
        console.print("nothing was measured")
        return
    conversions, replies = facts.collect(), responses.collect()
    companies = platform.mirror.snapshot("companies").select("company_id", "title", "currency").collect()
    whole = campaign_report(conversions, replies, "")
    console.rule(f"[bold]Client reactivation, {first} to {last}")
    console.print(_funnel(whole))
    console.print(_rates(whole))
    console.print(_money(conversions, replies, companies))
    console.print(_lift(simulation, conversions))
    console.print(_writing(platform))
    for panel in _examples(platform):
        console.print(panel)
    console.print(_where_next(platform))


def _funnel(report: CampaignReport) -> Table:
    table = Table("step", "messages", "of all sent", "", title="Funnel", title_justify="left")
    sent = max(report.funnel["sent"], 1)
    for step, count in report.funnel.items():
        table.add_row(step, f"{count:,}", f"{count / sent:.1%}", "█" * round(30 * count / sent))
    return table


def _rates(report: CampaignReport) -> Table:
    table = Table("measure", "value", "95 % interval", "goal", title="Key figures", title_justify="left")
    rows: tuple[tuple[str, Rate, str], ...] = (
        ("bookings per message", report.conversion, "15-20 %"),
        ("replies per message", report.response, "30-40 %"),
        ("opt-outs per message", report.opt_out, "under 5 %"),
        ("bookings attended", report.attendance, ""),
    )
    for name, rate, goal in rows:
        value = "-" if rate.value is None else f"{rate.value:.1%}"
        interval = "" if rate.value is None else f"{rate.interval.low:.1%} to {rate.interval.high:.1%}"
        table.add_row(name, value, interval, goal)
    table.add_row("time to reply, average", _hours(report.reply.average_minutes), "", "under 24 h")
    table.add_row("time to reply, median", _hours(report.reply.median_minutes), "", "")
    table.add_row("time to booking, average", _hours(report.booking.average_minutes), "", "")
    for row in report.by_attempt:
        value = "-" if row.conversion.value is None else f"{row.conversion.value:.1%}"
        interval = f"{row.conversion.interval.low:.1%} to {row.conversion.interval.high:.1%}"
        table.add_row(f"bookings per message, attempt {row.key}", value, interval, f"{row.sent:,} sent")
    if report.unsettled:
        table.caption = (
            f"{report.unsettled:,} messages are younger than two weeks: they may still gain a booking or a visit"
        )
    return table


def _money(conversions: pl.DataFrame, replies: pl.DataFrame, companies: pl.DataFrame) -> Table:
    table = Table(
        "salon",
        "sent",
        "attended",
        "revenue",
        "cost with discounts",
        "ROI",
        "incremental revenue",
        title="Revenue",
        title_justify="left",
    )
    for company, title, currency in companies.sort("company_id").iter_rows():
        own = conversions.filter(pl.col("company_id") == company)
        if own.is_empty():
            continue
        report = campaign_report(own, replies, currency)
        money = report.revenue
        table.add_row(
            title,
            f"{report.funnel['sent']:,}",
            f"{report.funnel['attended']:,}",
            _amount(money.revenue_minor, currency),
            _amount(money.cost_minor, currency),
            "-" if money.roi is None else f"{money.roi:.1f}",
            "nobody held out"
            if money.incremental_revenue_minor is None
            else _amount(money.incremental_revenue_minor, currency),
        )
    return table


def _lift(simulation: Simulation, conversions: pl.DataFrame) -> Panel:
    lift = measured_lift(lift_counts(conversions))
    summary = simulation.town.truth()["summary"]
    truth = (
        f"The town knows better: of {summary['sent']:,} messages {summary['booked_because']:,} led to a booking, and"
        f" {summary['caused']:,} of those clients would not have booked within the week by themselves."
    )
    return Panel(f"{lift.words}\n{truth}", title="Messaged against held out", title_align="left")


def _writing(platform: Platform) -> Panel:
    """Who wrote the messages, and what it took."""
    query = text(
        "SELECT count(*) FILTER (WHERE text_source = 'gemini') AS model, count(*) FILTER (WHERE text_source = 'template') AS people,"
        " coalesce(sum((writing->>'cost_micros')::bigint), 0) / 1000000.0 AS dollars, count(DISTINCT text_template) AS wordings"
        " FROM reactivation_campaigns WHERE message_text IS NOT NULL"
    )
    with platform.database.begin() as connection:
        row = connection.execute(query).one()
    words = (
        f"{row.model:,} by the town's model, {row.people:,} from texts of people, {row.wordings:,} different wordings;"
        f" at the prices set it would have cost {row.dollars:.2f} dollars.\n"
        "It learned no name, phone, spend or date: [bold]reactivation messages --sample[/bold] shows what people wrote."
    )
    return Panel(words, title="Messages", title_align="left")


def _examples(platform: Platform) -> list[Panel]:
    """A few messages with the replies they got. The people are invented."""
    query = text(
        "SELECT c.stage, c.days_since, c.intent, i.body, c.message_text FROM reactivation_campaigns c"
        " JOIN client_responses r USING (campaign_id) JOIN inbox i ON i.inbox_id = r.inbox_id"
        " WHERE c.stage IS NOT NULL AND c.intent NOT IN ('unclear') ORDER BY c.intent, c.campaign_id"
    )
    with platform.database.begin() as connection:
        rows = connection.execute(query).all()
    chosen = {row.intent: row for row in rows}
    wanted = [
        chosen[intent]
        for intent in ("choose_slot", "confirm", "opt_out", "pause_until", "decline_now")
        if intent in chosen
    ]
    return [
        Panel(
            f"{escape(row.message_text)}\n[dim]the client:[/dim] {escape(row.body)}\n[dim]understood as:[/dim] {row.intent}",
            title=f"{row.stage}, {row.days_since} days",
            title_align="left",
        )
        for row in wanted[:EXAMPLES]
    ]


def _where_next(platform: Platform) -> Panel:
    with platform.database.begin() as connection:
        row = connection.execute(
            text(
                "SELECT company_id, client_id, day FROM reactivation_campaigns WHERE responded_at IS NOT NULL ORDER BY campaign_id LIMIT 1"
            )
        ).one_or_none()
    lines = ["[bold]reactivation up --demo[/bold]   Dagster's UI over these days, and the HTTP API"]
    if row is not None:
        lines.append(
            f"[bold]reactivation explain --demo --company {row.company_id} --client {row.client_id} --day {row.day}[/bold]"
            "   why this client was written to"
        )
    lines.append("[bold]reactivation import --template book[/bold]   what your own salon's book should look like")
    return Panel("\n".join(lines), title="Where to look next", title_align="left")


def _hours(minutes: float | None) -> str:
    return "-" if minutes is None else f"{minutes / 60:.1f} h"


def _amount(minor: int, currency: str) -> str:
    return f"{Decimal(minor) / 100:,.0f} {currency}"
