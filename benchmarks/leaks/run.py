"""One run: processes that make, record and export calls in a folder, and the search of it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.leaks.cases import Case, case_of
from benchmarks.leaks.outputs import export_all
from benchmarks.leaks.search import Hit, Search
from benchmarks.leaks.traffic import send
from benchmarks.leaks.upstream import upstream

__all__ = ["Leak", "Result", "run"]

_READY = 120.0
_WRITTEN = 600.0


@dataclass(frozen=True)
class Leak:
    """A value that is where it must not be.

    Attributes:
        value: It.
        where: In which part, or of which case's record.
        around: What stands around it.
    """

    value: str
    where: str
    around: str


@dataclass
class Result:
    """What a run found.

    Attributes:
        calls: That were made, by the way in.
        lost: Calls that were not recorded.
        failed: Commands that failed, with what they said.
        read: Files and bytes that were searched, by part.
        values: Values that were looked for in files.
        in_files: What was found there.
        in_records: What was found in the records, decrypted.
        records: Records that were decrypted.
    """

    calls: dict[str, int] = field(default_factory=dict)
    lost: int = 0
    failed: list[str] = field(default_factory=list)
    read: dict[str, tuple[int, int]] = field(default_factory=dict)
    values: int = 0
    in_files: list[Leak] = field(default_factory=list)
    in_records: list[Leak] = field(default_factory=list)
    records: int = 0


def run(
    folder: Path, cases: Sequence[Case], *, outputs: bool = True, redaction: str = ""
) -> Result:
    """Make all calls, then search everything that they left.

    The folder is searched while the gateway still runs, with the log of SQLite not emptied, and
    again when all is closed and exported.

    Args:
        folder: An empty one; the processes have it for temporary files, keys and their home.
        cases: What is said.
        outputs: Whether exports, datasets, workloads, reports and skill files are made too.
        redaction: A redaction file's content, for other than the defaults.
    """
    result = Result()
    search = Search(value for case in cases for value in case.values if _told_apart(value))
    result.values = len(search.values)
    places = _Places(folder, redaction)
    with upstream() as address:
        with _gateway(places, address) as base:
            result.calls["gateway"] = send(base, cases)
            result.lost += _wait_written(base)
            said = places.program(address, cases)
            result.calls["LiteLLM and orchestrator"] = said["calls"]
            result.lost += said["lost"]
            _search(result, "while it runs", folder, search)
        _search(result, "closed", folder, search)
    if outputs:
        (folder / "out").mkdir()
        result.failed = export_all(places.command, folder / "out", str(places.store))
        _search(result, "exported", folder, search)
    _read_records(result, places, cases)
    return result


class _Places:
    """The folder's parts, and processes that work in it."""

    def __init__(self, folder: Path, redaction: str) -> None:
        self.folder = folder
        self.store = folder / "calls.db"
        self.keys = folder / "keys"
        for name in ("tmp", "home", "logs", "work", "keys"):
            (folder / name).mkdir(mode=0o700)
        self.redaction = self.keys / "redaction.toml" if redaction else None
        if self.redaction is not None:
            self.redaction.write_text(redaction, encoding="utf-8")
        self._number = 0

    @property
    def environment(self) -> dict[str, str]:
        root = str(Path(__file__).parents[2])
        path = os.pathsep.join([root, *[one for one in sys.path if one]])
        home = str(self.folder / "home")
        return {
            **os.environ, "PYTHONPATH": path, "TMPDIR": str(self.folder / "tmp"), "HOME": home,
            "XDG_CACHE_HOME": f"{home}/cache", "XDG_DATA_HOME": f"{home}/data",
            "XDG_CONFIG_HOME": f"{home}/config", "HETAGENT_KEYS": str(self.keys),
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }  # fmt: skip

    def log(self, name: str) -> Path:
        self._number += 1
        return self.folder / "logs" / f"{self._number:03d}-{name}"

    def command(self, *words: str) -> str:
        """What a command prints, which is kept too."""
        name = "-".join(re.sub(r"\W", "", word) for word in words[:2])[:40]
        log = self.log(name)
        words = ("-m", "benchmarks.leaks.process", f"{log}.log", *words)
        done = self._ran(words, log, None)
        if done.returncode:
            raise RuntimeError(done.stderr.decode(errors="replace")[-300:])
        return done.stdout.decode()

    def program(self, address: str, cases: Sequence[Case]) -> dict[str, Any]:
        log = self.log("program")
        given = [{**asdict(case), "marked": case.marked} for case in cases]
        words = ("-m", "benchmarks.leaks.program", f"{log}.log", str(self.store), address,
                 str(self.folder / "outcomes.jsonl"), str(self.redaction or ""))  # fmt: skip
        done = self._ran(words, log, json.dumps(given).encode())
        if done.returncode:
            raise RuntimeError(done.stderr.decode(errors="replace")[-2000:])
        said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return said

    def _ran(
        self, words: Sequence[str], log: Path, given: bytes | None
    ) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            [sys.executable, *words],
            input=given,
            capture_output=True,
            cwd=self.folder / "work",
            env=self.environment,
            check=False,
        )
        Path(f"{log}.out").write_bytes(done.stdout)
        Path(f"{log}.err").write_bytes(done.stderr)
        return done


@contextmanager
def _gateway(places: _Places, address: str) -> Iterator[str]:
    """``hetagent serve`` in a process of its own, with everything logged."""
    log = places.log("gateway")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    words = ["serve", "--upstream", f"{address}/v1", "--anthropic", address,
             "--records", str(places.store), "--port", str(port)]  # fmt: skip
    if places.redaction is not None:
        words += ["--redaction", str(places.redaction)]
    with Path(f"{log}.out").open("wb") as out, Path(f"{log}.err").open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.leaks.process", f"{log}.log", *words],
            stdout=out,
            stderr=err,
            cwd=places.folder / "work",
            env=places.environment,
        )
        try:
            base = f"http://127.0.0.1:{port}"
            _wait_up(base, process)
            yield base
            process.send_signal(signal.SIGTERM)
            process.wait(120)
        finally:
            process.kill()
            process.wait()


def _wait_up(base: str, process: subprocess.Popen[bytes]) -> None:
    import httpx

    end = time.monotonic() + _READY
    while time.monotonic() < end and process.poll() is None:
        try:
            httpx.get(f"{base}/gateway/status")
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("The gateway did not start.")


def _wait_written(base: str) -> int:
    """Until all is written; how many calls were not."""
    import httpx

    end = time.monotonic() + _WRITTEN
    while time.monotonic() < end:
        records = httpx.get(f"{base}/gateway/status").json()["records"]
        if not records["waiting"]:
            return int(records["lost"])
        time.sleep(0.2)
    raise RuntimeError("The gateway does not write what it recorded.")


def _search(result: Result, when: str, folder: Path, search: Search) -> None:
    """Everything but the keys, which hold no text."""
    files = size = 0
    known = {(leak.value, leak.where.partition(": ")[2]) for leak in result.in_files}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "keys" not in path.relative_to(folder).parts:
            files, size = files + 1, size + path.stat().st_size
            for hit in search.file(path):
                leak = _leak(hit, when, folder)
                if (leak.value, leak.where.partition(": ")[2]) not in known:
                    result.in_files.append(leak)
    result.read[when] = files, size


def _leak(hit: Hit, when: str, folder: Path) -> Leak:
    where = hit.where.replace(f"{folder}{os.sep}", "")
    around = hit.around.decode(errors="backslashreplace")
    return Leak(hit.value, f"{when}: {where} as {hit.form}", around)


def _read_records(result: Result, places: _Places, cases: Sequence[Case]) -> None:
    """All records decrypted, with their plain columns: each for the values of its own case."""
    from hetagent.learn.keys import FolderKeys
    from hetagent.learn.store import Reader

    by_number = {case.number: case for case in cases}
    with Reader(places.store, keys=FolderKeys(places.keys)) as reader:
        for record in reader.records():
            result.records += 1
            said = record.to_json()
            case = by_number.get(number) if (number := case_of(said)) is not None else None
            if case is not None:
                result.in_records += _in_record(case, record.to_dict())


def _in_record(case: Case, record: Mapping[str, Any]) -> list[Leak]:
    found = []
    texts = list(_texts(record))
    for value in case.values:
        whole = re.compile(rf"(?<![^\W_]){re.escape(value)}(?![^\W_])", re.IGNORECASE)
        for where, text in texts:
            match = whole.search(text)
            if match is not None:
                around = text[max(0, match.start() - 40) : match.end() + 40]
                found.append(Leak(value, f"case {case.number} ({case.half}), {where}", around))
                break
    return found


def _texts(value: Any, where: str = "record") -> Iterator[tuple[str, str]]:
    """All texts in a value, with where they are; what is JSON in a text is read as such too."""
    if isinstance(value, str):
        yield where, value
        try:
            inner = json.loads(value) if value[:1] in "{[" else None
        except ValueError:
            inner = None
        if inner is not None:
            yield from _texts(inner, f"{where} (JSON)")
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield f"a key of {where}", str(key)
            yield from _texts(one, f"{where}.{key}")
    elif isinstance(value, Sequence):
        for one in value:
            yield from _texts(one, f"{where}[]")


def _told_apart(value: str) -> bool:
    """Whether a value found in a file was not drawn as a surrogate for another one."""
    from hetagent.learn.redact.lexicon import GIVEN
    from hetagent.learn.redact.pools import FEMALE_POOL, MALE_POOL, SURNAMES

    pools = {name.lower() for pool in (GIVEN, FEMALE_POOL, MALE_POOL, SURNAMES) for name in pool}
    return value.lower() not in pools
