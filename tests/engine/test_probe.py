"""Whether llama.cpp decodes here, asked of a child so that a crash kills nothing else."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from hetagent import LlamaCpp
from hetagent.engine import probe as module
from hetagent.engine.probe import Verdict, probe, require
from hetagent.errors import BackendError, ModelFileError
from tests.support.stand_in import crashing_library, library_without_extra_buffers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the stand-ins are for Linux")


def remembered(cache: Path) -> list[str]:
    file = cache / "probe.json"
    return (
        [entry["status"] for entry in json.loads(file.read_text()).values()]
        if file.exists()
        else []
    )


def test_a_good_verdict_is_remembered(
    scratch_cache: Path, smol_path: Path, monkeypatch: pytest.MonkeyPatch
):
    verdict = probe(smol_path)
    assert (verdict.status, verdict.detail, verdict.usable) == ("ok", "", True)
    assert verdict.version
    assert "CPU" in verdict.system
    assert remembered(scratch_cache) == ["ok"]
    # No interpreter to start a child with: a second answer can only be remembered.
    monkeypatch.setattr(module.sys, "executable", "/nowhere/python")
    assert probe(smol_path) == verdict
    assert require(smol_path).extra_buffers is True
    with pytest.raises(FileNotFoundError):
        probe(smol_path, again=True)


def test_a_cache_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HETAGENT_CACHE", str(tmp_path / "file" / "cache"))
    assert probe(None).status == "ok"
    assert "HETAGENT_CACHE" in caplog.text


def test_another_file_is_asked_for_again(scratch_cache: Path, smol_path: Path, tmp_path: Path):
    other = tmp_path / "other.gguf"
    shutil.copy(smol_path, other)
    assert module._key(smol_path, 0) != module._key(other, 0)
    before = module._key(other, 0)
    other.write_bytes(smol_path.read_bytes() + b"x")
    assert module._key(other, 0) != before
    assert module._key(smol_path, 0) != module._key(smol_path, -1)
    assert module._key(None, 0) != module._key(smol_path, 0)


@pytest.mark.parametrize("signal_name", ["SIGSEGV", "SIGILL"])
def test_a_library_that_dies_when_it_is_loaded(
    scratch_cache: Path,
    smol_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    signal_name: str,
):
    folder = crashing_library(tmp_path / "lib", signal_name)
    monkeypatch.setenv("LLAMA_CPP_LIB_PATH", str(folder))
    for model in (None, smol_path):
        verdict = probe(model)
        assert verdict.status == "crashed"
        assert signal_name in verdict.detail
        assert not verdict.usable
    # Its own fault, which would come again: not tried anew before every call.
    assert remembered(scratch_cache) == ["crashed", "crashed"]
    monkeypatch.setattr(module.sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(BackendError, match=signal_name) as caught:
        require(smol_path)
    assert "CMAKE_ARGS" in caught.value.hint
    # Options of its own: models that agree on all share what is loaded already.
    with LlamaCpp(smol_path, context=333) as model, pytest.raises(BackendError, match="cannot run"):
        model.load()


def test_a_library_that_dies_with_repacked_weights_only(
    scratch_cache: Path, smol_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = library_without_extra_buffers(tmp_path / "lib")
    monkeypatch.setenv("LLAMA_CPP_LIB_PATH", str(folder))
    verdict = probe(smol_path)
    assert verdict.status == "fallback", verdict
    assert "SIGSEGV" in verdict.detail
    assert "more slowly" in verdict.detail
    assert verdict.usable
    assert remembered(scratch_cache) == ["fallback"]
    assert require(smol_path).extra_buffers is False


def test_a_library_that_dies_with_every_model(
    scratch_cache: Path, smol_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = library_without_extra_buffers(tmp_path / "lib", always=True)
    monkeypatch.setenv("LLAMA_CPP_LIB_PATH", str(folder))
    assert probe(None).status == "ok", "the library itself can be loaded"
    assert probe(smol_path).status == "crashed"


def test_a_library_that_is_not_there(
    scratch_cache: Path, smol_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LLAMA_CPP_LIB_PATH", str(tmp_path))
    verdict = probe(None)
    assert verdict.status == "missing"
    assert "cannot be loaded" in verdict.detail
    with pytest.raises(BackendError):
        require(smol_path)


def test_a_child_that_never_answers(
    scratch_cache: Path, smol_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "TIMEOUT", 0.01)
    verdict = probe(smol_path)
    assert (verdict.status, "no answer within" in verdict.detail) == ("crashed", True)
    assert remembered(scratch_cache) == []


def test_a_file_that_is_refused(scratch_cache: Path, smol_path: Path, tmp_path: Path):
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(smol_path.read_bytes()[:5000])
    assert probe(cut).status == "refused"
    assert remembered(scratch_cache) == []
    with pytest.raises(ModelFileError, match=r"cut\.gguf") as caught:
        require(cut)
    assert str(caught.value).count("cannot load") == 1
    assert "fetch it again" in caught.value.hint


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_a_damaged_memory_is_forgotten(
    scratch_cache: Path, monkeypatch: pytest.MonkeyPatch, text: str
):
    scratch_cache.mkdir()
    (scratch_cache / "probe.json").write_text(text)
    assert module._recall() == {}
    module._remember("key", Verdict("ok"))
    assert module._recall()["key"]["status"] == "ok"
    assert [path.name for path in scratch_cache.iterdir()] == ["probe.json"]
