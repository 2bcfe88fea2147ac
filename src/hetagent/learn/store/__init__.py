"""Where call records are kept: SQLite or PostgreSQL, encrypted."""

from hetagent.learn.store.store import Custodian, Query, Reader, Store, Totals

__all__ = ["Custodian", "Query", "Reader", "Store", "Totals"]
