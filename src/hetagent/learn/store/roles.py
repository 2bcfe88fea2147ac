"""PostgreSQL's side of the three roles: what each may do with the tables."""

from __future__ import annotations

import re

from hetagent.errors import StoreError

__all__ = ["role_grants"]

_BOOKS = "call_record_migrations, call_record_facts, call_record_keys"
_RIGHTS = {
    "writer": (
        f"GRANT SELECT ON {_BOOKS}",
        "GRANT INSERT, SELECT (id, assigned, interactive), UPDATE (assigned) ON call_records",
    ),
    "reader": (f"GRANT SELECT ON {_BOOKS}, call_records",),
    "custodian": (
        f"GRANT SELECT ON {_BOOKS}",
        "GRANT DELETE, SELECT (id, time_us, client, conversation, trace) ON call_records",
    ),
}


def role_grants(prefix: str = "hetagent") -> str:
    """SQL that makes the roles ``PREFIX_writer``, ``PREFIX_reader`` and ``PREFIX_custodian``.

    Run it as the owner of the tables, and grant the roles to accounts. No role may read and erase,
    or read and know whose records they are; only the owner may rotate keys, migrate, and vacuum.

    Raises:
        StoreError: The prefix cannot begin a role's name.
    """
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,40}", prefix):
        raise StoreError(
            f"{prefix!r} cannot begin the name of a role.",
            hint="Use lower-case letters, digits and underscores.",
        )
    lines = []
    for role, rights in _RIGHTS.items():
        name = f"{prefix}_{role}"
        lines += [
            f"DO $$ BEGIN CREATE ROLE {name} NOLOGIN; "
            "EXCEPTION WHEN duplicate_object THEN NULL; END $$;",
            *(f"{right} TO {name};" for right in rights),
        ]
    return "\n".join(lines) + "\n"
