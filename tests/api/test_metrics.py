"""What Prometheus reads: true numbers in its format, without a key, and nothing personal."""

import re

from reactivation_resources.embedded.servers import ServerUrls
from tests.api.salons import CLIENT_PHONE, message
from tests.api.test_service import api_over

LINE = re.compile(r'^reactivation_[a-z_]+(\{[a-z]+="[^"]*"\})? [-+0-9.e]+$')


def read(api) -> dict[str, float]:
    answer = api.http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
    assert all(LINE.match(line) for line in lines), lines
    assert CLIENT_PHONE not in answer.text
    return {name: float(number) for name, number in (line.rsplit(" ", 1) for line in lines)}


def test_what_waits_and_what_came_in_is_counted(api):
    before = read(api)
    assert before['reactivation_campaigns{status="planned"}'] == 2
    assert before['reactivation_campaigns_waiting{due="now"}'] == 2
    assert before["reactivation_campaigns_oldest_due_seconds"] >= 0
    assert before["reactivation_inbox_waiting"] == 0
    api.deliver(message("Да"))
    api.deliver(message("стоп"))
    after = read(api)
    assert after['reactivation_inbox_events{kind="message"}'] == 2
    assert after["reactivation_inbox_waiting"] == 2
    assert after['reactivation_campaigns{status="cancelled"}'] == 1


def test_why_numbers_may_not_send_is_told(api):
    api.rows("INSERT INTO reactivation_settings (company_id, enabled) VALUES (101, true), (202, true) RETURNING 1")
    assert read(api)['reactivation_accounts{refusal="no_consent_basis"}'] == 2
    api.rows("UPDATE companies SET consent_basis = 'signed' RETURNING 1")
    numbers = read(api)
    assert numbers['reactivation_accounts{refusal="risk_not_accepted"}'] == 1  # the one in Russia
    assert numbers['reactivation_accounts{refusal="none"}'] == 1


def test_who_wrote_what_and_what_it_cost_is_counted(api):
    api.rows(
        """UPDATE reactivation_campaigns SET text_source = 'template', writing = '{"fallback": "rejected"}' RETURNING 1"""
    )
    api.rows(
        "INSERT INTO model_answers (content_hash, purpose, company_id, day, at, model, prompt_version, answers, requests, input_tokens, output_tokens,"
        " cost_micros, latency_ms) VALUES ('a', 'message', 101, CURRENT_DATE, now(), 'm', 'v', 1, 1, 1, 1, 2500, 1) RETURNING 1"
    )
    api.rows(
        "INSERT INTO model_rejections (content_hash, company_id, day, at, rule, found, answer)"
        " VALUES ('a', 101, CURRENT_DATE, now(), 'price', '', '') RETURNING 1"
    )
    numbers = read(api)
    assert numbers['reactivation_messages_written{source="template"}'] == 2
    assert numbers['reactivation_messages_fallbacks{reason="rejected"}'] == 2
    assert numbers['reactivation_model_rejections{rule="price"}'] == 1
    assert numbers["reactivation_model_dollars"] == 0.0025


def test_without_the_database_no_number_is_made_up(tmp_path, redis_url):
    away = ServerUrls("postgresql+psycopg://someone:secret@127.0.0.1:9/db", redis_url)
    with api_over(tmp_path, away) as api:
        assert api.http.get("/metrics").status_code == 503
