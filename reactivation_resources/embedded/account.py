"""The account a server runs as: our own, or, when we are root, an ordinary one (PostgreSQL refuses to run as root)."""

import os
import pwd
from pathlib import Path

from reactivation_resources.embedded.errors import EmbeddedServerError

_CANDIDATES = ("postgres", "nobody")


def server_account(data: Path) -> tuple[int, int] | None:
    """(uid, gid) to run the server on this data folder as; None means as ourselves.

    As root: whoever owns the folder, or the one around it, else the first of `postgres` and `nobody` that this machine knows.
    """
    if os.geteuid() != 0:
        return None
    for folder in (data, data.parent):
        if folder.exists() and folder.stat().st_uid != 0:
            return folder.stat().st_uid, folder.stat().st_gid
    for name in _CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise EmbeddedServerError(
        f"PostgreSQL does not run as root and this machine has none of the accounts {', '.join(_CANDIDATES)}: "
        "run as an ordinary user, or set DATABASE_URL and REDIS_URL"
    )


def hand_over(root: Path, account: tuple[int, int] | None) -> None:
    """Make the account the owner of a folder and of everything in it."""
    if account is None:
        return
    try:
        os.chown(root, *account, follow_symlinks=False)
        for folder, folders, files in os.walk(root):
            for name in folders + files:
                os.chown(Path(folder) / name, *account, follow_symlinks=False)
    except PermissionError as error:
        raise EmbeddedServerError(
            f"root may not give {root} to user {account[0]} here (a container without CAP_CHOWN?): "
            "run as an ordinary user, or set DATABASE_URL and REDIS_URL"
        ) from error


def give_to_owner_of_folder(path: Path) -> None:
    """Let what root writes into an ordinary user's folder belong to that user, who will need it later."""
    if os.geteuid() == 0:
        folder = path.parent.stat()
        os.chown(path, folder.st_uid, folder.st_gid)
