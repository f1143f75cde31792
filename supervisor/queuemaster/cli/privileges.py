"""Whose files are believed, and who may read what is written: asked before root acts on them."""

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
    """Refuse a configuration that somebody else may write: it names code that we run, and files that we own."""
    if file is None:
        return
    try:
        found = file.stat()
    except OSError:
        return  # whoever reads it says so better
    us = pwd_name(os.geteuid())
    if found.st_uid not in (0, os.geteuid()):
        raise Refusal(
            f"configuration file {file}: it belongs to {pwd_name(found.st_uid)}, who could have anything run as"
            f" {us}; expected a file of root or of {us}: chown {us} {file}, or start as {pwd_name(found.st_uid)}"
        )
    if found.st_mode & stat.S_IWOTH:
        raise Refusal(
            f"configuration file {file}: everybody may write it, and so have anything run as {us}:"
            f" chmod o-w {file}"
        )
    if found.st_mode & stat.S_IWGRP and not _is_own_group(found.st_gid):
        raise Refusal(
            f"configuration file {file}: its group may write it, and so have anything run as {us}:"
            f" chmod g-w {file}"
        )


def _is_own_group(gid: int) -> bool:
    """Root's, or the one that has our name and nobody else in it: under umask 002 all files are that group's."""
    if gid == 0:
        return True
    try:
        group = grp.getgrgid(gid)
    except KeyError:
        return False
    us = pwd_name(os.geteuid())
    return group.gr_name == us and set(group.gr_mem) <= {us}


def pwd_name(uid: int) -> str:
    """The name of a user, or the number of one without."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@contextlib.contextmanager
def acting_as(account: Account | None) -> Iterator[None]:
    """Meet databases and files as that user, not as root: what is checked must hold for whom it is checked."""
    if account is None:
        yield
        return
    before = (os.getegid(), os.getgroups(), dict(os.environ))
    os.setgroups(account.groups)
    os.setegid(account.gid)
    os.seteuid(account.uid)
    os.environ.update(account.environment())
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(before[0])
        os.setgroups(before[1])
        os.environ.clear()
        os.environ.update(before[2])


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
