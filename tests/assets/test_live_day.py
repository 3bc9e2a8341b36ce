"""A live day in a small town, through the real jobs: what is planned, offered, written and sent."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

import dagster as dg
import httpx
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from reactivation_cli.run_day import day_report
from reactivation_cli.simulation import Simulation, open_simulation
from reactivation_core.contracts import CONTRACTS, validate
from tests.assets.town_world import (
    DAILY,
    DAY,
    START,
    TOWN,
    World,
    fingerprints,
    frame,
    open_salons,
    restored_environment,
    rows,
)

HOT_GAP = timedelta(seconds=30)
HOT_HOURLY = 20
CAMPAIGNS = "SELECT * FROM reactivation_campaigns ORDER BY campaign_id"


@dataclass(frozen=True)
class LivedDay:
    """The day from its plan until the last window closed."""

    simulation: Simulation
    result: dg.ExecuteInProcessResult
    planned: "Planned"

    def frame(self, asset: str) -> pl.DataFrame:
        return frame(self.simulation.platform.lake, asset)


@dataclass(frozen=True)
class Planned:
    """What the frames and the town said in the morning."""

    bytes: dict[str, str]
    slots: pl.DataFrame
    texts: pl.DataFrame
    open_slots: set[tuple[int, int, int, datetime]]


def open_slots(simulation: Simulation, slots: pl.DataFrame) -> set[tuple[int, int, int, datetime]]:
    """What the town's own booking page offers for the services, people and days of `slots`."""
    town, found = simulation.town, set()
    with httpx.Client(
        base_url=town.yclients_url,
        headers={"Authorization": f"Bearer {town.partner}", "Accept": "application/vnd.yclients.v2+json"},
        trust_env=False,
    ) as http:
        for company, service, staff, day in (
            slots.select("company_id", "service_id", "staff_id", "local_day").unique().iter_rows()
        ):
            answer = http.get(f"book_times/{company}/{staff}/{day.isoformat()}", params={"service_ids[]": service})
            found |= {
                (company, service, staff, datetime.fromisoformat(slot["datetime"])) for slot in answer.json()["data"]
            }
    return found


@pytest.fixture(scope="module")
def lived(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivedDay]:
    """`open_simulation` as the commands use it, with a town of its own."""
    with world.empty_database_url() as url, restored_environment():
        settings = world.settings(url, tmp_path_factory.mktemp("lived"))
        with open_simulation(settings, START, **TOWN) as simulation:
            open_salons(simulation)
            result = simulation.launcher.run("daily_campaigns", partition=DAY.isoformat())
            lake = simulation.platform.lake
            slots = frame(lake, "ranked_slots")
            texts = frame(lake, "generated_messages")
            planned = Planned(fingerprints(lake), slots, texts, open_slots(simulation, slots))
            simulation.live_until(simulation.closing_time(DAY))
            simulation.close_day(DAY)
            yield LivedDay(simulation, result, planned)


@pytest.mark.slow
def test_every_frame_of_the_day_keeps_its_contract(lived: LivedDay) -> None:
    for asset in (*DAILY, "client_responses"):
        assert validate(CONTRACTS[asset], lived.frame(asset)).height > 0, asset


@pytest.mark.slow
def test_every_eligible_client_is_planned_held_out_or_deferred_and_nobody_else(lived: LivedDay) -> None:
    keys = ["company_id", "client_id"]
    inactive, plan = lived.frame("inactive_clients"), lived.frame("campaign_plan")
    eligible = inactive.filter(pl.col("decision") == "eligible")
    assert sorted(plan.select(keys).rows()) == sorted(eligible.select(keys).rows())
    assert set(plan["company_id"]) == {int(company) for company in lived.simulation.town.sessions}
    decisions = Counter(plan["decision"])
    assert decisions["planned"] > 20
    assert decisions["held_out"] > 0


@pytest.mark.slow
def test_nobody_who_has_opted_out_refused_mailings_or_booked_is_planned(lived: LivedDay) -> None:
    database = lived.simulation.platform.database
    spared = rows(
        database,
        "SELECT company_id, client_id FROM clients c WHERE mailing_refused OR blacklisted OR phone IS NULL"
        " OR EXISTS (SELECT FROM record_lines r WHERE (r.company_id, r.client_id) = (c.company_id, c.client_id)"
        "            AND NOT r.deleted AND r.status IN ('booked', 'confirmed') AND r.starts_at > :start)",
        start=START,
    )
    planned = set(lived.frame("campaign_plan").select("company_id", "client_id").rows())
    assert len(spared) > 5
    assert not planned & {(row["company_id"], row["client_id"]) for row in spared}


@pytest.mark.slow
def test_every_offered_slot_was_open_in_the_town_and_lies_in_the_coming_week(lived: LivedDay) -> None:
    slots = lived.planned.slots
    offered = set(slots.select("company_id", "service_id", "staff_id", "starts_at").rows())
    assert len(offered) > 20
    assert offered <= lived.planned.open_slots
    assert slots.filter(~pl.col("local_day").is_between(DAY + timedelta(days=1), DAY + timedelta(days=7))).is_empty()
    planned = set(lived.frame("campaign_plan").filter(pl.col("decision") == "planned")["client_id"])
    assert set(slots["client_id"]) <= planned


@pytest.mark.slow
def test_what_was_sent_stays_inside_the_limits_the_window_and_one_message_per_client(lived: LivedDay) -> None:
    messages = lived.simulation.town.messages()
    views = lived.simulation.platform.campaign_log.sent(DAY)
    assert len(messages) == views["sent_at"].count() > 20
    assert max(Counter((message["session"], message["chatId"]) for message in messages).values()) == 1
    closing = lived.simulation.closing_time(DAY)
    for session in lived.simulation.town.sessions.values():
        times = sorted(datetime.fromisoformat(one["at"]) for one in messages if one["session"] == session)
        assert times
        assert START <= times[0] <= times[-1] < closing
        assert all(later - earlier >= HOT_GAP for earlier, later in pairwise(times))
        assert all(sum(at <= one < at + timedelta(hours=1) for one in times) <= HOT_HOURLY for at in times)


@pytest.mark.slow
def test_each_message_greets_its_client_by_name_and_holds_no_placeholder(lived: LivedDay) -> None:
    clients = rows(
        lived.simulation.platform.database, "SELECT company_id, phone, name FROM clients WHERE phone IS NOT NULL"
    )
    sessions = {session: int(company) for company, session in lived.simulation.town.sessions.items()}
    for message in lived.simulation.town.messages():
        chat = (sessions[message["session"]], f"+{message['chatId'].removesuffix('@c.us')}")
        # phones are shared, and the salons write names as they like
        names = {
            word.title() for row in clients if (row["company_id"], row["phone"]) == chat for word in row["name"].split()
        }
        assert any(name in message["text"] for name in names), (names, message["text"])
        assert "{" not in message["text"]


@pytest.mark.slow
def test_every_materialization_shows_rows_columns_and_a_picture_and_never_a_name_or_a_phone(lived: LivedDay) -> None:
    database = lived.simulation.platform.database
    phones = [row["phone"] for row in rows(database, "SELECT phone FROM clients WHERE phone IS NOT NULL")]
    for asset in DAILY:
        (event,) = lived.result.asset_materializations_for_node(asset)
        metadata = event.metadata
        assert metadata["dagster/row_count"].value > 0, asset
        columns = {column.name for column in metadata["dagster/column_schema"].value.columns}
        assert columns == set(CONTRACTS[asset].columns), asset
        assert "data:image/png;base64," in metadata["picture"].value, asset
        words = " ".join(str(value.value) for name, value in metadata.items() if name != "picture")
        assert not [phone for phone in phones if phone[1:] in words], asset


@pytest.mark.slow
def test_every_check_was_evaluated_and_holds(lived: LivedDay) -> None:
    evaluations = lived.result.get_asset_check_evaluations()
    checked = {evaluation.asset_key.to_user_string() for evaluation in evaluations}
    assert checked == set(DAILY)
    assert [e.check_name for e in evaluations if not e.passed] == []
    assert sum(evaluation.check_name == "contract" for evaluation in evaluations) == len(DAILY)


@pytest.mark.slow
def test_after_the_sends_the_day_run_again_says_the_same(lived: LivedDay) -> None:
    simulation = lived.simulation
    before = rows(simulation.platform.database, "SELECT campaign_id, status FROM reactivation_campaigns ORDER BY 1")
    sent = simulation.town.messages()
    simulation.launcher.run("daily_campaigns", partition=DAY.isoformat())
    now = fingerprints(simulation.platform.lake)
    for asset in ("inactive_clients", "campaign_plan", "preference_profiles"):
        assert now[asset] == lived.planned.bytes[asset], asset
    # Slots that were taken before the send were replaced by spares, and the text with them: the frames say what was really offered.
    keys, slot = ["company_id", "client_id"], ["company_id", "client_id", "staff_id", "starts_at"]
    planned, offered = lived.planned.slots, lived.frame("ranked_slots")
    assert set(offered.select(slot).rows()) <= set(planned.select(slot).rows())
    same = planned.group_by(keys).len().join(offered.group_by(keys).len(), on=[*keys, "len"])
    assert same.height > 20
    assert_frame_equal(*(frame.join(same, on=keys, how="semi") for frame in (planned, offered)))
    assert_frame_equal(
        *(frame.join(same, on=keys, how="semi") for frame in (lived.planned.texts, lived.frame("generated_messages")))
    )
    assert simulation.town.messages() == sent
    assert (
        rows(simulation.platform.database, "SELECT campaign_id, status FROM reactivation_campaigns ORDER BY 1")
        == before
    )


@pytest.mark.slow
def test_the_report_counts_what_the_frames_hold(lived: LivedDay) -> None:
    lake = lived.simulation.platform.lake
    report = day_report(lake, DAY, None, live=True)
    plan = Counter(lived.frame("campaign_plan")["decision"])
    assert (report.planned, report.held_out, report.analysis_only) == (plan["planned"], plan["held_out"], False)
    assert report.due == report.eligible + sum(report.excluded.values())
    assert report.sent == len(lived.simulation.town.messages())
    single = [day_report(lake, DAY, int(company), live=True) for company in lived.simulation.town.sessions]
    assert sum(one.planned for one in single) == report.planned


@pytest.mark.slow
def test_the_same_morning_run_twice_writes_the_same_bytes_and_no_second_campaign(simulation: Simulation) -> None:
    lake = simulation.platform.lake
    simulation.launcher.run("daily_campaigns", partition=DAY.isoformat())
    first, campaigns = fingerprints(lake), rows(simulation.platform.database, CAMPAIGNS)
    simulation.launcher.run("daily_campaigns", partition=DAY.isoformat())
    assert fingerprints(lake) == first
    assert rows(simulation.platform.database, CAMPAIGNS) == campaigns
    assert len(campaigns) == frame(lake, "campaign_plan")["campaign_id"].count()


@pytest.mark.slow
def test_the_morning_after_a_day_without_sends_says_the_same_twice_and_plans_everyone_anew(
    simulation: Simulation,
) -> None:
    """What expired overnight is known to be over before anyone is detected, not only to the second run."""
    lake, after = simulation.platform.lake, DAY + timedelta(days=1)
    simulation.town.fail("/api/sendText", status=503, count=10_000)
    simulation.launcher.run("daily_campaigns", partition=DAY.isoformat())
    simulation.advance_to(START + timedelta(days=1))
    simulation.launcher.run("daily_campaigns", partition=after.isoformat())
    first = fingerprints(lake, day=after)
    simulation.launcher.run("daily_campaigns", partition=after.isoformat())
    assert fingerprints(lake, day=after) == first
    decided = "decision IN ('planned', 'held_out')"
    before, anew = (
        set(frame(lake, "campaign_plan", day).filter(pl.sql_expr(decided)).select("company_id", "client_id").rows())
        for day in (DAY, after)
    )
    held_out = frame(lake, "campaign_plan").filter(pl.col("decision") == "held_out").select("company_id", "client_id")
    assert len(before & anew) > 10
    assert not set(held_out.rows()) & anew  # they have had their would-be message and wait like everyone else
