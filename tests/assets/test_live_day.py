"""A live day in a small town, through the real jobs: what is planned, offered, written and sent."""

from sqlalchemy import text

from reactivation_cli.simulation import Simulation
from tests.assets.town_world import DAY, PLANNING, fingerprints, frame


def run_day(simulation: Simulation) -> None:
    simulation.launcher.run("daily_campaigns", partition=DAY.isoformat())


def test_the_same_morning_run_twice_writes_the_same_bytes_and_no_second_campaign(simulation: Simulation) -> None:
    lake = simulation.platform.lake
    run_day(simulation)
    first, plan = fingerprints(lake), frame(lake, "campaign_plan")
    run_day(simulation)
    assert fingerprints(lake) == first
    assert plan.filter(plan["decision"] == "planned").height > 10
    with simulation.platform.database.begin() as connection:
        campaigns = connection.execute(text("SELECT count(*) FROM reactivation_campaigns")).scalar_one()
    assert campaigns == plan["campaign_id"].count()
