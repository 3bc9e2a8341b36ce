"""A change that the CRM tells of: from its webhook through the HTTP service, the sensor and the job to the mirror, and what it stops."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import httpx
import pytest
from pydantic import SecretStr

from reactivation_api.server import running_api
from reactivation_assets.build import build_defs
from reactivation_cli.simulation import Simulation, simulation_in
from reactivation_resources.crm_hints import sync_hinted, waiting_hints
from reactivation_resources.dispatch import dispatch_due
from reactivation_resources.platform import Platform
from tests.assets.town_world import DAY, START, World, restored_environment, rows

SECRET = "an-invented-secret-of-a-webhook"
SECOND = timedelta(seconds=1)
pytestmark = pytest.mark.slow


@dataclass
class Salon:
    """A platform with the CRM's webhook open, in a town; Dagster's instance keeps nothing."""

    simulation: Simulation
    instance: dg.DagsterInstance
    webhook: str

    @property
    def platform(self) -> Platform:
        return self.simulation.platform

    @property
    def company(self) -> int:
        return min(int(company) for company in self.simulation.town.sessions)

    def tell(self, *said: Any) -> dict[str, int]:
        """Post to the webhook, as the CRM does."""
        answer = httpx.post(self.webhook, json=said[0] if len(said) == 1 else list(said), trust_env=False)
        assert answer.status_code == 200, answer.text
        found: dict[str, int] = answer.json()["data"]
        return found

    def tick(self, platform: Platform | None = None) -> Any:
        """Let the sensor look."""
        platform = platform or self.platform
        repository = definitions(platform).get_repository_def()
        with dg.build_sensor_context(
            instance=self.instance, repository_def=repository, resources={"platform": platform}
        ) as context:
            return repository.get_sensor_def("crm_hints_sensor").evaluate_tick(context)

    def run(self, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        """Do what the sensor asked for."""
        job = definitions(self.platform).resolve_job_def("refresh_hinted")
        return job.execute_in_process(instance=self.instance, run_config=request.run_config)

    def pass_time(self, step: timedelta) -> None:
        self.simulation.advance_to(self.simulation.clock.now() + step)

    def rows(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        return rows(self.platform.database, query, **parameters)

    def calls(self, part: str) -> int:
        """How often the CRM was asked for something."""
        counts: dict[str, int] = self.simulation.town.calls()["counts"]
        return sum(count for route, count in counts.items() if part in route)


def definitions(platform: Platform) -> dg.Definitions:
    return build_defs(resources={"platform": dg.ResourceDefinition.hardcoded_resource(platform)})


@pytest.fixture
def salon(world: World, tmp_path: Path) -> Iterator[Salon]:
    """The morning of the day; the town begun again."""
    world.town.reset()
    as_documented = world.town.variants()
    with (
        world.database_url() as url,
        restored_environment(),
        simulation_in(world.town, with_webhook(world, url, tmp_path), START) as simulation,
        running_api(simulation.platform) as service,
        dg.DagsterInstance.ephemeral() as instance,
    ):
        yield Salon(simulation, instance, f"{service}/api/reactivation/webhooks/yclients/{SECRET}")
        world.town.set_crm_webhook(None)
        world.town.variants(**as_documented)


def with_webhook(world: World, url: str, home: Path) -> Any:
    return world.settings(url, home).model_copy(update={"yclients_webhook_secret": SecretStr(SECRET)})


def event(
    company: int, resource: str = "record", resource_id: int = 5, status: str = "update", **data: Any
) -> dict[str, Any]:
    return {"company_id": company, "resource": resource, "resource_id": resource_id, "status": status, "data": data}


def callback(company: int, event: str) -> dict[str, Any]:
    return {"salon_id": company, "application_id": 7, "event": event, "partner_token": "a-partner-token"}


def book(salon: Salon, campaign: dict[str, Any]) -> int:
    """The desk books the client of a campaign for the week after; the record's id. The town tells of it."""
    query = "SELECT min(staff_id) AS staff FROM staff WHERE company_id = :company AND active"
    [row] = salon.rows(query, company=campaign["company_id"])
    [done] = salon.simulation.town.edit(
        {
            "op": "create_record", "company_id": campaign["company_id"], "client_id": campaign["client_id"],
            "service_ids": [campaign["service_id"]], "staff_id": row["staff"], "starts_at": f"{DAY + timedelta(days=8)}T12:00:00",
        }
    )  # fmt: skip
    return int(done["record_id"])


def latest_campaign(salon: Salon) -> dict[str, Any]:
    """The campaign of the first salon that is sent last."""
    query = "SELECT * FROM reactivation_campaigns WHERE status = 'planned' AND company_id = :company ORDER BY send_after DESC LIMIT 1"
    [campaign] = salon.rows(query, company=salon.company)
    return campaign


@pytest.mark.parametrize(
    "manner",
    [
        {},
        {"webhook_copies": 4, "webhook_data": "empty"},
        {"webhook_copies": 4, "webhook_body": "array", "webhook_data": "partial"},
    ],
    ids=["as documented", "four times without data", "in a list in part"],
)
def test_a_booking_the_crm_tells_of_is_in_the_mirror_within_a_minute_and_stops_the_clients_message(
    salon: Salon, manner: dict[str, Any]
) -> None:
    town = salon.simulation.town
    town.variants(**manner)
    town.set_crm_webhook(salon.webhook)
    salon.simulation.launcher.run("daily_campaigns", partition=DAY.isoformat())
    campaign = latest_campaign(salon)
    assert salon.tick().skip_message == "no hint waits"
    record = book(salon, campaign)
    hints = "SELECT message_id, received_at, processed_at, error FROM inbox WHERE kind = 'crm'"
    assert f"record:{record}" in {hint["message_id"] for hint in salon.rows(hints)}

    salon.pass_time(15 * SECOND)
    [request] = salon.tick().run_requests
    assert request.run_config == {"ops": {"crm_mirror": {"config": {"companies": [salon.company]}}}}
    lines = "SELECT client_id, status FROM record_lines WHERE company_id = :company AND record_id = :record"
    assert salon.rows(lines, company=salon.company, record=record) == []
    result = salon.run(request)
    assert all(evaluation.passed for evaluation in result.get_asset_check_evaluations())
    assert salon.rows(lines, company=salon.company, record=record)[0]["client_id"] == campaign["client_id"]
    told = salon.rows(hints)
    assert len(told) == len({hint["message_id"] for hint in told})  # each once, however often it came
    assert all(hint["error"] is None and hint["processed_at"] - START <= timedelta(minutes=1) for hint in told)
    assert salon.tick().skip_message == "no hint waits"

    salon.simulation.live_until(campaign["send_after"] + timedelta(minutes=1))
    [ended] = salon.rows(
        "SELECT status, error FROM reactivation_campaigns WHERE campaign_id = :id", id=campaign["campaign_id"]
    )
    assert (ended["status"], ended["error"]) == ("cancelled", "booked")
    chats = {message["chatId"] for message in town.messages()}
    assert f"{campaign['phone'][1:]}@c.us" not in chats
    assert chats  # others were written to


def test_all_that_is_told_of_a_company_is_one_reading_of_it_and_of_no_other(salon: Salon) -> None:
    other = max(int(company) for company in salon.simulation.town.sessions)
    before = salon.rows("SELECT changed_after FROM companies WHERE company_id = :other", other=other)
    salon.tell(*(event(salon.company, resource_id=number) for number in range(1, 41)))
    salon.pass_time(15 * SECOND)
    reads, catalogue = salon.calls("/records/"), salon.calls("/services")
    [request] = salon.tick().run_requests
    salon.run(request)
    assert salon.calls("/records/") - reads == 1
    assert salon.calls("/services") == catalogue  # nobody spoke of it
    assert salon.rows("SELECT changed_after FROM companies WHERE company_id = :other", other=other) == before
    [row] = salon.rows("SELECT changed_after FROM companies WHERE company_id = :company", company=salon.company)
    assert row["changed_after"] == salon.simulation.clock.now()
    assert salon.rows("SELECT 1 FROM inbox WHERE kind = 'crm' AND processed_at IS NULL") == []


@pytest.mark.parametrize(("resource", "status"), [("service", "update"), ("staff", "create"), ("client", "delete")])
def test_what_is_told_of_services_staff_and_deleted_clients_has_the_catalogue_read(
    salon: Salon, resource: str, status: str
) -> None:
    salon.tell(event(salon.company, resource, status=status))
    catalogue = salon.calls("/services")
    [request] = salon.tick().run_requests
    salon.run(request)
    assert salon.calls("/services") > catalogue


def test_a_company_that_fails_keeps_its_hints_and_is_asked_for_less_and_less_often(salon: Salon) -> None:
    salon.tell(event(salon.company))
    salon.simulation.town.fail(f"/api/v1/records/{salon.company}", status=404, count=1000, kind="status")
    asked = []
    for _ in range(240):  # an hour of ticks, each of which does what it asks for
        if requests := salon.tick().run_requests:
            asked.append(salon.simulation.clock.now() - START)
            salon.run(requests[0])
        salon.pass_time(15 * SECOND)
    assert [at.total_seconds() for at in asked] == [0, 30, 90, 210, 450, 930, 1890]
    [hint] = salon.rows("SELECT processed_at, error FROM inbox WHERE kind = 'crm'")
    assert hint["processed_at"] is None
    assert "404" in hint["error"]
    salon.tell(event(salon.company, resource_id=6))  # whatever else comes in
    assert salon.tick().run_requests == []
    salon.simulation.town.heal()
    salon.simulation.launcher.run("mirror_crm")  # the hourly mirror settles what waits
    assert salon.rows("SELECT 1 FROM inbox WHERE kind = 'crm' AND processed_at IS NULL") == []


def test_a_hint_that_comes_while_its_company_is_read_waits_for_the_next_reading(salon: Salon) -> None:
    platform, told = salon.platform, event(salon.company)
    salon.tell(told)
    assert salon.tell(told) == {"new": 0, "duplicates": 1}

    def meanwhile(_company: int, _share: float) -> None:
        assert salon.tell(told) == {"new": 1, "duplicates": 0}  # it says the same, but it may mean something newer

    report = sync_hinted(platform.database, platform.crm, platform.clock, companies=[salon.company], progress=meanwhile)
    assert report.failed == {}
    assert waiting_hints(platform.database, platform.clock.now()) == [salon.company]
    sync_hinted(platform.database, platform.crm, platform.clock)
    assert waiting_hints(platform.database, platform.clock.now()) == []


def test_while_a_reading_is_under_way_no_other_is_asked_for(salon: Salon) -> None:
    salon.tell(event(salon.company))
    run = dg.DagsterRun(job_name="refresh_hinted", run_id=str(uuid4()), status=dg.DagsterRunStatus.STARTED)
    salon.instance.add_run(run)
    assert salon.tick().skip_message == "what the CRM told of is being read"


def test_without_a_token_nothing_is_asked_for(salon: Salon) -> None:
    salon.tell(event(salon.company))
    without = salon.platform.settings.model_copy(update={"yclients_partner_token": None})
    unable = Platform(without, salon.platform.clock, salon.platform.urls)
    assert salon.tick(unable).skip_message == "no hint waits"
    unable.close()


@pytest.mark.parametrize(("told", "status"), [("uninstall", "uninstalled"), ("freeze", "suspended")])
def test_a_stopped_company_sends_nothing_more_and_is_not_read_until_it_has_paid(
    salon: Salon, told: str, status: str
) -> None:
    salon.simulation.launcher.run("daily_campaigns", partition=DAY.isoformat())
    platform, planned = salon.platform, latest_campaign(salon)
    session = salon.simulation.town.sessions[str(salon.company)]
    salon.tell(callback(salon.company, told))
    assert salon.rows("SELECT crm_status FROM companies WHERE company_id = :company", company=salon.company) == [
        {"crm_status": status}
    ]
    reads = salon.calls("/records/")
    sync_hinted(platform.database, platform.crm, platform.clock)
    assert salon.calls("/records/") - reads == 1  # the other salon
    salon.simulation.live_until(planned["send_after"] + timedelta(minutes=1))
    assert not [message for message in salon.simulation.town.messages() if message["session"] == session]
    assert [message for message in salon.simulation.town.messages() if message["session"] != session]

    salon.tell(callback(salon.company, "payment"))
    dispatch_due(platform.outbox, platform.channels, "test")
    back = [message for message in salon.simulation.town.messages() if message["session"] == session]
    assert bool(back) == (told == "freeze")
    assert waiting_hints(platform.database, platform.clock.now()) == ([salon.company] if told == "freeze" else [])
