"""A store's database: SQLite in WAL mode, or PostgreSQL, opened the same way."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.engine import URL, make_url

from hetagent.errors import MissingExtraError, StoreError
from hetagent.learn.store.faults import store_errors
from hetagent.learn.store.schema import MIGRATIONS, applied, migrate

__all__ = ["Database", "default_place"]

_CONNECTIONS = 32
# Durable when acknowledged, also on macOS, whose fsync alone does not reach the disk; and what is
# deleted is overwritten, in memory too where SQLite would use temporary files.
_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA fullfsync = ON",
    "PRAGMA checkpoint_fullfsync = ON",
    "PRAGMA foreign_keys = ON",
    "PRAGMA secure_delete = ON",
    "PRAGMA temp_store = MEMORY",
)


def default_place() -> str | Path:
    """Where records are kept unless told: ``HETAGENT_RECORDS``, else a file in the user's folder.

    The variable names a file or a ``postgresql://`` address.
    """
    named = os.environ.get("HETAGENT_RECORDS", "").strip()
    if named:
        return named
    import platformdirs

    return Path(platformdirs.user_data_dir("hetagent", appauthor=False)) / "records.db"


class Database:
    """Connections to a store's database.

    Args:
        where: A file, or an address such as ``postgresql://user@host/database``; by default that of
            `default_place`.
        make: Whether to make the store, or bring it to this version's schema, where needed.
        only_read: Whether the database is to refuse writing.
        timeout: Seconds to wait for a lock or a connection.

    Raises:
        StoreError: It cannot be opened, or there is no store.
    """

    def __init__(
        self,
        where: str | Path | None = None,
        *,
        make: bool = False,
        only_read: bool = False,
        timeout: float = 10.0,
    ) -> None:
        self._url = _url(default_place() if where is None else where)
        self._timeout = timeout
        self._only_read = only_read
        self._lock = threading.Lock()
        self._engines: dict[int, Engine] = {}
        self.sqlite = self._url.get_backend_name() == "sqlite"
        # Without its password, which SQLAlchemy writes as stars.
        shown = self._url.set(drivername="postgresql")
        self.name = str(self._url.database) if self.sqlite else shown.render_as_string()
        try:
            self._open(make=make)
        except BaseException:
            self.close()
            raise

    @property
    def path(self) -> Path | None:
        """The file; ``None`` for PostgreSQL."""
        return Path(str(self._url.database)) if self.sqlite else None

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads."""
        with store_errors(self.name), self._engine().connect() as connection:
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction; durable when the block has ended without an error."""
        with store_errors(self.name):
            connection = self._engine().connect().execution_options(hetagent_writes=True)
            with connection, connection.begin():
                yield connection

    def wipe(self, *, rewrite: bool = False) -> None:
        """See that what was deleted is not in the database's files either.

        SQLite overwrites what is deleted; what is left is its write-ahead log, which is emptied.
        PostgreSQL frees what is deleted for reuse, and overwrites it only if the table is
        rewritten; its own write-ahead log is the server's.

        Args:
            rewrite: Write the whole database anew too. Others wait that long.

        Raises:
            StoreError: Somebody still reads what was deleted.
        """
        with store_errors(self.name):
            if self.sqlite:
                with contextlib.closing(self._connect_sqlite()) as bare:
                    self._wipe_sqlite(bare, rewrite=rewrite)
                return
            connection = self._engine().connect().execution_options(isolation_level="AUTOCOMMIT")
            with connection:
                full = "(FULL) " if rewrite else ""
                connection.exec_driver_sql(f"VACUUM {full}call_records")

    def _wipe_sqlite(self, bare: sqlite3.Connection, *, rewrite: bool) -> None:
        if rewrite:
            bare.execute("VACUUM")
        until = time.monotonic() + self._timeout
        while True:
            (busy, *_) = bare.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if not busy:
                return
            if time.monotonic() > until:
                break
            time.sleep(0.05)
        raise StoreError(
            f"The records are deleted, but the write-ahead log of {self.name} still holds them, "
            "because another program reads the store.",
            hint="End that program and run this again.",
        )

    def close(self) -> None:
        """Close all connections of this process."""
        engine = self._engines.pop(os.getpid(), None)
        if engine is not None:
            engine.dispose()

    def _open(self, *, make: bool) -> None:
        if self.sqlite and make:
            _make_file(Path(str(self._url.database)))
        elif self.sqlite and not Path(str(self._url.database)).is_file():
            raise self._no_store()
        with self.read() as connection:
            found = applied(connection)
        if len(found) == len(MIGRATIONS):
            return
        if not make and not found:
            raise self._no_store()
        if not make:
            raise StoreError(
                f"An older hetagent made the store {self.name}.",
                hint="Bring it to this version: `hetagent records init`.",
            )
        with self.write() as connection:
            migrate(connection)

    def _no_store(self) -> StoreError:
        return StoreError(
            f"There are no call records at {self.name}.",
            hint="Record some first, or name another store: HETAGENT_RECORDS or --store.",
        )

    def _engine(self) -> Engine:
        """One for each process: connections must not be shared with a forked one."""
        with self._lock:
            engine = self._engines.get(os.getpid())
            if engine is None:
                engine = self._engines[os.getpid()] = self._new_engine()
            return engine

    def _new_engine(self) -> Engine:
        # Parameters are hidden: an error's text must not quote what a record says.
        options: dict[str, Any] = {
            "hide_parameters": True,
            "pool_size": 4,
            "max_overflow": _CONNECTIONS,
            "pool_timeout": self._timeout,
        }
        if self.sqlite:
            engine = sa.create_engine(
                "sqlite://", creator=self._connect_sqlite, poolclass=sa.QueuePool, **options
            )
            sa.event.listen(engine, "begin", self._begin_sqlite)
            return engine
        milliseconds = int(self._timeout * 1000)
        settings = [f"lock_timeout={milliseconds}", "synchronous_commit=on"]
        if self._only_read:
            settings.append("default_transaction_read_only=on")
        try:
            return sa.create_engine(
                self._url,
                connect_args={
                    "connect_timeout": max(1, round(self._timeout)),
                    "options": " ".join(f"-c {setting}" for setting in settings),
                },
                pool_pre_ping=True,
                **options,
            )
        except ImportError as error:
            raise MissingExtraError("psycopg", extra="postgres") from error

    def _connect_sqlite(self) -> sqlite3.Connection:
        # Transactions are begun by hand below, for Python's module begins them late.
        connection = sqlite3.connect(
            f"file:{quote(str(self._url.database))}?mode=rw",
            uri=True,
            timeout=self._timeout,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            for pragma in _PRAGMAS:
                connection.execute(pragma)
            if self._only_read:
                connection.execute("PRAGMA query_only = ON")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _begin_sqlite(self, connection: Connection) -> None:
        # A writer takes its lock at once: one that read first could not wait for another writer.
        writes = connection.get_execution_options().get("hetagent_writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _url(where: str | Path) -> URL:
    text = str(where)
    if isinstance(where, Path) or "://" not in text:
        return URL.create("sqlite", database=str(Path(text).expanduser().absolute()))
    try:
        url = make_url(text)
    except sa.exc.ArgumentError as error:
        raise StoreError(
            "This is no address of a store.", hint="Name a file, or postgresql://user@host/name."
        ) from error
    backend = url.get_backend_name()
    if backend == "sqlite" and url.database:
        return URL.create("sqlite", database=str(Path(url.database).expanduser().absolute()))
    if backend == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    raise StoreError(
        f"Records are not kept in {backend}.", hint="Name a file, or postgresql://user@host/name."
    )


def _make_file(path: Path) -> None:
    """An empty file that only its owner may read; SQLite gives its log the same mode."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise StoreError(
            f"The store {path} cannot be made: {error}.",
            hint="Name another file: HETAGENT_RECORDS or --store.",
        ) from error
