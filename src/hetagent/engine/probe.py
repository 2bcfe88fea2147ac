"""Does llama.cpp decode here? Asked of a child process, so that a crash kills nothing else.

A build of llama.cpp can kill the process at import (instructions this CPU lacks) or at the first
decode (a compiler fault in its AMX code); a corrupt file can do the same. So the first time a build
meets a model file, a child process loads it and decodes a few tokens. The answer is remembered in
the cache folder, by build, CPU, file and GPU use.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from hetagent.engine.identity import build_identity, cpu_identity, file_identity
from hetagent.engine.library import version
from hetagent.errors import BackendError, ModelFileError
from hetagent.paths import cache_dir

__all__ = ["BUILD_HINT", "Verdict", "probe", "require"]

_log = logging.getLogger("hetagent")

TIMEOUT = 300.0
# Raised when the probe tries other things, so that what earlier ones found is not believed.
_ROUND = 3
_MARK = "hetagent-probe:"
_lock = threading.Lock()
# Signals that a process earns by what it does; SIGKILL, say, is somebody else's.
_OWN_FAULT = {signal.SIGSEGV, signal.SIGILL, signal.SIGABRT, signal.SIGFPE} | (
    {signal.SIGBUS} if hasattr(signal, "SIGBUS") else set()
)

BUILD_HINT = (
    "Build it again for this CPU: CMAKE_ARGS=\"-DCMAKE_C_FLAGS='-mno-amx-tile -mno-amx-int8 "
    "-mno-amx-bf16' -DCMAKE_CXX_FLAGS='-mno-amx-tile -mno-amx-int8 -mno-amx-bf16'\" pip install "
    "--force-reinstall --no-cache-dir --no-deps --no-binary llama-cpp-python llama-cpp-python "
    "(the flags are for x86-64 with GCC; leave CMAKE_ARGS out elsewhere)."
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a child process found.

    Attributes:
        status: ``"ok"``; ``"fallback"`` where it works only without repacked weights;
            ``"crashed"`` where the child died; ``"refused"`` where llama.cpp refuses the file;
            ``"missing"`` where llama-cpp-python cannot be imported.
        detail: What happened, in words; empty where all is well.
        system: What llama.cpp says of its build and this CPU.
        version: Version of llama-cpp-python.
        gpu: Whether the build can use a GPU.
        lasting: Whether a crash is the build's or the file's own fault, and would come again.
        flash_attention: Which way to attend was measured to be faster with this model on the CPU;
            ``None`` where that was not measured, or makes no difference.
    """

    status: Literal["ok", "fallback", "crashed", "refused", "missing"]
    detail: str = ""
    system: str = ""
    version: str = ""
    gpu: bool = False
    lasting: bool = False
    flash_attention: Literal["on", "off"] | None = None

    @property
    def usable(self) -> bool:
        """Whether models can be run, fast or not."""
        return self.status in ("ok", "fallback")

    @property
    def extra_buffers(self) -> bool:
        """Whether weights may be repacked (llama.cpp's extra buffers)."""
        return self.status == "ok"


def require(model: Path, *, gpu_layers: int = 0) -> Verdict:
    """Make sure that a model can be run in this process.

    Returns:
        What was found; its `usable` is true.

    Raises:
        BackendError: llama.cpp crashes here, or is not there.
        ModelFileError: llama.cpp refuses the file.
    """
    verdict = probe(model, gpu_layers=gpu_layers)
    if verdict.status == "refused":
        raise ModelFileError(
            verdict.detail,
            hint="The file is truncated, corrupt, or of an architecture this llama.cpp does not "
            "know: fetch it again, or update llama-cpp-python.",
        )
    if not verdict.usable:
        raise BackendError(
            f"The installed llama.cpp cannot run {model.name} on this machine: {verdict.detail}",
            hint=f"If other models run, this file is corrupt: fetch it again. {BUILD_HINT}",
        )
    return verdict


def probe(model: Path | None, *, gpu_layers: int = 0, again: bool = False) -> Verdict:
    """Try llama.cpp in a child process, or say what was found before.

    Args:
        model: A GGUF file to decode with; ``None`` only loads the library.
        gpu_layers: Layers to keep on the GPU.
        again: Whether to try again although the answer is remembered.
    """
    key = _key(model, gpu_layers)
    with _lock:
        memory = _recall()
        if key in memory and not again:
            return Verdict(**memory[key])
        verdict = _try(model, gpu_layers)
        # Only lasting answers are kept: a child may also die for lack of memory, or of patience.
        if verdict.usable or verdict.lasting:
            _remember(key, verdict)
        return verdict


def _try(model: Path | None, gpu_layers: int) -> Verdict:
    first = _child(model, gpu_layers, extra_buffers=True)
    if first.status != "crashed" or model is None:
        return first
    second = _child(model, gpu_layers, extra_buffers=False)
    if second.status != "ok":
        return first
    detail = f"{first.detail}; it works without repacked weights, more slowly"
    return replace(second, status="fallback", detail=detail)


def _child(model: Path | None, gpu_layers: int, *, extra_buffers: bool) -> Verdict:
    command = [sys.executable, "-m", "hetagent.engine.probe", "--gpu-layers", str(gpu_layers)]
    command += ["--model", str(model)] if model else []
    command += [] if extra_buffers else ["--no-extra-buffers"]
    try:
        result = subprocess.run(
            command,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )
    except subprocess.TimeoutExpired:
        return Verdict("crashed", f"no answer within {TIMEOUT:.0f} seconds", version=version())
    for line in result.stdout.decode("utf-8", "replace").splitlines():
        if line.startswith(_MARK):
            return Verdict(**json.loads(line.removeprefix(_MARK)))
    lasting = -result.returncode in _OWN_FAULT
    return Verdict("crashed", _death(result), version=version(), lasting=lasting)


def _death(result: subprocess.CompletedProcess[bytes]) -> str:
    words = result.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or [""]
    if result.returncode < 0:
        try:
            name = signal.Signals(-result.returncode).name
        except ValueError:
            name = f"signal {-result.returncode}"
        return f"it was killed by {name} {words[0][:200]}".rstrip()
    return f"it ended with code {result.returncode} {words[0][:200]}".rstrip()


def _key(model: Path | None, gpu_layers: int) -> str:
    parts: list[Any] = [_ROUND, build_identity(), cpu_identity(), gpu_layers != 0]
    if model is not None:
        parts += file_identity(model)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _memory_file() -> Path:
    return cache_dir() / "probe.json"


def _recall() -> dict[str, dict[str, Any]]:
    try:
        memory = json.loads(_memory_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return memory if isinstance(memory, dict) else {}


def _remember(key: str, verdict: Verdict) -> None:
    memory = {**_recall(), key: asdict(verdict)}
    try:
        target = _memory_file()
        temporary = target.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps(memory, indent=1), encoding="utf-8")
        temporary.replace(target)
    except OSError as error:  # as in a folder that cannot be written
        _log.warning(
            "What was found out about llama.cpp here could not be kept, and every process finds it "
            "out again: %s. HETAGENT_CACHE names another folder.",
            error,
        )


def main() -> None:
    """The child: load llama.cpp, decode a little, and print what it found as JSON."""
    parser = argparse.ArgumentParser(prog="python -m hetagent.engine.probe")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--gpu-layers", type=int, default=0)
    parser.add_argument("--no-extra-buffers", action="store_true")
    arguments = parser.parse_args()
    verdict = _examine(arguments.model, arguments.gpu_layers, not arguments.no_extra_buffers)
    sys.stdout.write(f"{_MARK}{json.dumps(asdict(verdict))}\n")
    sys.stdout.flush()
    os._exit(0)  # what is left to clean up is not this probe's question


def _examine(model: Path | None, gpu_layers: int, extra_buffers: bool) -> Verdict:
    from hetagent.engine.library import llama_cpp

    try:
        lib = llama_cpp()
    except BackendError as error:
        return Verdict("missing", error.message, version=version())
    system = " ".join(lib.llama_print_system_info().decode().split())
    gpu = bool(lib.llama_supports_gpu_offload())
    attention = None
    if model is not None:
        from hetagent.engine.attention import faster_attention
        from hetagent.engine.context import Batch, ContextOptions, LlamaContext
        from hetagent.engine.llama import LlamaWeights
        from hetagent.engine.speed import usable_cpus

        try:
            weights = LlamaWeights(model, gpu_layers=gpu_layers, extra_buffers=extra_buffers)
        except ModelFileError as error:
            return Verdict("refused", error.message, system, version(), gpu)
        context = LlamaContext(weights, ContextOptions(cells=256, batch=256, threads=2))
        batch = Batch(256)
        # Many tokens and one: they take different paths through the matrix kernels.
        for position, tokens in ((0, range(5, 69)), (64, [5])):
            batch.clear()
            batch.add_run(list(tokens), position, [0])
            batch.want_last()
            context.submit(batch)
            context.logits(batch)
        context.close()
        if not gpu_layers:
            attention = faster_attention(weights, threads=usable_cpus())
    return Verdict("ok", "", system, version(), gpu, flash_attention=attention)


if __name__ == "__main__":
    main()
