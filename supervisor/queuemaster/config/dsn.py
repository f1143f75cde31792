"""Names of databases: DSNs (URI or keywords) and bare names, read and shown; what is shown has no password."""

from __future__ import annotations

import re
from collections.abc import Iterable

import psycopg2
from psycopg2.extensions import make_dsn, parse_dsn

from queuemaster.config.compiled import DatabaseConfig

EXPECTED = "expected a name (sales), a URI (postgresql://host:5432/sales) or keywords (host=… dbname=sales)"
MASK = "***"

# A comma ends a database only when another one begins after it: multi-host URIs have commas of their own.
_NEXT = re.compile(r"\s*[,\n]\s*(?=postgres(?:ql)?://|\w+\s*=|[^\s,:/=?&@']+\s*(?:[,\n]|$))")
_KEYWORD = re.compile(r"(\w+)\s*=\s*('(?:[^'\\]|\\.)*'|\S+)")
_HARMLESS = frozenset(("host", "hostaddr", "port", "dbname", "user", "service", "sslmode", "connect_timeout"))
# what libpq says of a bad DSN may quote any part of it, the password too; only these phrases are repeated
_SAFE_DIAGNOSIS = re.compile(r'invalid (?:connection option|URI query parameter):? "\w+"')


def split_databases(text: str) -> list[str]:
    """The databases of a configured value, one string each; separated by commas or newlines."""
    return [part for part in _split_outside_quotes(text) if part]


def parse_database(text: str) -> DatabaseConfig:
    """A DSN or a bare name → what to connect to. Raises ValueError with what was expected."""
    text = text.strip()
    if "=" not in text and "://" not in text:
        if not text or re.search(r"[\s,:/?&@']", text):
            raise ValueError(EXPECTED)
        return DatabaseConfig(text, make_dsn(dbname=text))
    parameters = _parse(text)
    name = parameters.get("dbname") or parameters.get("service")
    if not name:
        raise ValueError("it names no database (dbname); " + EXPECTED)
    return DatabaseConfig(name, text)


def parse_databases(text: str) -> tuple[DatabaseConfig, ...]:
    """All databases of a configured value, each with a name of its own, none twice."""
    databases: list[DatabaseConfig] = []
    for part in split_databases(text):
        try:
            database = parse_database(part)
        except ValueError as error:
            # a comma may have been part of a DSN: the message quotes the piece
            raise ValueError(f"{mask_dsn(part)}: {error}") from None
        if all(_where(database.dsn) != _where(other.dsn) for other in databases):
            databases.append(database)
    names = [database.name for database in databases]
    return tuple(
        database if names.count(database.name) == 1 else DatabaseConfig(server_key(database), database.dsn)
        for database in databases
    )


def mask_dsn(dsn: str) -> str:
    """``dsn`` as it may be shown. Of one that cannot be parsed only the parts that are surely harmless are left."""
    if "=" not in dsn and "://" not in dsn:
        return dsn
    try:
        parameters = _parse(dsn)
    except ValueError:
        scheme, separator, rest = dsn.partition("://")
        if not separator:
            return _keywords(_KEYWORD.findall(dsn))
        userinfo, at, address = rest.partition("@")
        # with a second @, or a ? before it, nobody knows where the password ends
        clear = at and "@" not in address and "?" not in userinfo
        return f"{scheme}://{MASK}@{address.partition('?')[0]}" if clear else f"{scheme}://{MASK}"
    return _keywords((key, make_dsn(**{key: value}).partition("=")[2]) for key, value in parameters.items())


def server_key(database: DatabaseConfig) -> str:
    """``sales@db1:5432``: the name with its server, to tell databases of one name apart."""
    host, port, name = _where(database.dsn)
    return f"{name}@{host or 'local'}:{port}"


def describe(database: DatabaseConfig) -> str:
    """``sales (host db1, port 5432, database sales, user odoo)``, for messages."""
    host, port, name = _where(database.dsn)
    parts = [f"host {host or 'local socket'}", f"port {port}", f"database {name}"]
    user = parse_dsn(database.dsn).get("user")
    if user:
        parts.append(f"user {user}")
    return f"{database.name} ({', '.join(parts)})"


def _parse(dsn: str) -> dict[str, str]:
    """The parameters of a DSN. Raises ValueError, which quotes no part that may belong to a password."""
    try:
        parameters: dict[str, str] = parse_dsn(dsn)
    except psycopg2.Error as error:
        diagnosis = _SAFE_DIAGNOSIS.search(str(error))
        raise ValueError(f"{diagnosis.group()}; {EXPECTED}" if diagnosis else EXPECTED) from None
    # an unescaped / or @ in a password is no error for libpq: what follows becomes port, host and database
    address = "".join(parameters.get(key, "") for key in ("host", "port", "dbname"))
    if "://" in dsn and "@" in address and "%40" not in dsn:
        raise ValueError("it has one @ or / too many; in a password they are written %40 and %2F")
    if not re.fullmatch(r"[\d,]*", parameters.get("port", "")):
        raise ValueError(f"its port is not a number; {EXPECTED}")
    return parameters


def _where(dsn: str) -> tuple[str, str, str]:
    parameters = parse_dsn(dsn)
    host = parameters.get("host") or parameters.get("hostaddr") or ""
    return host, parameters.get("port", "5432"), parameters.get("dbname") or parameters.get("service", "")


def _keywords(pairs: Iterable[tuple[str, str]]) -> str:
    return " ".join(f"{key}={value if key in _HARMLESS else MASK}" for key, value in pairs)


def _split_outside_quotes(text: str) -> list[str]:
    """Split at the commas that lie outside of 'quoted values'."""
    parts, start = [], 0
    for match in _NEXT.finditer(text):
        if text.count("'", start, match.start()) % 2 == 0:
            parts.append(text[start : match.start()].strip())
            start = match.end()
    parts.append(text[start:].strip().strip(","))
    return parts
