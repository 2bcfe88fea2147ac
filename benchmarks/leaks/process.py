"""A process whose logs are searched: hetagent's command line, with everything logged to a file.

    python -m benchmarks.leaks.process LOG records list

The command ``lines STORE FOLDER`` is this benchmark's own: all formats of lines at once.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path


def main() -> None:
    log, *words = sys.argv[1:]
    logging.basicConfig(filename=log, level=logging.DEBUG)
    logging.captureWarnings(True)
    if words[0] == "lines":
        _lines(words[1], Path(words[2]))
        return
    from hetagent.cli import main as run

    sys.argv = ["hetagent", *words]
    run()


def _lines(store: str, folder: Path) -> None:
    from hetagent.integrations.exporting import EXPORTS, export_records
    from hetagent.learn.store import Reader

    with Reader(store) as reader:
        for name in EXPORTS:
            records = reader.records()
            path = folder / f"{name}.jsonl"
            export_records(records, path, format=name, interactive=True, no_train=True)


if __name__ == "__main__":
    main()
