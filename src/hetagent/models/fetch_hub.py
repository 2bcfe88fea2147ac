"""Weights on a Hugging Face hub: which file a reference means, its hash, and its download."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hetagent.errors import DownloadError, HetagentError, UnknownModelError
from hetagent.models.catalog import HubRef
from hetagent.models.fetch_progress import DownloadProgress

__all__ = ["HubFile", "choose_file", "describe", "fetch_from_hub", "parse_hub_reference"]

_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_FILE_REFERENCE = re.compile(rf"({_NAME}/{_NAME})/([^:]+\.gguf)", re.IGNORECASE)
_QUANT_REFERENCE = re.compile(rf"({_NAME}/{_NAME}):([A-Za-z0-9_-]+)")
_SHARD = re.compile(r"-\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class HubFile:
    """One version of one file on the hub.

    Attributes:
        repo: ``owner/name``.
        file: Path in the repository.
        revision: The commit it was seen at.
        size_bytes: Its size; ``None`` where the hub does not tell.
        sha256: Its hash as the hub has it; ``None`` for a file the hub keeps without one.
    """

    repo: str
    file: str
    revision: str
    size_bytes: int | None
    sha256: str | None


def parse_hub_reference(text: str) -> tuple[HubRef, str] | None:
    """Read a hub reference.

    Args:
        text: ``owner/repo/file.gguf`` or ``owner/repo:QUANTISATION``, with or without ``hf://``.

    Returns:
        The repository with its file, and the quantisation (empty where the file is given);
        ``None`` where ``text`` is something else.
    """
    bare = text.removeprefix("hf://")
    if (match := _FILE_REFERENCE.fullmatch(bare)) and ".." not in bare.split("/"):
        return HubRef(match[1], match[2]), ""
    if match := _QUANT_REFERENCE.fullmatch(bare):
        return HubRef(match[1], None), match[2].upper()
    return None


def choose_file(files: Iterable[str], quantisation: str, *, repo: str) -> str:
    """Find the file of a quantisation among a repository's files.

    Args:
        files: Paths in the repository.
        quantisation: Such as ``"Q4_K_M"``; case does not matter.
        repo: For the message.

    Raises:
        UnknownModelError: There is none; the hint lists the GGUF files there are.
    """
    weights = [f for f in files if f.lower().endswith(".gguf") and "mmproj" not in f.lower()]
    whole = [f for f in weights if not _SHARD.search(f)]
    token = re.compile(rf"(?:^|[-._/]){re.escape(quantisation)}(?=[-._/])", re.IGNORECASE)
    matching = [f for f in whole if token.search(f)]
    if matching:
        return min(matching, key=lambda f: (len(f), f))
    listed = ", ".join(sorted(whole)[:12]) or "no single-file GGUF"
    raise UnknownModelError(
        f"{repo} has no {quantisation} file.",
        hint=f"It has: {listed}. Refer to one as {repo}/FILE.",
    )


def describe(ref: HubRef, quantisation: str) -> HubFile:
    """Ask the hub for a file's size, hash and commit.

    Args:
        ref: The repository and, where known, the file.
        quantisation: What to look for where the file is not known.

    Raises:
        UnknownModelError: There is no such repository or file.
        DownloadError: The hub cannot be reached, or refuses.
    """
    with _hub_errors(ref.repo, ref.file):
        import huggingface_hub as hub

        file = ref.file
        if file is None:
            api = hub.HfApi(endpoint=_endpoint())
            file = choose_file(api.list_repo_files(ref.repo), quantisation, repo=ref.repo)
        url = hub.hf_hub_url(ref.repo, file, endpoint=_endpoint())
        seen = hub.get_hf_file_metadata(url)
        etag = seen.etag or ""
        return HubFile(
            repo=ref.repo,
            file=file,
            revision=seen.commit_hash or "main",
            size_bytes=seen.size,
            sha256=etag if _SHA256.fullmatch(etag) else None,
        )


def fetch_from_hub(found: HubFile, *, staging: Path, progress: DownloadProgress) -> Path:
    """Download a file.

    Args:
        found: What to download, as `describe` gave it.
        staging: An empty folder to download into.
        progress: Told of the bytes.

    Returns:
        The downloaded file, within ``staging``; its hash is not checked yet.

    Raises:
        UnknownModelError: There is no such repository or file.
        DownloadError: The hub cannot be reached, or the download broke off.
    """
    progress.expect(found.size_bytes)
    progress.say(f"from {found.repo}")
    with _hub_errors(found.repo, found.file), _quiet_hub(), progress.watching(staging):
        import huggingface_hub as hub

        return Path(
            hub.hf_hub_download(
                found.repo,
                found.file,
                revision=found.revision,
                local_dir=staging,
                endpoint=_endpoint(),
            )
        )


def _endpoint() -> str | None:
    # Read at each call: huggingface_hub itself reads it only once, when it is imported.
    return os.environ.get("HF_ENDPOINT") or None


@contextmanager
def _quiet_hub() -> Iterator[None]:
    """Keep the hub's own progress bars away while ours is shown."""
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


@contextmanager
def _hub_errors(repo: str, file: str | None) -> Iterator[None]:
    """Turn whatever the hub client raises into an error of ours."""
    try:
        yield
    except HetagentError:
        raise
    except Exception as error:
        raise _translate(error, repo, file) from error


def _translate(error: Exception, repo: str, file: str | None) -> HetagentError:
    from huggingface_hub import errors

    what = f"{repo}/{file}" if file else repo
    host = _endpoint() or "the Hugging Face hub"
    if isinstance(error, errors.GatedRepoError):
        return _refused(f"{repo} is gated: its licence must be accepted first.", repo)
    if isinstance(error, errors.RepositoryNotFoundError):
        return UnknownModelError(
            f"{repo} is not a repository of {host}, or it is private.",
            hint="Check the name (a path must exist as it is written); for a private repository "
            "log in with `hf auth login`.",
        )
    if isinstance(error, errors.EntryNotFoundError) and not isinstance(
        error, errors.LocalEntryNotFoundError
    ):
        return UnknownModelError(
            f"{repo} has no file {file}.",
            hint=f"Name a quantisation instead ({repo}:Q4_K_M) and the file is looked up.",
        )
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return _refused(f"{host} refused access to {what} (HTTP {status}).", repo)
    cause = error.__cause__ if isinstance(error, errors.LocalEntryNotFoundError) else None
    detail = " ".join(str(cause or error).split())[:300] or type(error).__name__
    return DownloadError(
        f"{what} could not be fetched from {host}: {detail.rstrip('.')}.",
        hint="Check the network, its proxy settings and HF_ENDPOINT, then try again; or download "
        "the .gguf yourself and give its path.",
    )


def _refused(message: str, repo: str) -> DownloadError:
    error = DownloadError(
        message,
        hint=f"Accept the licence on the page of {repo} and log in with `hf auth login`, or set "
        "HF_TOKEN.",
    )
    error.retryable = False
    return error
