"""The user that everything but the master runs as, when the master is root (options user and group)."""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import dataclass


class UnknownAccount(Exception):
    """There is no such user or group, or we may not become that user; the message says which."""


@dataclass(frozen=True)
class Account:
    """A user and its groups."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str

    def environment(self) -> dict[str, str]:
        """The variables that a login sets: a database driver looks for its files in HOME, which must not be root's."""
        return {"HOME": self.home, "USER": self.name, "LOGNAME": self.name}


def account(user: str, group: str = "") -> Account | None:
    """The user to become, by name or number; None: processes keep our user. Raises :class:`UnknownAccount`."""
    if not user:
        if group:
            raise UnknownAccount(f"option group = {group!r}: it needs the option user beside it")
        return None
    entry = _user(user)
    gid = _group(group) if group else entry.pw_gid
    if os.geteuid() != 0:
        if (entry.pw_uid, gid) == (os.geteuid(), os.getegid()):
            return None
        raise UnknownAccount(
            f"option user = {user!r}: only root can start the service for another user;"
            f" start it as {entry.pw_name}, or as root"
        )
    groups = tuple(sorted(os.getgrouplist(entry.pw_name, gid)))
    return Account(entry.pw_name, entry.pw_uid, gid, groups, entry.pw_dir)


def _user(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
    except KeyError:
        raise UnknownAccount(f"option user = {user!r}: there is no such user on this machine") from None


def _group(group: str) -> int:
    try:
        return (grp.getgrgid(int(group)) if group.isdigit() else grp.getgrnam(group)).gr_gid
    except KeyError:
        raise UnknownAccount(f"option group = {group!r}: there is no such group on this machine") from None
