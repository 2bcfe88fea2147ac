"""A process that writes records and says which were acknowledged; others start it.

    python -m benchmarks.capture.writer PLACE KEYS SECONDS SIZE

It makes its records, says ``ready``, waits for a line, and writes ``SIZE`` records an append until
the time is over or the store fails. Each acknowledged id is a line.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

from benchmarks.capture.made import records
from hetagent.errors import StoreError
from hetagent.learn.keys import FolderKeys
from hetagent.learn.store import Store

_MADE = 4000


def start(where: str, keys: FolderKeys, *, seconds: float, size: int) -> subprocess.Popen[str]:
    """A writer that waits for `go`."""
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.capture.writer", where, str(keys.folder), str(seconds),
         str(size)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        text=True,
    )  # fmt: skip


def go(writers: list[subprocess.Popen[str]]) -> None:
    """Let them begin, all at once."""
    for one in writers:
        assert one.stdout is not None
        if one.stdout.readline().strip() != "ready":
            raise RuntimeError("A writer did not start.")
    for one in writers:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()


def main(where: str, folder: str, seconds: str, size: str) -> None:
    logging.getLogger("psycopg").setLevel(logging.CRITICAL)
    with Store(where, keys=FolderKeys(folder), timeout=60) as store:
        made = records(_MADE, seed=os.getpid())
        print("ready", flush=True)
        sys.stdin.readline()
        until = time.monotonic() + float(seconds)
        while time.monotonic() < until:
            some = list(islice(made, int(size)))
            if not some:
                made = records(_MADE, seed=os.getpid())
                continue
            try:
                store.append(some)
            except StoreError:
                # The server was made to crash; what counts is what was acknowledged before.
                return
            # One write, so that a killed process leaves no id by halves but the last.
            os.write(1, "".join(f"{one.id}\n" for one in some).encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
