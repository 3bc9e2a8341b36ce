"""Check-ups of this machine: configuration, folders, servers, clock, schema, Dagster.

What to add here: something the platform stands on. What to keep out: what it has to do with (doctor_world.py).
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import text

from reactivation_cli.finding import Finding, failure, ok, warning
from reactivation_cli.launcher import dagster_environment, prepare_home
from reactivation_resources.database.engine import MINIMUM_VERSION, pending_revision
from reactivation_resources.lake import Lake
from reactivation_resources.platform import Platform
from reactivation_resources.settings import Settings

_ROOT = Path(__file__).resolve().parents[1]
_GIB = 2**30
_DISK_FAILURE, _DISK_WARNING = 1 * _GIB, 5 * _GIB
_SANE_YEARS = range(2024, 2100)
_SKEW_WARNING_S, _SKEW_FAILURE_S = 2.0, 30.0
_SLOW_IMPORT_S = 10.0
_HEARTBEAT_S = 300
_PROBE_ASSET = "doctor_probe"


def configuration(settings: Settings) -> Iterator[Finding]:
    """Every variable parsed (or there would be no settings); none of ours is unknown; secrets are not for all to read."""
    name = "configuration"
    known = {field.upper() for field in Settings.model_fields}
    dotenv = Path(".env")
    written = _names_in(dotenv) if dotenv.is_file() else set()
    unknown = sorted(one for one in {*os.environ, *written} if one.startswith("REACTIVATION_") and one not in known)
    if unknown:
        advice = "Correct or remove it: nothing reads it. The README lists all variables."
        yield failure(name, f"unknown variable {', '.join(unknown)}", advice)
    elif dotenv.is_file() and dotenv.stat().st_mode & 0o004:
        yield warning(name, ".env may be read by every user of this machine", "chmod 600 .env")
    else:
        yield ok(name, f"{len(settings.model_fields_set)} variables set, the rest by default")
    if not settings.reactivation_enabled:
        yield warning(name, "REACTIVATION_ENABLED is off: nothing is planned or sent", "Set it to true to work again.")


def _names_in(dotenv: Path) -> set[str]:
    from dotenv import dotenv_values

    return {name.upper() for name in dotenv_values(dotenv)}


def home(settings: Settings) -> Iterator[Finding]:
    """The home can be written to and has room."""
    advice = "Set REACTIVATION_HOME to a folder of your own on a disk with room."
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=settings.home, prefix=".doctor-"):
            pass
    except OSError as error:
        yield failure("home", f"{settings.home} cannot be written to: {error.strerror}", advice)
        return
    free = shutil.disk_usage(settings.home).free
    words = f"{settings.home}, {free / _GIB:.1f} GiB free"
    if free < _DISK_FAILURE:
        yield failure("home", words, f"Make room: below 1 GiB the servers may stop. {advice}")
    elif free < _DISK_WARNING:
        yield warning("home", words, "Make room soon: databases and the lake grow here.")
    else:
        yield ok("home", words)


def lake(settings: Settings) -> Iterator[Finding]:
    """A file written to the lake is read back."""
    found = Lake(settings.lake_root)
    frame = pl.DataFrame({"at": [datetime.now(UTC)]})
    try:
        found.write(_PROBE_ASSET, frame)
        same = found.scan(_PROBE_ASSET).collect().equals(frame)
    except (OSError, pl.exceptions.PolarsError) as error:
        advice = "Set REACTIVATION_LAKE to a folder or an object-store URL that may be written to, and its credentials."
        yield failure("lake", f"{found.root} cannot be written to: {type(error).__name__}", advice)
        return
    finally:
        if "://" not in found.root:
            shutil.rmtree(Path(found.root) / _PROBE_ASSET, ignore_errors=True)
    if same:
        yield ok("lake", found.root)
    else:
        yield failure("lake", f"{found.root} gave back something else than was written", "Look at the storage itself.")


def postgres_server(platform: Platform) -> Iterator[Finding]:
    """PostgreSQL answers and is new enough."""
    with platform.database.begin() as connection:
        query = "SELECT current_setting('server_version_num')::int, current_setting('server_version')"
        number, version = connection.execute(text(query)).one()
    kind = "embedded" if platform.settings.database_url is None else "from DATABASE_URL"
    if number < MINIMUM_VERSION:
        yield failure(
            "postgresql", f"version {version}, {kind}", "Use PostgreSQL 14 or newer, or leave DATABASE_URL unset."
        )
    else:
        yield ok("postgresql", f"version {version}, {kind}")


def redis_server(platform: Platform) -> Iterator[Finding]:
    """Redis or Valkey answers."""
    import redis

    try:
        with redis.Redis.from_url(platform.urls.redis_url, socket_connect_timeout=5, socket_timeout=5) as client:
            client.ping()
            about: Any = client.info("server")
    except (redis.RedisError, ValueError) as error:
        advice = "Start it, correct REDIS_URL, or leave REDIS_URL unset for the embedded one. Until then chat bots get no context."
        yield failure("redis", f"does not answer: {type(error).__name__}", advice)
        return
    version = about.get("valkey_version") or about.get("redis_version", "unknown")
    yield ok("redis", f"version {version}, {'embedded' if platform.settings.redis_url is None else 'from REDIS_URL'}")


def schema(platform: Platform) -> Iterator[Finding]:
    """The database's schema is this version's."""
    current, wanted = pending_revision(platform.urls.database_url)
    if current == wanted:
        yield ok("schema", f"up to date ({wanted})")
    else:
        yield failure(
            "schema", f"at {current or 'nothing'}, this version needs {wanted}", "Run `reactivation migrate`."
        )


def clock(platform: Platform) -> Iterator[Finding]:
    """This machine and the database tell the same, plausible time."""
    before = datetime.now(UTC)
    with platform.database.begin() as connection:
        told: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    after = datetime.now(UTC)
    skew = max((before - told).total_seconds(), (told - after).total_seconds(), 0.0)
    words = f"{after:%Y-%m-%d %H:%M:%S} UTC, {skew:.1f} s from the database's"
    advice = "Synchronise both machines (chrony, systemd-timesyncd): send times and limits depend on it."
    if after.year not in _SANE_YEARS or skew > _SKEW_FAILURE_S:
        yield failure("clock", words, advice)
    elif skew > _SKEW_WARNING_S:
        yield warning("clock", words, advice)
    else:
        yield ok("clock", words)


def dagster(platform: Platform, patience_s: float) -> Iterator[Finding]:
    """In a process of its own: the code location loads, the instance's storage answers, the daemon lives."""
    prepare_home(platform)  # the schema is up to date here
    env = {**os.environ, **dagster_environment(platform)}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "reactivation_cli.dagster_probe"]
    try:
        ran = subprocess.run(command, env=env, capture_output=True, text=True, timeout=patience_s, check=False)
    except subprocess.TimeoutExpired:
        yield failure("dagster", f"did not load within {patience_s:.0f} s", "Look what keeps this machine busy.")
        return
    if ran.returncode:
        last = ran.stderr.strip().splitlines()[-1:] or ["no words"]
        advice = "Run `dagster definitions validate -w workspace.yaml` in the checkout to see where."
        yield failure("dagster", f"the code location or the instance does not load: {last[0]}", advice)
        return
    seen = json.loads(ran.stdout.splitlines()[-1])
    words = f"{seen['assets']} assets, {seen['schedules']} schedules, {seen['sensors']} sensors, loaded in {seen['seconds']:.1f} s"
    if not (seen["assets"] and seen["schedules"] and seen["sensors"]):
        yield failure("code location", words, "Install the package again: something of it is missing.")
    elif seen["seconds"] > _SLOW_IMPORT_S:
        yield warning("code location", words, "Every run pays this once: look what else uses this machine or its disk.")
    else:
        yield ok("code location", words)
    yield ok("dagster storage", f"{seen['runs']} runs known")
    if seen["heartbeat_s"] is None or seen["heartbeat_s"] > _HEARTBEAT_S:
        yield warning("dagster daemon", "not running: no schedule or sensor fires", "Start `reactivation up`.")
    else:
        yield ok("dagster daemon", f"last heartbeat {seen['heartbeat_s']:.0f} s ago")
