"""Recognise the statements that would end the transaction of a job. Pure.

This protects against code that commits out of habit, not against code that evades it on purpose.
"""

from __future__ import annotations

import re
from typing import Optional

_BLANK = r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/|;)*"
_CONTROL = (
    r"(commit|end|abort|begin|start\s+transaction|prepare\s+transaction|"
    r"rollback(?!\s+((work|transaction)\s+)?to\b))\b"
)
_FIRST = re.compile(_BLANK + _CONTROL, re.IGNORECASE | re.DOTALL)
_LATER = re.compile(";" + _BLANK + _CONTROL, re.IGNORECASE | re.DOTALL)
_LITERAL = re.compile(r"""'(?:[^']|'')*'|"[^"]*"|\$(\w*)\$.*?\$\1\$""", re.DOTALL)
_SQL_BODY = re.compile(r"\bbegin\s+atomic\b", re.IGNORECASE)


def transaction_control(statement: str) -> Optional[str]:
    """The first words in ``statement`` that end or begin a transaction, in capitals; None if there are none.

    ``statement`` may be several, separated by semicolons. Strings, quoted names and function bodies are skipped.
    """
    match = _FIRST.match(statement)
    if match is None and _LATER.search(statement) and not _SQL_BODY.search(statement):
        match = _LATER.search(_LITERAL.sub("''", statement))
    return " ".join(match.group(1).upper().split()) if match else None
