"""Where the cache keeps the file that a reference means."""

from __future__ import annotations

from pathlib import Path

from hetagent.errors import ModelFileError, UnknownModelError
from hetagent.models.catalog import CatalogModel, HubRef, Quantisation, select
from hetagent.models.fetch_hub import choose_file, parse_hub_reference
from hetagent.models.fetch_store import is_trusted
from hetagent.paths import cache_dir

__all__ = ["cached_hub_file", "hub_path", "model_path", "source_path"]


def source_path(name: str) -> tuple[Path | None, str | None]:
    """Where the file of a reference is kept, whether or not it is there, and its pinned SHA-256.

    Returns:
        The path, ``None`` where it is known only once it is pulled; and the hash, ``None`` where
        nobody knows it beforehand.

    Raises:
        UnknownModelError: There is no such model or quantisation in the catalogue.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path, None
    hub = parse_hub_reference(name)
    if hub is not None:
        return hub_path(hub[0]) if hub[0].file else cached_hub_file(*hub), None
    if name.lower().endswith(".gguf"):
        return path, None
    model, quantisation = select(name)
    return model_path(model, quantisation), quantisation.sha256


def _models_folder() -> Path:
    try:
        return cache_dir() / "models"
    except OSError as error:
        raise ModelFileError(
            f"The cache folder cannot be made: {error}.",
            hint="Set HETAGENT_CACHE to a folder that can be written.",
        ) from error


def model_path(model: CatalogModel, quantisation: Quantisation) -> Path:
    """Where a catalogue model's file is kept."""
    return _models_folder() / model.name / quantisation.file


def hub_path(ref: HubRef) -> Path:
    """Where a hub file is kept; the repository's folder where no file is named."""
    return _models_folder() / "hub" / ref.repo.replace("/", "--") / (ref.file or "")


def cached_hub_file(ref: HubRef, quantisation: str) -> Path | None:
    """A hub file that was pulled; ``None`` where it was not."""
    path = hub_path(ref)
    if ref.file is not None:
        return path if is_trusted(path) else None
    pulled = {str(p.relative_to(path)): p for p in path.rglob("*.gguf") if is_trusted(p)}
    try:
        return pulled[choose_file(pulled, quantisation, repo=ref.repo)]
    except UnknownModelError:
        return None
