from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hetagent.engine.quantize import TYPES, check_type, default_types, requantise, weights_type
from hetagent.errors import BackendError, ModelFileError, UnknownModelError
from tests.support.stand_in import crashing_library


def test_the_real_model_in_another_type(smol_path: Path, tmp_path: Path):
    target = tmp_path / "smol.gguf"
    seen: list[tuple[int, int]] = []
    requantise(smol_path, target, kind="Q8_0", on_progress=lambda *at: seen.append(at))
    assert weights_type(smol_path) == "q4_1"
    assert weights_type(target) == "q8_0"
    assert target.stat().st_size > 1.3 * smol_path.stat().st_size
    assert seen[0] == (1, 272)
    assert seen[-1] == (272, 272)
    assert list(tmp_path.iterdir()) == [target]


def test_the_types_are_those_of_llama_cpp():
    import llama_cpp

    for name, number in TYPES.items():
        constant = f"LLAMA_FTYPE_MOSTLY_{name.upper()}" if name != "f32" else "LLAMA_FTYPE_ALL_F32"
        assert getattr(llama_cpp, constant) == number
    assert set(default_types()) <= set(TYPES)


def test_an_unknown_type_names_those_there_are():
    with pytest.raises(UnknownModelError, match="q8_0"):
        check_type("q9")


def test_a_file_is_not_overwritten(smol_path: Path, tmp_path: Path):
    target = tmp_path / "there.gguf"
    target.write_bytes(b"mine")
    with pytest.raises(ModelFileError, match="exists already"):
        requantise(smol_path, target, kind="q8_0")
    assert target.read_bytes() == b"mine"


def test_a_truncated_source_is_refused_in_the_words_of_llama_cpp(smol_path: Path, tmp_path: Path):
    source = tmp_path / "short.gguf"
    with smol_path.open("rb") as file:
        source.write_bytes(file.read(20_000_000))
    with pytest.raises(ModelFileError, match="not within the file bounds"):
        requantise(source, tmp_path / "out.gguf", kind="q8_0")
    assert list(tmp_path.iterdir()) == [source]


def test_an_interrupt_in_the_middle_leaves_nothing(smol_path: Path, tmp_path: Path):
    def press_control_c(done: int, total: int) -> None:
        if done == 50:
            assert list(tmp_path.iterdir())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        requantise(smol_path, tmp_path / "out.gguf", kind="q8_0", on_progress=press_control_c)
    assert list(tmp_path.iterdir()) == []


def test_a_crash_of_llama_cpp_is_an_error(
    smol_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LLAMA_CPP_LIB_PATH", str(crashing_library(tmp_path / "lib", "SIGSEGV")))
    with pytest.raises(BackendError, match="SIGSEGV"):
        requantise(smol_path, tmp_path / "out.gguf", kind="q8_0")
    assert [path.name for path in tmp_path.iterdir()] == ["lib"]


def test_the_child_ends_with_its_parent(smol_path: Path, tmp_path: Path):
    target = tmp_path / "out.gguf"
    command = [sys.executable, "-m", "hetagent.engine.quantize", str(smol_path), str(target)]
    child = subprocess.Popen([*command, "f32"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()  # it is at work
    _, _ = child.communicate(timeout=30)  # closes its standard input, as the parent's end does
    assert child.returncode == 1
    assert not target.exists()


def test_a_full_disk_is_seen_before_anything_is_written(smol_path: Path, tmp_path: Path):
    code = (
        "import collections, shutil, sys\n"
        "from hetagent.engine import quantize\n"
        "usage = collections.namedtuple('usage', 'total used free')(10**9, 10**9, 10**8)\n"
        "shutil.disk_usage = lambda folder: usage\n"
        "quantize.main()\n"
    )
    target = tmp_path / "out.gguf"
    command = [sys.executable, "-c", code, str(smol_path), str(target), "q8_0"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        answer = child.stdout.read().decode()
    assert "0.10 GB free" in answer
    assert "needs 0.21 GB" in answer
    assert not target.exists()
