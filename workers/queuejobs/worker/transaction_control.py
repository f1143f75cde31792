"""Which statements would end the transaction that a job runs in. Pure.

This guards against code that commits out of habit, not against code that means to get around it.
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
    """The words that end or begin a transaction, in capitals; None when there are none.

    Looks at every statement of a list. What stands in strings and in the bodies of functions is not
    looked at.
    """
    found = _FIRST.match(statement)
    if found is None and _LATER.search(statement) and not _SQL_BODY.search(statement):
        found = _LATER.search(_LITERAL.sub("''", statement))
    return " ".join(found.group(1).upper().split()) if found else None
