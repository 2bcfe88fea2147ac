"""A real PostgreSQL of Debian's packages, for one run of the tests or of a benchmark.

It listens on a socket in its own folder alone. The server refuses to run as root, so there it runs
as the account ``postgres`` of the package, or as ``nobody``.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

HINT = "PostgreSQL is not installed (Debian: apt-get install postgresql)"


def programs() -> Path | None:
    """The folder of initdb and its kind; the newest version's."""
    found = [p.parent for p in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if found:
        return max(found, key=lambda path: float(path.parent.name))
    here = shutil.which("initdb")
    return Path(here).parent if here else None


class Postgres:
    """A server that starts on entering and is gone on leaving.

    Args:
        durable: Whether it really flushes what it says is safe; tests need no more than a crash of
            the client to be survived.
    """

    def __init__(self, *, durable: bool = False) -> None:
        self._programs = programs()
        self._durable = durable
        self._account = self._demoted() if os.name == "posix" and os.geteuid() == 0 else {}

    def __enter__(self) -> Self:
        # Not pytest's own folder, which other accounts may not enter; short, for sockets' names.
        self.folder = Path(tempfile.mkdtemp(prefix="hetagent-pg-", dir=self._place()))
        if self._account:
            os.chown(self.folder, int(self._account["user"]), int(self._account["group"]))
        try:
            self._run("initdb", "-D", self._data, "-A", "trust", "-U", "owner", "--no-sync",
                      "-E", "UTF8", "--locale=C.UTF-8")  # fmt: skip
            self.start()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.crash()
        shutil.rmtree(self.folder)

    def start(self) -> None:
        """Start the server; after a crash it recovers from its log first."""
        settings = ["listen_addresses=''", f"unix_socket_directories='{self.folder}'",
                    "max_connections=120", "log_min_messages=fatal"]  # fmt: skip
        if not self._durable:
            settings.append("fsync=off")
        options = " ".join(f"-c {setting}" for setting in settings)
        self._run("pg_ctl", "-D", self._data, "-l", str(self.folder / "log"), "-w",
                  "-o", options, "start")  # fmt: skip

    def crash(self) -> None:
        """Stop it at once, with nothing written that its log does not have already."""
        self._run("pg_ctl", "-D", self._data, "-m", "immediate", "-w", "stop")

    def database(self) -> str:
        """The address of the one database, emptied: making another takes thousands of files."""
        self.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = 'postgres' AND pid <> pg_backend_pid()"
        )
        self.sql("DROP SCHEMA public CASCADE")
        self.sql("CREATE SCHEMA public; GRANT USAGE ON SCHEMA public TO public")
        return self.address()

    def address(self, *, user: str = "owner") -> str:
        """The address of the database, for an account."""
        return f"postgresql://{user}@/postgres?host={quote(str(self.folder), safe='')}"

    def sql(self, text: str) -> None:
        """Run SQL as the owner of all."""
        self._run("psql", "-h", str(self.folder), "-U", "owner", "-d", "postgres", "-qX",
                  "-v", "ON_ERROR_STOP=1", "-c", text)  # fmt: skip

    def _place(self) -> str:
        """In memory where nothing needs to last and there is room."""
        memory = Path("/dev/shm")
        roomy = memory.is_dir() and shutil.disk_usage(memory).free > 1_000_000_000
        return str(memory) if roomy and not self._durable else "/tmp"

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    def _run(self, program: str, *arguments: str) -> None:
        assert self._programs is not None, HINT
        log = self.folder / f"{program}.out"
        # The server inherits what pg_ctl has open: a pipe would never end.
        with log.open("wb") as out:
            done = subprocess.run(
                self._command(program, arguments),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                check=False,
                **self._account,
            )
        if done.returncode:
            said = log.read_text(errors="replace")
            raise RuntimeError(f"{program} failed ({done.returncode}): {said}")

    def _command(self, program: str, arguments: Sequence[str]) -> list[str]:
        return [str(Path(str(self._programs)) / program), *arguments]

    @staticmethod
    def _demoted() -> Mapping[str, Any]:
        for name in ("postgres", "nobody"):
            try:
                account = pwd.getpwnam(name)
            except KeyError:
                continue
            return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        raise RuntimeError("There is no account postgres or nobody to run PostgreSQL as.")
