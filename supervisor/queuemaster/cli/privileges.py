"""Privileges: which configuration files root may act on, and the user that checks and files are for."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from queuejobs.shared.logfile import open_log
from queuemaster.cli.output import Refusal
from queuemaster.master.account import Account


def require_private_file(file: Path | None) -> None:
    """Refuse a configuration that another user may write: it names code that we run, and files that we make ours."""
    if file is None:
        return
    try:
        status = file.stat()
    except OSError:
        return  # reading the file fails next, with a better message
    us = pwd_name(os.geteuid())
    if status.st_uid not in (0, os.geteuid()):
        raise Refusal(
            f"configuration file {file}: it belongs to {pwd_name(status.st_uid)}, who could have anything run as"
            f" {us}; expected a file of root or of {us}: chown {us} {file}, or start as {pwd_name(status.st_uid)}"
        )
    if status.st_mode & stat.S_IWOTH:
        raise Refusal(
            f"configuration file {file}: everybody may write it, and so have anything run as {us}:"
            f" chmod o-w {file}"
        )
    if status.st_mode & stat.S_IWGRP and not _is_own_group(status.st_gid):
        raise Refusal(
            f"configuration file {file}: its group may write it, and so have anything run as {us}:"
            f" chmod g-w {file}"
        )


def _is_own_group(gid: int) -> bool:
    """Root's group, or the one that is named like us and has no other member: umask 002 gives it all our files."""
    if gid == 0:
        return True
    try:
        group = grp.getgrgid(gid)
    except KeyError:
        return False
    us = pwd_name(os.geteuid())
    return group.gr_name == us and set(group.gr_mem) <= {us}


def pwd_name(uid: int) -> str:
    """The name of a user; the number of a user without a name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@contextlib.contextmanager
def acting_as(account: Account | None) -> Iterator[None]:
    """Use databases and files as that user for a while, as the service will; None: as we are."""
    if account is None:
        yield
        return
    gid, groups, environment = os.getegid(), os.getgroups(), dict(os.environ)
    os.setgroups(account.groups)
    os.setegid(account.gid)
    os.seteuid(account.uid)
    os.environ.update(account.environment())
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(gid)
        os.setgroups(groups)
        os.environ.clear()
        os.environ.update(environment)


def give_logfile(path: str, account: Account | None) -> None:
    """As root, make the log file the user's: each process opens it by itself."""
    if account is None or not path:
        return
    try:
        open_log(path, (account.uid, account.gid)).close()
    except OSError as error:
        raise Refusal(
            f"option logfile = {path!r}: it cannot be made a file of {account.name}: {error}"
        ) from error
