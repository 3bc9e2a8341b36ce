"""The service as a whole: health, outages, request ids, logs without phones, an OpenAPI document that is true."""

import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import httpx
import pytest
from sqlalchemy import text

from reactivation_api.app import create_app
from reactivation_api.server import running_api, serve
from reactivation_resources.clock import SystemClock
from reactivation_resources.embedded.servers import ServerUrls
from reactivation_resources.platform import Platform
from reactivation_resources.settings import SettingsError
from tests.api.salons import CLIENT_PHONE, SALON, WAHA_PATH, Api, message, settings_for

INBOX = f"/api/reactivation/inbox/{SALON}"
SECRET = "hunter2"


@contextmanager
def api_over(home: Path, urls: ServerUrls, **overrides: object) -> Iterator[Api]:
    """A service whose servers are where `urls` says."""
    platform = Platform(settings_for(home, **overrides), SystemClock(), urls)
    with running_api(platform) as url, httpx.Client(base_url=url, trust_env=False, timeout=30) as http:
        yield Api(http, create_app(platform).openapi(), platform)
    platform.close()


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nobody listens on while the test runs."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


# ---------------------------------------------------------------- health and outages


def test_a_whole_service_is_alive_and_ready(api):
    assert api.get("/healthz").json() == {"success": True, "data": {"status": "alive"}}
    assert api.get("/readyz").json() == {"success": True, "data": {"status": "ready"}}


def test_without_a_database_the_service_lives_and_the_gateway_is_asked_to_come_again(tmp_path, redis_url, closed_port):
    away = ServerUrls(f"postgresql+psycopg://someone:{SECRET}@127.0.0.1:{closed_port}/db", redis_url)
    with api_over(tmp_path, away) as api:
        assert api.get("/healthz").status_code == 200
        webhook, ready, inbox = api.deliver(message("стоп")), api.get("/readyz"), api.get(INBOX, "rk_any")
    for answer in (webhook, ready, inbox):
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
        assert SECRET not in answer.text
        assert str(closed_port) not in answer.text
    assert ready.json()["error"]["message"] == "PostgreSQL does not answer."
    assert int(webhook.headers["retry-after"]) > 0


def test_a_wrong_signature_is_refused_even_when_the_database_is_away(tmp_path, redis_url, closed_port):
    with api_over(tmp_path, ServerUrls(f"postgresql+psycopg://x:y@127.0.0.1:{closed_port}/db", redis_url)) as api:
        assert api.post(b"{}", "0" * 128).status_code == 401


def test_without_redis_webhooks_still_come_in_and_readiness_names_it(tmp_path, database_url, closed_port):
    with api_over(tmp_path, ServerUrls(database_url, f"redis://:{SECRET}@127.0.0.1:{closed_port}/0")) as api:
        ready = api.get("/readyz")
        assert (ready.status_code, ready.json()["error"]["message"]) == (503, "Redis does not answer.")
        assert SECRET not in ready.text
        assert api.deliver(message("Да")).json()["data"]["new"] == 1


def test_a_schema_that_is_not_this_versions_is_not_ready_and_says_what_to_run(api):
    with api.platform.database.begin() as connection:
        connection.execute(text("UPDATE reactivation_schema SET version_num = '0000'"))
    answer = api.get("/readyz")
    assert answer.status_code == 503
    assert "reactivation migrate" in answer.json()["error"]["message"]


def test_a_channel_that_is_not_configured_has_no_webhook(tmp_path, database_url, redis_url):
    with api_over(tmp_path, ServerUrls(database_url, redis_url), waha_base_url=None) as api:
        assert api.deliver(message("Да")).status_code == 404


# ---------------------------------------------------------------- starting and stopping


@pytest.mark.parametrize("key", [None, ""])
@pytest.mark.parametrize("start", [lambda it: serve(it, "127.0.0.1", 0), lambda it: running_api(it).__enter__()])
def test_an_enabled_channel_without_its_webhook_key_keeps_the_service_from_starting(tmp_path, start, key):
    """No server is asked for anything: the refusal comes first."""
    platform = Platform(
        settings_for(tmp_path, waha_webhook_key=key), SystemClock(), ServerUrls("postgresql+psycopg://", "")
    )
    with pytest.raises(SettingsError, match="WAHA_WEBHOOK_KEY"):
        start(platform)


def test_a_service_that_stopped_leaves_its_port_to_the_next(platform):
    with running_api(platform) as url:
        port = httpx.URL(url).port
        assert port
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/healthz", trust_env=False)
    with running_api(platform, port) as again:
        assert again == url
        assert httpx.get(f"{again}/healthz", trust_env=False).status_code == 200


def test_a_port_that_is_taken_is_an_error_and_not_a_second_service(platform):
    with (
        running_api(platform) as url,
        pytest.raises(OSError, match="in use"),
        running_api(platform, httpx.URL(url).port),
    ):
        pass


SERVE = """
import sys
from reactivation_api.server import serve
from reactivation_resources.clock import SystemClock
from reactivation_resources.embedded.servers import ServerUrls
from reactivation_resources.platform import Platform
from reactivation_resources.settings import Settings
urls = ServerUrls(sys.argv[1], sys.argv[2])
settings = Settings.load(waha_base_url="http://127.0.0.1:9", waha_webhook_key="invented-webhook-key")
serve(Platform(settings, SystemClock(), urls), "127.0.0.1", 0)
"""


@pytest.mark.slow
def test_a_serving_process_logs_masked_and_ends_at_a_signal(platform, tmp_path):
    command = [sys.executable, "-c", SERVE, platform.urls.database_url, platform.urls.redis_url]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("REACTIVATION", "WAHA"))}
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    with (tmp_path / "log").open("w+b") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=tmp_path)
        try:
            base = announced(log, process)
            assert httpx.get(f"{base}/readyz", trust_env=False).status_code == 200
            httpx.get(f"{base}/nothing/{CLIENT_PHONE}?phone={CLIENT_PHONE}", trust_env=False)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)
        written = log_of(log)
    assert "GET /nothing/+7900***0001 -> 404" in written
    assert "9000000001" not in written
    assert "?phone" not in written
    assert platform.urls.database_url not in written
    assert "alembic" not in written  # a probe every few seconds is no news


def log_of(log: BinaryIO) -> str:
    return Path(log.name).read_text()


def announced(log: BinaryIO, process: subprocess.Popen[bytes], patience_s: float = 60) -> str:
    """Where the process says it serves, as soon as it says so."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end and process.poll() is None:
        if found := re.search(r"running on (http://[\d.:]+)", log_of(log)):
            return found[1]
        time.sleep(0.02)
    pytest.fail(f"it does not serve: {log_of(log)}")


# ---------------------------------------------------------------- request ids and logs


def test_every_answer_has_a_request_id_and_a_plain_one_of_the_caller_is_kept(api):
    own = {api.http.get(path).headers["x-request-id"] for path in ("/healthz", "/readyz", "/nothing", INBOX)}
    assert len(own) == 4
    for given, kept in (("trace-1.a_b", True), ("two words", False), ("x" * 65, False), ("%0d%0aInjected: 1", False)):
        answer = api.http.get("/healthz", headers={"X-Request-Id": given})
        assert (answer.headers["x-request-id"] == given) is kept


def test_logs_tell_of_requests_and_failures_without_phones_names_or_texts(api, salon_key, caplog):
    with caplog.at_level(logging.DEBUG):
        api.http.get(INBOX, params={"kind": CLIENT_PHONE}, headers={"Authorization": f"Bearer {salon_key}"})
        api.http.get(f"/clients/{CLIENT_PHONE}%0aforged line")
        with api.platform.database.begin() as connection:
            connection.execute(text("ALTER TABLE inbox RENAME body TO body_away"))
        assert api.deliver(message("Это Анна, мой номер 8 900 000-00-01")).status_code == 500
    server = [record for record in caplog.records if record.name.startswith(("reactivation_api", "uvicorn.error"))]
    written = "\n".join(logging.Formatter().format(record) for record in server)
    assert f"GET {INBOX} -> 422" in written
    assert "GET /clients/+7900***0001%0Aforged%20line -> 404" in written
    assert "UndefinedColumn" in written
    assert "inbox.py" in written  # where it happened
    for secret in (CLIENT_PHONE, "9000000001", "000-00-01", "Анна", "kind=", salon_key):
        assert secret not in written


# ---------------------------------------------------------------- the OpenAPI document


def test_the_openapi_document_needs_a_key_and_is_the_apps(api, salon_key):
    answer = api.get("/api/reactivation/openapi.json", salon_key)
    assert answer.status_code == 200
    assert answer.json() == api.document
    assert answer.json()["openapi"].startswith("3.1")


def test_every_operation_declares_its_errors_in_the_envelope_and_its_security(api):
    by_its_address = "/api/reactivation/webhooks/yclients/{secret}"
    cloud = "/api/reactivation/webhooks/whatsapp/cloud"
    open_to_all = {"/healthz", "/readyz", "/metrics", by_its_address}
    operations = {(path, method): it for path, of in api.document["paths"].items() for method, it in of.items()}
    assert set(api.document["paths"]) == {*open_to_all, WAHA_PATH, cloud, "/api/reactivation/inbox/{company_id}"}
    challenge = operations.pop((cloud, "get"))  # its token is in the query, its answer is plain text
    assert set(challenge["responses"]) == {"200", "403", "404", "500"}
    for (path, _), operation in operations.items():
        assert operation["summary"]
        assert ("security" in operation) is (path not in open_to_all)
        for status, answer in operation["responses"].items():
            if path == "/metrics" and status == "200":
                assert "text/plain" in answer["content"]
                continue
            schema = answer["content"]["application/json"]["schema"]["$ref"]
            assert (schema == "#/components/schemas/Failure") is (status != "200")
        assert ("401" in operation["responses"]) is (path not in open_to_all)
    schemes = api.document["components"]["securitySchemes"]
    assert schemes["ApiKey"]["scheme"] == "bearer"
    assert (schemes["MetaSignature"]["in"], schemes["MetaSignature"]["name"]) == ("header", "X-Hub-Signature-256")
    assert (schemes["WahaSignature"]["in"], schemes["WahaSignature"]["name"]) == ("header", "X-Webhook-Hmac")
    assert "HTTPValidationError" not in api.document["components"]["schemas"]
