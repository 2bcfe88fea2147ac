"""``hetagent report``: certificates, logs and audits as one page, or as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from hetagent.calibrate.audits import Audits, AuditStatus
from hetagent.calibrate.certificate import Certificate
from hetagent.cli.workloads import workloads_of
from hetagent.errors import InputError, MissingExtraError, StoreError
from hetagent.learn.cluster import Workloads
from hetagent.report.figures import Report
from hetagent.report.page import page
from hetagent.report.runs import read_runs

__all__ = ["run_report"]


def run_report(
    *,
    certificates: Sequence[Path],
    logs: Sequence[Path],
    audits: Sequence[Path],
    out: Path | None,
    as_json: bool,
    workloads: Path | None = None,
    records: list[str] | None = None,
) -> None:
    """Write the page, and say where it is or print its numbers.

    Args:
        certificates: Files, or folders of ``.json`` files.
        logs: Files of JSON lines.
        audits: Files of what `Audits.to_dict` gives.
        out: Where the page goes; ``None`` for ``report.html``, or for none where JSON is wanted.
        as_json: Whether to print the numbers as JSON.
        workloads: A folder that `Workloads.save` wrote.
        records: Where workloads were found before, or files to find them in. Where nothing is
            given at all it is the default store.

    Raises:
        InputError: There is nothing to report on, or a file cannot be read or written.
        CertificateError: A certificate, or the state of audits, cannot be read.
        StoreError: The workloads cannot be read.
    """
    found = None
    if workloads is not None or records:
        found = workloads_of(records, workloads, quiet=as_json)
    elif not certificates and not logs:
        found = _of_default_store()
    report = Report.of(
        [Certificate.load(file) for path in certificates for file in _files(path)],
        read_runs(logs),
        [status for path in audits for status in _statuses(path)],
        made=datetime.now(UTC),
        logs=[path.name for path in logs],
    )
    target = out or (None if as_json else Path("report.html"))
    if target is not None:
        _write(target, page(report, workloads=found))
    if as_json:
        more = {} if found is None else {"workloads": found.to_dict()}
        sys.stdout.write(json.dumps({**report.to_dict(), **more}, indent=1) + "\n")
    elif target is not None:
        sys.stdout.write(f"Wrote {target}.\n")


def _of_default_store() -> Workloads:
    try:
        return workloads_of(None)
    except (StoreError, MissingExtraError) as error:
        raise InputError(
            f"There is nothing to report on: {error.message}",
            hint="Give --certificate FILE or --log FILE, each several times if need be, "
            "--records SOURCE or --workloads FOLDER.",
        ) from error


def _files(path: Path) -> list[Path]:
    return sorted(path.glob("*.json")) if path.is_dir() else [path]


def _statuses(path: Path) -> list[AuditStatus]:
    try:
        audits = Audits.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}.", hint="Check the path.") from error
    return [audits.status(name) for name in audits.certificates]


def _write(target: Path, text: str) -> None:
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error}.", hint="Check --out.") from error
