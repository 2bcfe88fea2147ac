"""Errors of databases, told as a `StoreError` with what to do next."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import sqlalchemy.exc

from hetagent.errors import StoreError

__all__ = ["store_errors"]

_FULL = (
    "is full: nothing more can be written to it",
    "Free some space; what was acknowledged is safe, and writing goes on as soon as there is room.",
)
_LOCKED = (
    "is locked by another program",
    "End what holds it, or wait longer: Store(..., timeout=SECONDS). What was acknowledged is "
    "safe.",
)
_DENIED = (
    "does not allow this",
    "Use an account that has the role; `hetagent records roles` prints the grants of each.",
)
_MISSING = (
    "cannot be opened",
    "See that its folder exists and may be written, and that nothing else has its name.",
)
_BROKEN = (
    "is damaged or no SQLite database",
    "Restore it from a backup; `sqlite3 FILE .recover` may save most of it.",
)
_DISK = ("cannot be written or read", "See the disk's free space, limits and health.")
_SERVER = (
    "does not answer",
    "See that the server runs and the address is right; what was acknowledged is safe.",
)

_BY_SQLITE_TEXT = {
    "database or disk is full": _FULL,
    "locked": _LOCKED,
    "unable to open": _MISSING,
    "readonly": _DENIED,
    "read-only": _DENIED,
    "not authorized": _DENIED,
    "not a database": _BROKEN,
    "malformed": _BROKEN,
    "disk i/o error": _DISK,
}
# The classes of PostgreSQL's appendix A, "Error Codes"; the longest prefix that fits holds.
_BY_SQLSTATE = {
    "53100": _FULL,
    "55P03": _LOCKED,
    "57014": _LOCKED,
    "40001": _LOCKED,
    "40P01": _LOCKED,
    "42501": _DENIED,
    "25006": _DENIED,
    "3D000": _MISSING,
    "28": _DENIED,
    "58": _DISK,
    "53": _SERVER,
    "57": _SERVER,
    "08": _SERVER,
}
_RETRYABLE = (_LOCKED, _FULL, _SERVER, _DISK)


@contextlib.contextmanager
def store_errors(name: str) -> Iterator[None]:
    """Raise a `StoreError` for what a database raises within.

    Args:
        name: The store, in words, without passwords.
    """
    try:
        yield
    except sqlalchemy.exc.TimeoutError as error:
        raise _told(name, _LOCKED, "too many writers at once") from error
    except sqlalchemy.exc.DBAPIError as error:
        raise _told(name, _fault(error), _words(error)) from error
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise _told(name, ("failed", ""), str(error)) from error


def _told(name: str, fault: tuple[str, str], words: str) -> StoreError:
    told = StoreError(f"The store {name} {fault[0]} ({words}).", hint=fault[1])
    told.retryable = fault in _RETRYABLE
    return told


def _fault(error: sqlalchemy.exc.DBAPIError) -> tuple[str, str]:
    state = getattr(error.orig, "sqlstate", None)
    for length in (5, 2):
        if state and state[:length] in _BY_SQLSTATE:
            return _BY_SQLSTATE[state[:length]]
    words = str(error.orig).lower()
    for part, fault in _BY_SQLITE_TEXT.items():
        if part in words:
            return fault
    # libpq has no SQLSTATE where there was no connection.
    if type(error.orig).__module__.startswith("psycopg") and state is None:
        return _SERVER
    return ("failed", "This may be a mistake in hetagent; please report it.")


def _words(error: sqlalchemy.exc.DBAPIError) -> str:
    """The first line alone: details may quote values."""
    diagnosis = getattr(error.orig, "diag", None)
    said = getattr(diagnosis, "message_primary", None) or str(error.orig)
    return said.strip().splitlines()[0] if said.strip() else type(error.orig).__name__
