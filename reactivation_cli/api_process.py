"""The HTTP service as a process of its own: `python -m reactivation_cli.api_process HOST PORT`."""

import sys

from reactivation_api.server import serve
from reactivation_resources.platform import open_platform
from reactivation_resources.settings import Settings


def main(host: str, port: int) -> None:
    """Serve the platform that the environment names until SIGTERM."""
    with open_platform(Settings.load()) as platform:
        serve(platform, host, port)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
