"""`reactivation explain`: why a client was or was not contacted on a day.

The rules are asked again with what was known at the day's instant (`reactivation_core`), over the client's whole company because ranks and
shared phones depend on the others; plan, messages and replies are read back. What to keep out: rules, and how it looks (explain_screen.py).
"""

from collections.abc import Callable
from dataclasses import fields, replace
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from reactivation_assets.detection import inactivity_inputs
from reactivation_cli.explain_checks import describe_checks
from reactivation_cli.explain_history import campaigns_of, limits_of, plan_of, replies_of
from reactivation_cli.explain_screen import print_explanation
from reactivation_cli.explanation import Check, Choice, Decision, Explanation, Past, PlanRow, RuleFinding
from reactivation_core.exclusions import exclusion_flags
from reactivation_core.inactivity import (
    InactivityInputs,
    LoyaltyThresholds,
    detect_inactive,
    due_clients,
    evaluate_rules,
)
from reactivation_core.local_time import local_date
from reactivation_core.phones import mask_phone
from reactivation_core.visits import read_book
from reactivation_resources.platform import Platform

__all__ = ["explain", "print_explanation"]

_EPOCH = date(1970, 1, 1)
_NAMED_COMPANIES = 20


def explain(platform: Platform, company: int, client: int, day: date) -> Explanation:
    """Everything that decided about `client` of `company` on `day`.

    Raises LookupError for a company or client that is not known, ValueError for a day that has not begun.
    """
    platform.calendar.is_live(day)
    as_of = platform.calendar.as_of(day)
    inputs = _of_company(inactivity_inputs(platform, as_of), company)
    # The day's own campaigns carry its instant; they follow from the decision and must not count for it.
    before = inputs.campaigns.lazy().filter(pl.col("planned_at") < as_of).collect()
    inputs = replace(inputs, campaigns=before)
    setting = inputs.companies.lazy().collect().row(0, named=True)
    card = _card(inputs, client)
    zone = ZoneInfo(setting["timezone"])

    due = due_clients(inputs, as_of)
    mine = due.filter(pl.col("client_id") == client)
    chosen = mine.row(0, named=True) if mine.height else None
    rules = _rules(inputs, client, as_of)
    checks: tuple[Check, ...] = ()
    if chosen is not None:
        checks = describe_checks(inputs, exclusion_flags(inputs, due, as_of), client, as_of)
    decision = _decision(detect_inactive(inputs, as_of), client)
    plan, plan_words = plan_of(platform, company, client, day, decision.decision, zone)
    past = _past(inputs, client, as_of, zone, chosen["segment"] if chosen else None)
    return Explanation(
        company_id=company,
        company=setting["title"],
        timezone=setting["timezone"],
        client_id=client,
        name=card["name"],
        phone=mask_phone(card["phone"]),
        day=day,
        as_of=as_of.astimezone(zone),
        verdict=_verdict(decision, checks, plan, deleted=card["deleted"], visits=past.visits),
        past=past,
        rules=rules,
        chosen=_choice(inputs, rules, chosen["service_id"]) if chosen else None,
        checks=checks,
        decision=decision,
        materialized=_materialized(platform, company, client, day, decision),
        plan=plan,
        plan_words=plan_words,
        account=limits_of(platform, company, as_of),
        campaigns=campaigns_of(platform, company, client, day, zone),
        replies=replies_of(platform, company, client, zone),
    )


def _of_company(inputs: InactivityInputs, company: int) -> InactivityInputs:
    """The inputs of one company. Raises LookupError when it is not known."""
    known = inputs.companies.lazy().select("company_id").collect()["company_id"].sort().to_list()
    if company not in known:
        listed = ", ".join(map(str, known[:_NAMED_COMPANIES])) + (", …" if len(known) > _NAMED_COMPANIES else "")
        there = f"known are {listed}" if known else "none is known yet"
        raise LookupError(
            f"company {company} is not known ({there}): load it with `reactivation import`, or let the CRM's mirror read it"
        )
    return InactivityInputs(
        **{
            field.name: getattr(inputs, field.name).lazy().filter(pl.col("company_id") == company).collect()
            for field in fields(inputs)
        }
    )


def _card(inputs: InactivityInputs, client: int) -> dict[str, Any]:
    found = inputs.clients.lazy().filter(pl.col("client_id") == client).collect()
    if found.is_empty():
        raise LookupError(
            f"client {client} is not known in this company: take the id from the CRM or the imported clients table;"
            " a client added today is known after the next import or mirror run"
        )
    return found.row(0, named=True)


def _past(inputs: InactivityInputs, client: int, as_of: datetime, zone: ZoneInfo, segment: str | None) -> Past:
    own = _of_client(inputs, client)
    lines = read_book(own.companies, own.clients, own.records, own.rules, as_of).lines.lazy()
    visits = lines.filter(pl.col("upcoming").is_null())
    row = (
        visits.select(
            pl.col("day").n_unique().alias("visits"),
            pl.col("day").min().alias("first"),
            pl.col("day").max().alias("last"),
            pl.col("price").sum().cast(pl.Int64).alias("spent_minor"),
        )
        .with_columns(LoyaltyThresholds().loyalty().alias("loyalty"))
        .collect()
        .row(0, named=True)
    )
    upcoming = lines.select(pl.from_epoch(pl.col("upcoming").min(), time_unit="us")).collect().item()
    last = None if row["last"] is None else _EPOCH + timedelta(days=row["last"])
    return Past(
        visits=row["visits"],
        first_visit=None if row["first"] is None else _EPOCH + timedelta(days=row["first"]),
        last_visit=last,
        days_since_any=None if last is None else (local_date(as_of, zone) - last).days,
        spent_minor=row["spent_minor"],
        currency=own.companies.lazy().select("currency").collect().item(),
        loyalty=row["loyalty"],
        segment=segment,
        upcoming_at=None if upcoming is None else upcoming.replace(tzinfo=as_of.tzinfo).astimezone(zone),
    )


def _of_client(inputs: InactivityInputs, client: int) -> InactivityInputs:
    """The inputs with this client's records only: all that the client's own numbers rest on."""
    return replace(inputs, records=inputs.records.lazy().filter(pl.col("client_id") == client))


def _rules(inputs: InactivityInputs, client: int, as_of: datetime) -> tuple[RuleFinding, ...]:
    """What every rule of the company says, the due ones first."""
    numbers = evaluate_rules(_of_client(inputs, client), as_of).filter(pl.col("client_id") == client)
    titles = inputs.services.lazy().select("service_id", "title")
    factor = inputs.companies.lazy().select(pl.col("personal_factor").cast(pl.Float64)).collect().item()
    rows = (
        inputs.rules.lazy()
        .select("service_id", "interval_days", "interval_source", "active")
        .join(titles, on="service_id", how="left")
        .join(numbers.lazy().drop("company_id", "client_id", "interval_days"), on="service_id", how="left")
        .with_columns(pl.col("due").fill_null(value=False), pl.col("service_visits").fill_null(0))
        .sort("due", "service_visits", "service_id", descending=[True, True, False])
        .collect()
    )
    return tuple(
        RuleFinding(
            service_id=row["service_id"],
            service=row["title"] or f"service {row['service_id']}",
            active=row["active"],
            interval_days=row["interval_days"],
            interval_source=row["interval_source"],
            visits=row["service_visits"],
            last_visit=row["last_visit"],
            days_since=row["days_since"],
            gaps=row["gaps"],
            own_days=row["own_days"],
            rhythm_days=row["rhythm_days"],
            personal_factor=factor,
            due_after=row["due_after"],
            due=row["due"],
            words=_rule_words(row),
        )
        for row in rows.iter_rows(named=True)
    )


def _rule_words(row: dict[str, object]) -> str:
    if not row["active"]:
        return "not due: the rule is off"
    if row["due_after"] is None:
        return "not due: never came for it"
    because = "interval" if row["due_after"] == row["interval_days"] else "own rhythm"
    if row["due"]:
        return f"due: {row['days_since']} days > {row['due_after']} ({because})"
    return f"not due: {row['days_since']} days, due after {row['due_after']} ({because})"


def _choice(inputs: InactivityInputs, rules: tuple[RuleFinding, ...], service: int) -> Choice:
    """The chosen service beside the other due ones: the first measure on which it is ahead of all that are left."""
    services = inputs.services.lazy().select("service_id", "list_price_minor").collect()
    prices = {row[0]: row[1] or 0 for row in services.iter_rows()}
    taken = next(rule for rule in rules if rule.service_id == service)
    rivals = [rule for rule in rules if rule.due and rule is not taken]
    measures: dict[str, Callable[[RuleFinding], float]] = {
        "most visits": lambda rule: rule.visits,
        "most overdue for its threshold": lambda rule: (rule.days_since or 0) / (rule.due_after or 1),
        "highest list price": lambda rule: prices.get(rule.service_id, 0),
    }
    why = "the lowest id among equals" if rivals else "the only due service"
    for name, measure in measures.items():
        level = [rule for rule in rivals if measure(rule) >= measure(taken)]
        if rivals and not level:
            best = max(measure(rule) for rule in rivals)
            why = f"{name} of the due services: {measure(taken):g}, the next has {best:g}"
            break
        rivals = level
    return Choice(service, taken.service, taken.days_since or 0, taken.due_after or 0, why)


def _decision(detected: pl.DataFrame, client: int) -> Decision:
    due = detected.with_row_index("place", offset=1)
    eligible = due.filter(pl.col("decision") == "eligible").with_row_index("place_eligible", offset=1)
    rows = due.join(eligible.select("client_id", "place_eligible"), on="client_id", how="left")
    mine = rows.filter(pl.col("client_id") == client)
    if mine.is_empty():
        return Decision("not_due", "", due_clients=due.height, eligible_clients=eligible.height)
    row = mine.row(0, named=True)
    return Decision(
        row["decision"],
        row["reason"],
        row["priority"],
        row["place"],
        due.height,
        row["place_eligible"],
        eligible.height,
    )


def _materialized(platform: Platform, company: int, client: int, day: date, decision: Decision) -> str:
    """What the day's run wrote about the client, where it differs from what is found now."""
    if not platform.lake.exists("inactive_clients", day):
        return "the day has not been materialized"
    row = (
        platform.lake.scan("inactive_clients", day)
        .filter(pl.col("company_id") == company, pl.col("client_id") == client)
        .select("decision", "reason")
        .collect()
    )
    then = row.row(0) if row.height else ("not_due", "")
    if then == (decision.decision, decision.reason):
        return "the day's run found the same"
    found = then[0] + (f" ({then[1]})" if then[1] else "")
    return f"the day's run found {found}: data for that day arrived or changed after it"


def _verdict(decision: Decision, checks: tuple[Check, ...], plan: PlanRow | None, *, deleted: bool, visits: int) -> str:
    if decision.decision == "not_due":
        if deleted:
            return "Not due: the client's card is deleted in the CRM."
        return "Not due by any rule." if visits else "Not due: no attended visit is known."
    if decision.decision == "excluded":
        words = next(check.words for check in checks if check.reason == decision.reason)
        return f"Due, but excluded: {decision.reason} ({words})."
    place = f"Due and eligible, place {decision.rank_eligible} of {decision.eligible_clients}"
    return f"{place}; {plan.words}." if plan is not None else f"{place}; not in the day's plan."
