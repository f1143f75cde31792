"""The text of the schema: the SQL files under ``schema/``, in the order in which they are applied.

There are two dialects: the native queue, and the one beside the table of Odoo's addon. What they share stands in
``schema/shared`` and is read by both.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Iterator, Mapping, Sequence

DIRECTORY = Path(__file__).with_name("schema")

NATIVE = (
    "native/jobs",
    "shared/basics",
    "shared/workers",
    "shared/leader",
    "shared/control",
    "native/notify",
    "native/children",
    "native/claim",
    "native/batch",
    "native/finish",
    "native/slice",
    "native/settle",
    "native/recover",
    "shared/promote",
    "native/actions",
    "native/retention",
)
ODOO = (
    "odoo/runs",
    "shared/basics",
    "shared/workers",
    "shared/leader",
    "shared/control",
    "odoo/views",
    "odoo/children",
    "odoo/claim",
    "odoo/finish",
    "odoo/settle",
    "odoo/recover",
    "shared/promote",
    "odoo/sweep",
    "odoo/actions",
    "odoo/signal",
    "odoo/retention",
)


def read(names: Sequence[str], words: Mapping[str, str], present: Sequence[str] = ()) -> str:
    """These files as one text.

    ``words``: what ``@name@`` stands for. ``present``: the tables for which the lines between ``-- if TABLE`` and
    ``-- end`` are kept; of other tables those after ``-- else`` are.
    """
    text = "".join((DIRECTORY / f"{name}.sql").read_text(encoding="utf-8") for name in names)
    text = "\n".join(_chosen(text, present))
    for name, value in words.items():
        text = text.replace(f"@{name}@", value)
    return text


def _chosen(text: str, present: Sequence[str]) -> Iterator[str]:
    kept = True
    for line in text.splitlines():
        mark = line.strip()
        if mark.startswith("-- if "):
            kept = mark[len("-- if ") :] in present
        elif mark == "-- else":
            kept = not kept
        elif mark == "-- end":
            kept = True
        elif kept:
            yield line


def checksum(sql: str) -> str:
    """The checksum of what a text does: comments and layout do not count, so that they can be improved."""
    # no string in our SQL contains two hyphens
    return hashlib.sha256(" ".join(re.sub(r"--.*", "", sql).split()).encode()).hexdigest()
