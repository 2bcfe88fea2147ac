"""Tables of a store, and the named migrations that make them.

A migration that was released is never changed: what is to be different goes into a new one behind
it. A test holds each one's hash.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid4

import sqlalchemy as sa

from hetagent.errors import StoreError

__all__ = ["MIGRATIONS", "Migration", "applied", "keys", "migrate", "records", "store_id"]

_metadata = sa.MetaData()

records = sa.Table(
    "call_records",
    _metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("time_us", sa.BigInteger, nullable=False),
    sa.Column("form", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("served_model", sa.Text),
    sa.Column("served_by", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("prompt_tokens", sa.BigInteger),
    sa.Column("completion_tokens", sa.BigInteger),
    sa.Column("cached_tokens", sa.BigInteger),
    sa.Column("thinking_tokens", sa.BigInteger),
    sa.Column("cost_usd", sa.Double),
    sa.Column("seconds", sa.Double),
    sa.Column("first_token_seconds", sa.Double),
    sa.Column("attempts", sa.BigInteger, nullable=False),
    sa.Column("streamed", sa.Boolean, nullable=False),
    sa.Column("complete", sa.Boolean, nullable=False),
    sa.Column("error_kind", sa.Text),
    sa.Column("error_status", sa.BigInteger),
    sa.Column("trace", sa.Text),
    sa.Column("conversation", sa.Text),
    sa.Column("client", sa.Text),
    sa.Column("workload", sa.Text),
    sa.Column("assigned", sa.Text),
    sa.Column("trainable", sa.Text, nullable=False),
    sa.Column("interactive", sa.Boolean, nullable=False),
    sa.Column("redacted", sa.Boolean, nullable=False),
    sa.Column("key_id", sa.Text, nullable=False),
    sa.Column("payload", sa.LargeBinary, nullable=False),
)
"""One row for each record; ``payload`` alone is encrypted, ``assigned`` alone may change."""

keys = sa.Table(
    "call_record_keys",
    _metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("since_us", sa.BigInteger, nullable=False),
)
"""Ids of the keys in use. A record's key must be among them, which the database itself checks, so
that no writer with an old key can slip in behind a rotation."""

_facts = sa.Table(
    "call_record_facts",
    _metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
_migrations = sa.Table(
    "call_record_migrations",
    _metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("applied_us", sa.BigInteger, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema.

    Attributes:
        name: What it is known by in every store that has it.
        statements: SQL for SQLite and PostgreSQL alike; ``{bytes}`` is the type of byte strings.
    """

    name: str
    statements: Sequence[str]


MIGRATIONS: Sequence[Migration] = (
    Migration(
        "0001_records",
        (
            "CREATE TABLE call_record_facts (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL)",
            "CREATE TABLE call_record_keys ("
            "id TEXT NOT NULL PRIMARY KEY, purpose TEXT NOT NULL, since_us BIGINT NOT NULL)",
            "CREATE TABLE call_records ("
            "id TEXT NOT NULL PRIMARY KEY, time_us BIGINT NOT NULL, form TEXT NOT NULL, "
            "source TEXT NOT NULL, model TEXT NOT NULL, served_model TEXT, "
            "served_by TEXT NOT NULL, reason TEXT NOT NULL, prompt_tokens BIGINT, "
            "completion_tokens BIGINT, cached_tokens BIGINT, thinking_tokens BIGINT, "
            "cost_usd DOUBLE PRECISION, seconds DOUBLE PRECISION, "
            "first_token_seconds DOUBLE PRECISION, attempts BIGINT NOT NULL, "
            "streamed BOOLEAN NOT NULL, complete BOOLEAN NOT NULL, error_kind TEXT, "
            "error_status BIGINT, trace TEXT, conversation TEXT, client TEXT, workload TEXT, "
            "assigned TEXT, trainable TEXT NOT NULL, interactive BOOLEAN NOT NULL, "
            "redacted BOOLEAN NOT NULL, key_id TEXT NOT NULL REFERENCES call_record_keys (id), "
            "payload {bytes} NOT NULL)",
        ),
    ),
    Migration(
        "0002_indexes",
        (
            "CREATE INDEX call_records_by_time ON call_records (time_us, id)",
            "CREATE INDEX call_records_by_model ON call_records (model, time_us)",
            "CREATE INDEX call_records_by_workload "
            "ON call_records (coalesce(workload, assigned), time_us)",
            "CREATE INDEX call_records_by_trace ON call_records (trace) WHERE trace IS NOT NULL",
            "CREATE INDEX call_records_by_conversation "
            "ON call_records (conversation) WHERE conversation IS NOT NULL",
            "CREATE INDEX call_records_by_client ON call_records (client) WHERE client IS NOT NULL",
            "CREATE INDEX call_records_by_key ON call_records (key_id)",
        ),
    ),
)

_BYTES = {"sqlite": "BLOB", "postgresql": "BYTEA"}
_LOCK = 0x686574  # any number that all hetagents share


def applied(connection: sa.Connection) -> list[str]:
    """Names of the migrations that a store has; none where it is no store yet.

    Raises:
        StoreError: It has some that this version does not know.
    """
    if not sa.inspect(connection).has_table(_migrations.name):
        return []
    found = [row.name for row in connection.execute(sa.select(_migrations.c.name))]
    unknown = sorted(set(found) - {one.name for one in MIGRATIONS})
    if unknown:
        raise StoreError(
            f"A newer hetagent made this store: it has {', '.join(unknown)}.",
            hint="Update hetagent: pip install -U hetagent",
        )
    return found


def migrate(connection: sa.Connection) -> None:
    """Bring a store to this version's schema, within the transaction of the caller."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    found = applied(connection)
    if not found:
        connection.execute(
            sa.text(
                "CREATE TABLE IF NOT EXISTS call_record_migrations "
                "(name TEXT NOT NULL PRIMARY KEY, applied_us BIGINT NOT NULL)"
            )
        )
    for one in MIGRATIONS:
        if one.name in found:
            continue
        for statement in one.statements:
            connection.execute(
                sa.text(statement.replace("{bytes}", _BYTES[connection.dialect.name]))
            )
        connection.execute(
            _migrations.insert().values(name=one.name, applied_us=time.time_ns() // 1000)
        )
    if store_id(connection) is None:
        connection.execute(_facts.insert().values(name="store_id", value=uuid4().hex))


def store_id(connection: sa.Connection) -> str | None:
    """What keys of a store are known by: a random name, made with it."""
    return connection.scalar(sa.select(_facts.c.value).where(_facts.c.name == "store_id"))
