"""All that can be made of recorded calls: exports, datasets, workloads, reports, skill files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

__all__ = ["export_all"]

Command = Callable[..., str]


def export_all(command: Command, folder: Path, store: str) -> list[str]:
    """Run the commands; those that failed, with what they said.

    Args:
        command: Runs the command line's words and gives what it printed; raises `RuntimeError`.
        folder: Where everything goes.
        store: The store.
    """
    records = folder / "hetagent.jsonl"
    steps = [
        ["lines", store, str(folder)],
        ["records", "list", "--store", store, "--json", "--limit", "100000"],
        ["records", "summary", "--store", store],
        ["records", "export", str(folder / "plain"), "--store", store],
        ["records", "export", str(folder / "said"), "--store", store, "--text"],
        ["records", "summary", "--exported", str(folder / "said")],
        ["curate", str(records), "--out", str(folder / "dataset"), "--trainable", "unknown",
         "--trainable", "trainable", "--interactive", "--balance", "none"],
        ["workloads", "--records", str(records), "--interactive",
         "--save", str(folder / "workloads"), "--json"],
        ["report", "--workloads", str(folder / "workloads"), "--out", str(folder / "report.html")],
    ]  # fmt: skip
    failed = []
    for words in steps:
        try:
            said = command(*words)
            if words[0] == "workloads":
                failed += _skills(command, folder, said)
        except RuntimeError as error:
            failed.append(f"{' '.join(words)[:80]}: {error}")
    return failed


def _skills(command: Command, folder: Path, said: str) -> list[str]:
    """A file of Python for each workload."""
    failed = []
    for at, one in enumerate(json.loads(said)["workloads"]):
        words = ["workloads", "export", one["name"], "--saved", str(folder / "workloads"),
                 "--interactive", "--out", str(folder / f"skill_{at}.py")]  # fmt: skip
        try:
            command(*words)
        except RuntimeError as error:
            failed.append(f"{' '.join(words)[:80]}: {error}")
    return failed
