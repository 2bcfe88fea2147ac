"""Pulls the model of a catalogue file in a process of its own, so that a test can kill it.

Usage: python fetch_worker.py CATALOG.json NAME
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from hetagent.models.catalog import parse_catalog, select
from hetagent.models.fetch import pull_quantisation


def main(catalog_file: str, name: str) -> None:
    models = parse_catalog(json.loads(Path(catalog_file).read_text()))
    model, quantisation = select(name, catalog={m.name: m for m in models})
    sys.stdout.write(f"{pull_quantisation(model, quantisation, progress=True)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
