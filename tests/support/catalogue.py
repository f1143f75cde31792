"""What a schema holds, as PostgreSQL's catalogue describes it: to compare two databases, whatever the order."""

from __future__ import annotations

import re
from typing import Any

# Each returns one column of text. %(schema)s: its name.
_QUERIES = (
    # tables, views, sequences, indexes, composite types
    """select format('%%s %%s %%s %%s', relkind, relname, relpersistence, reloptions)
         from pg_class where relnamespace = %(schema)s::regnamespace""",
    # columns, by their position among those that were not dropped
    """select format('column %%s.%%s %%s %%s notnull=%%s identity=%%s generated=%%s default=%%s', relname,
                     row_number() over (partition by attrelid order by attnum), attname,
                     format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated,
                     pg_get_expr(adbin, adrelid))
         from pg_attribute join pg_class on pg_class.oid = attrelid
         left join pg_attrdef on adrelid = attrelid and adnum = attnum
        where relnamespace = %(schema)s::regnamespace and attnum > 0 and not attisdropped and relkind <> 'i'""",
    """select format('constraint %%s on %%s: %%s', conname, conrelid::regclass, pg_get_constraintdef(oid))
         from pg_constraint where connamespace = %(schema)s::regnamespace""",
    """select format('index: %%s', indexdef) from pg_indexes where schemaname = %(schema)s""",
    """select format('trigger: %%s', pg_get_triggerdef(pg_trigger.oid))
         from pg_trigger join pg_class on pg_class.oid = tgrelid
        where relnamespace = %(schema)s::regnamespace and not tgisinternal""",
    """select format('view %%s: %%s', viewname, definition) from pg_views where schemaname = %(schema)s""",
    """select format('sequence %%s', to_jsonb(pg_sequences) - 'last_value' - 'sequenceowner')
         from pg_sequences where schemaname = %(schema)s""",
    # functions, each with its arguments, volatility, settings and body
    """select format('function: %%s', pg_get_functiondef(oid)) from pg_proc
        where pronamespace = %(schema)s::regnamespace and prokind <> 'a'""",
    """select format('type %%s %%s', typname, typtype) from pg_type
        where typnamespace = %(schema)s::regnamespace and typelem = 0""",
    """select format('comment on %%s: %%s', pg_describe_object(classoid, objoid, objsubid), description)
         from pg_description where pg_describe_object(classoid, objoid, objsubid) like '%%' || %(schema)s || '%%'""",
)


def catalogue(cursor: Any, schema: str = "queuemaster") -> set[str]:
    """A description of every object in the schema. Comments inside functions, and their layout, do not count."""
    cursor.execute("set search_path = pg_catalog")
    lines: set[str] = set()
    for query in _QUERIES:
        cursor.execute(query, {"schema": schema})
        lines |= {_plain(text) for (text,) in cursor.fetchall()}
    cursor.execute("reset search_path")
    return lines


def _plain(text: str) -> str:
    return " ".join(re.sub(r"--.*", "", text).split())
