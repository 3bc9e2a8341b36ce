"""Loads the code location and opens the instance as Dagster does, and prints what it saw as one JSON object."""

import json
import sys
import time


def main() -> None:
    """Counts of definitions and runs, `seconds` the import took, `heartbeat_s` since the daemon's last sign of life (null: none)."""
    began = time.perf_counter()
    import dagster as dg

    from reactivation_assets.definitions import defs

    repository = defs.get_repository_def()
    seconds = time.perf_counter() - began
    with dg.DagsterInstance.get() as instance:
        beats = [beat.timestamp for beat in instance.get_daemon_heartbeats().values()]
        seen = {
            "seconds": seconds,
            "assets": len(repository.asset_graph.get_all_asset_keys()),
            "schedules": len(repository.schedule_defs),
            "sensors": len(repository.sensor_defs),
            "runs": instance.get_runs_count(),
            "heartbeat_s": time.time() - max(beats) if beats else None,
        }
    sys.stdout.write(json.dumps(seen) + "\n")


if __name__ == "__main__":
    main()
