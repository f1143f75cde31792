"""Channel names as they are stored: complete, from ``root`` down."""

from __future__ import annotations

ROOT = "root"
LONGEST = 500


def complete(name: str) -> str:
    """The name from ``root`` down: ``sale`` and ``root.sale`` → ``root.sale``. ``ValueError`` if it is malformed."""
    text = name.strip() if isinstance(name, str) else ""
    parts = text.split(".")
    if parts[0] != ROOT:
        parts.insert(0, ROOT)
    path = ".".join(parts)
    if not all(parts) or set(path) & set(" \t\n,:=\x00") or len(path) > LONGEST:
        raise ValueError(
            f"channel {name!r} is not a channel name: expected words joined by dots, such as"
            f" 'root.sale.export', without blanks, commas, colons or '=', at most {LONGEST} characters"
        )
    return path
