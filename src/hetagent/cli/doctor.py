"""``hetagent doctor``: whether models run on this machine, and what to do where they do not."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hetagent import __version__
from hetagent.engine.probe import BUILD_HINT, Verdict, probe
from hetagent.machine import cpu
from hetagent.models.catalog import DEFAULT_SLM
from hetagent.models.fetch import cached_path, resolve
from hetagent.paths import cache_dir

__all__ = ["run_doctor"]


def run_doctor(model: str | None, *, gpu_layers: int, as_json: bool) -> bool:
    """Examine the machine and print what was found; returns whether models can be run.

    llama.cpp is only ever loaded in child processes here.

    Raises:
        ModelError: The model named by the user cannot be found.
    """
    path = resolve(model) if model else cached_path(DEFAULT_SLM)
    verdict = probe(path, gpu_layers=gpu_layers, again=True)
    report = {
        "hetagent": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu(),
        "gpu": _gpu(),
        "cache": str(cache_dir()),
        "llama_cpp": {**asdict(verdict), "decoded_with": path.name if path else None},
        "advice": _advice(verdict, path),
    }
    if as_json:
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
    else:
        _print(report)
    return verdict.usable


def _advice(verdict: Verdict, path: Path | None) -> list[str]:
    advice = []
    if verdict.status in ("crashed", "missing"):
        advice.append(BUILD_HINT)
    if verdict.status == "fallback":
        advice.append(f"It works, but a better build would be faster. {BUILD_HINT}")
    if verdict.status == "refused":
        advice.append(f"Fetch the model again: hetagent models pull {DEFAULT_SLM} --force")
    if path is None:
        advice.append(
            f"Decoding was not tried: no model is here yet. Run hetagent models pull {DEFAULT_SLM}"
        )
    if _gpu() and verdict.usable and not verdict.gpu:
        advice.append(
            "This build cannot use the GPU. For CUDA: CMAKE_ARGS=-DGGML_CUDA=on pip install "
            "--force-reinstall --no-cache-dir --no-binary llama-cpp-python llama-cpp-python"
        )
    return advice


def _gpu() -> str | None:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "Apple" if sys.platform == "darwin" and platform.machine() == "arm64" else None
    command = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return "; ".join(result.stdout.split("\n")).strip("; ") or None


def _print(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    llama = report["llama_cpp"]
    states = {
        "ok": "[green]ok[/]",
        "fallback": "[yellow]works, without repacked weights[/]",
        "crashed": "[red]crashes[/]",
        "refused": "[red]refuses the model[/]",
        "missing": "[red]cannot be loaded[/]",
    }
    chip = report["cpu"]
    tried = f", decoded with {llama['decoded_with']}" if llama["decoded_with"] else ""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("hetagent", f"{report['hetagent']} on Python {report['python']}")
    table.add_row("platform", Text(report["platform"]))
    table.add_row("CPU", f"{chip['name']}, {chip['cores']} cores, {' '.join(chip['features'])}")
    table.add_row("GPU", report["gpu"] or "none found")
    table.add_row("cache", report["cache"])
    table.add_row("llama.cpp", f"{states[llama['status']]} ({llama['version']}{tried})")
    table.add_row("", Text(llama["detail"] or llama["system"]))
    console = Console(highlight=False)
    console.print(table)
    for advice in report["advice"]:
        console.print(f"\n→ {advice}", markup=False)
