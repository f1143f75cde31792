"""The address that the exporter listens on: ``127.0.0.1:8079``, ``[::1]:8079``, ``localhost:8079``. Pure."""

from __future__ import annotations

import ipaddress
import re

EXPECTED = "expected HOST:PORT (127.0.0.1:8079, [::]:8079), or nothing for no HTTP at all"
_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/@\[\]]+)):(\d{1,5})")


def parse_address(text: str) -> tuple[str, int]:
    """The host without brackets, and the port. Raises ValueError."""
    match = _ADDRESS.fullmatch(text.strip())
    if match is None or not 1 <= int(match[3]) <= 65535:
        raise ValueError(EXPECTED)
    if match[1]:
        ipaddress.IPv6Address(match[1])  # brackets are for these only
    return match[1] or match[2], int(match[3])


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address. False for every name but localhost: it may resolve to anything."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
