"""Where an embedded server listens, kept in a file that only its owner can read."""

import json
import secrets
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

from reactivation_resources.embedded.account import give_to_owner_of_folder
from reactivation_resources.embedded.errors import EmbeddedServerError

HOST = "127.0.0.1"
_FILE = "connection.json"
_FIRST_PORT, _PORTS = 20_000, 12_000  # below the range from which systems give outgoing connections their ports


@dataclass(frozen=True)
class Connection:
    """A server's port on 127.0.0.1, its password, and whether it writes safely to disk."""

    port: int
    password: str
    durable: bool


def load_connection(folder: Path) -> Connection | None:
    """The connection last written to this server folder, None if there was none."""
    try:
        return Connection(**json.loads((folder / _FILE).read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise EmbeddedServerError(
            f"{folder / _FILE} is damaged ({error}): restore it, or remove {folder} with all its data"
        ) from error


def save_connection(folder: Path, connection: Connection) -> None:
    """Write the connection for the next processes, all or nothing, readable by the folder's owner only."""
    draft = folder / f"{_FILE}.new"
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(asdict(connection)))
    give_to_owner_of_folder(draft)
    draft.replace(folder / _FILE)


def new_password() -> str:
    """128 random bits in characters that need no quoting in a URL."""
    return secrets.token_hex(16)


def free_port() -> int:
    """A port of 127.0.0.1 that is free now; somebody may still take it first, so be ready to ask again."""
    for _ in range(1_000):
        port = _FIRST_PORT + secrets.randbelow(_PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise EmbeddedServerError(f"no free port on {HOST} between {_FIRST_PORT} and {_FIRST_PORT + _PORTS}")
