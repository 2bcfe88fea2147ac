from __future__ import annotations

import json
from pathlib import Path

import pytest

from hetagent.errors import ModelFileError, UnknownModelError
from hetagent.models.catalog import select
from hetagent.models.fetch import cached_path, pull, remove, resolve
from hetagent.models.fetch_paths import model_path
from hetagent.models.fetch_store import record_path, sha256_of
from hetagent.models.variants import (
    Variant,
    commit_variant,
    read_variant,
    split_reference,
    variant_path,
    variants_of,
)

SMOL = "smollm2-135m-instruct"


def keep(source: Path, kind: str = "q8_0", **changes: object) -> Path:
    """A variant as optimising leaves it, of made-up weights."""
    path = variant_path(source, kind)
    partial = source.with_name("made.partial")
    partial.write_bytes(b"GGUF " + kind.encode())
    stat = source.stat()
    known = Variant(
        kind,
        sha256_of(partial),
        partial.stat().st_size,
        source=source.name,
        source_sha256=sha256_of(source),
        source_size_bytes=stat.st_size,
        source_mtime_ns=stat.st_mtime_ns,
    )
    fields = {name: getattr(known, name) for name in Variant.__slots__} | changes
    commit_variant(partial, path, variant=Variant(**fields))
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "mine.gguf"
    path.write_bytes(b"GGUF original")
    return path


def test_a_variant_is_found_by_the_name_of_its_source(source: Path):
    path = keep(source)
    assert path.name == "mine@q8_0.gguf"
    assert resolve(f"{source}@q8_0") == resolve(f"{source}@Q8_0") == path
    assert pull(f"{source}@q8_0") == cached_path(f"{source}@q8_0") == path
    assert resolve(path) == path
    assert variants_of(source) == {"q8_0": path}
    known = read_variant(path)
    assert known is not None
    assert known.made_at.startswith("20")


def test_one_that_was_not_made_says_how_to_make_it(source: Path):
    keep(source, "q4_0")
    with pytest.raises(UnknownModelError, match="has not been made") as caught:
        resolve(f"{source}@q8_0")
    assert f"hetagent models optimize {source} --type q8_0" in caught.value.hint
    assert f"{source}@q4_0" in caught.value.message
    assert cached_path(f"{source}@q8_0") is None


def test_an_unknown_type_or_model(source: Path, scratch_cache: Path):
    with pytest.raises(UnknownModelError, match="no type 'q9'"):
        resolve(f"{source}@q9")
    with pytest.raises(UnknownModelError, match="not a model of the catalogue"):
        resolve("smolm@q8_0")


def test_a_stale_one_is_refused(source: Path):
    path = keep(source)
    source.write_bytes(b"GGUF another")
    with pytest.raises(ModelFileError, match="is stale") as caught:
        resolve(f"{source}@q8_0")
    assert "models optimize" in caught.value.hint
    assert remove(f"{source}@q8_0") == path
    assert list(source.parent.iterdir()) == [source]


def test_a_source_that_was_only_touched_is_the_same(source: Path):
    path = keep(source, source_mtime_ns=1)
    assert resolve(f"{source}@q8_0") == path


def test_one_outlives_its_source(source: Path):
    path = keep(source)
    source.unlink()
    assert resolve(f"{source}@q8_0") == path


def test_one_that_is_not_whole_counts_as_not_made(source: Path):
    path = keep(source)
    path.write_bytes(b"GGUF")
    with pytest.raises(UnknownModelError, match="has not been made"):
        resolve(f"{source}@q8_0")
    keep(source)
    record_path(path).write_text("{}")
    assert variants_of(source) == {}


def test_a_catalogue_model_is_stale_by_its_pinned_hash(scratch_cache: Path):
    model, quantisation = select(SMOL)
    source = model_path(model, quantisation)
    source.parent.mkdir(parents=True)
    source.write_bytes(b"GGUF original")
    path = keep(source, source_sha256=quantisation.sha256)
    source.unlink()  # the pinned hash is enough
    assert resolve(f"{SMOL}@q8_0") == resolve(f"{SMOL}:Q4_1@q8_0") == path
    record = json.loads(record_path(path).read_text())
    record_path(path).write_text(json.dumps(record | {"source_sha256": "0" * 64}))
    with pytest.raises(ModelFileError, match=f"{SMOL}@q8_0 is stale"):
        resolve(f"{SMOL}@q8_0")


def test_names_that_hold_an_at_sign(tmp_path: Path):
    assert split_reference("me@home/x.gguf") is None
    assert split_reference("owner/repo:Q4_K_M@q8_0") == ("owner/repo:Q4_K_M", "q8_0")
    there = tmp_path / "odd@name"
    there.write_bytes(b"GGUF")
    assert resolve(str(there)) == there


def test_removing_pulled_weights_and_what_cannot_be_removed(source: Path, scratch_cache: Path):
    with pytest.raises(UnknownModelError, match="is a file"):
        remove(str(source))
    with pytest.raises(UnknownModelError, match="not on this machine"):
        remove(SMOL)
    with pytest.raises(UnknownModelError, match="to remove"):
        remove(f"{SMOL}@q8_0")
    assert source.exists()
