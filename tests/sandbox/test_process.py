import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psutil
import pytest

from reactivation_sandbox.process import Town, running_town


def gone(pid: int, within_s: float = 20.0) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


def test_the_clock_moves_only_when_told_and_never_back(town: Town) -> None:
    start = town.clock()
    assert start == datetime(2026, 11, 1, tzinfo=UTC)
    town.set_clock(start + timedelta(hours=3))
    assert town.clock() == start + timedelta(hours=3)
    back = town.http.post("/_town/clock", json={"now": start.isoformat()})
    assert back.status_code == 409
    assert town.http.post("/_town/clock", json={"now": "2026-11-02T00:00:00"}).status_code == 400


def test_truth_names_who_would_have_come_anyway(town: Town) -> None:
    headers = {"X-Api-Key": town.api_key}
    for number in range(1, 60):
        body = {
            "session": "company_101",
            "chatId": f"790000{number:05d}@c.us",
            "text": "Записать вас на завтра в 12:00?",
        }
        town.http.post("/api/sendText", json=body, headers=headers).raise_for_status()
    town.set_clock(town.clock() + timedelta(days=8))
    truth = town.truth()
    summary = truth["summary"]
    assert summary["sent"] == 59
    assert 0 < summary["caused"] <= summary["booked_because"] < summary["read"] <= 59
    assert summary["would_have_booked"] == sum(m["would_have_booked"] for m in truth["messages"])
    assert {"rhythm_days", "staff_id", "returns_at"} <= set(truth["clients"][0])
    assert town.journal(after=datetime(2026, 11, 2, tzinfo=UTC))[0]["at"] >= "2026-11-02"


def test_resetting_begins_the_same_town_again(town: Town) -> None:
    before = town.journal()
    town.set_clock(town.clock() + timedelta(days=3))
    town.reset()
    assert town.journal() == before
    assert town.calls() == {"counts": {}, "log": []}


def test_the_ready_file_is_private_and_the_server_listens_on_loopback_only() -> None:
    with running_town(salons=1, clients=5) as town:
        assert town.url.startswith("http://127.0.0.1:")
        addresses = {c.laddr.ip for c in psutil.Process(town.pid).net_connections("tcp") if c.status == "LISTEN"}
        assert addresses == {"127.0.0.1"}
        pid = town.pid
        assert httpx.get(f"{town.url}/healthz", trust_env=False).json()["status"] == "ok"
    assert gone(pid)


def test_a_town_that_cannot_begin_says_why() -> None:
    with pytest.raises(RuntimeError, match="instant without a time zone"), running_town(now="2026-11-01T00:00:00"):
        pass


@pytest.mark.slow
def test_the_town_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    parent_code = f"""
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "-m", "reactivation_sandbox.server", "--salons=1", "--clients=5",
                  "--ready-file", {str(ready)!r}, "--parent-pid", str(os.getpid())])
time.sleep(60)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", parent_code], env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    try:
        deadline = time.monotonic() + 30
        while not ready.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert ready.stat().st_mode & 0o077 == 0
        pid = json.loads(ready.read_text())["pid"]
    finally:
        parent.kill()
        parent.wait()
    assert gone(pid)
