"""Bundles: skills with all that they need, in one folder that runs on a machine with no network.

A bundle is a registry whose artifacts are complete: adapters, certificates and tasks, and the base
weights under their hash. Beside them are ``bundle.json``, which says what is in it, and a
``README.txt`` for whoever finds the folder.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from hetagent.errors import ChecksumError, InputError, RegistryError
from hetagent.learn.bundle_text import readme
from hetagent.learn.task import Task
from hetagent.models.fetch import resolve
from hetagent.registry import Binding, Registry, disk
from hetagent.skill import Skill

__all__ = ["Bundle", "bundle", "check_bundle", "skill_of"]

FORMAT = 1
FACTS = "bundle.json"
README = "README.txt"

HOLDS = (
    "A certificate holds for the version of hetagent that it was made with: another refuses it, "
    "and the LLM alone serves. Another processor or build of llama.cpp moves probabilities a "
    "little, so where the promise matters, audit answers there, or calibrate there again."
)

Tell = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Bundle:
    """What is in a bundle.

    Attributes:
        folder: Where it is.
        skills: Ids of the bindings by the skills that they serve.
        uncertified: Skills among these that have no certificate.
        declared: Skills among these that are declared in code, which the bundle does not have.
        files: Sizes of its artifacts in bytes, by hash.
        versions: Of what it was made with.
        made: When, in UTC, ISO 8601.
    """

    folder: Path
    skills: Mapping[str, str]
    uncertified: tuple[str, ...]
    declared: tuple[str, ...]
    files: Mapping[str, int]
    versions: Mapping[str, str]
    made: str

    @property
    def size_bytes(self) -> int:
        """Size of its artifacts together."""
        return sum(self.files.values())

    def to_dict(self) -> dict[str, Any]:
        """As JSON data, without where it is."""
        known = {name: value for name, value in asdict(self).items() if name != "folder"}
        return {"format": FORMAT, **known, "size_bytes": self.size_bytes, "holds": HOLDS}

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """What a bundle says is in it; see `check_bundle` for whether that is so.

        Raises:
            InputError: The folder is no bundle, or one of another format.
        """
        path = Path(folder) / FACTS
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if data["format"] != FORMAT:
                raise InputError(
                    f"{folder} is a bundle of format {data['format']!r}, and this version reads "
                    f"{FORMAT}.",
                    hint="Update hetagent, or bundle again with this version.",
                )
            return cls(
                Path(folder),
                {str(skill): str(id_) for skill, id_ in data["skills"].items()},
                tuple(data["uncertified"]),
                tuple(data["declared"]),
                {str(sha256): int(size) for sha256, size in data["files"].items()},
                dict(data["versions"]),
                str(data["made"]),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(
                f"{folder} is no bundle: {path.name} cannot be read ({type(error).__name__}).",
                hint="Name a folder that hetagent bundle made, or make it again.",
            ) from error


def bundle(
    registry: Registry,
    skills: Sequence[str],
    *,
    to: str | os.PathLike[str],
    bindings: Mapping[str, str] | None = None,
    uncertified: bool = False,
    replace: bool = False,
    tell: Tell | None = None,
) -> Bundle:
    """Write a bundle of skills: the bindings that are live, with all they need.

    What they came from is left out, for it may hold examples of calls. The folder is there whole,
    or not at all.

    Args:
        registry: Where the skills are.
        skills: Their names.
        to: The folder to write.
        bindings: Ids of other bindings than those that are live, by skill.
        uncertified: Whether these may have no certificate; of those that are live that was said.
        replace: Whether a bundle that is there is replaced.
        tell: Told the bytes that are copied, and of how many.

    Raises:
        InputError: No skill is named, or the folder is there already.
        RegistryError: A skill has no such binding, it cannot be bundled, or the folder cannot be
            written.
        ChecksumError: A file is not what it was.
        UnknownModelError: The base is not here, and means nothing that can be fetched.
        DownloadError: It could not be fetched.
    """
    target = Path(to).expanduser()
    if not skills:
        raise InputError("No skill is named.", hint="`hetagent registry` lists them.")
    _check_target(target, replace=replace)
    chosen = {name: _chosen(registry, name, bindings or {}) for name in skills}
    for one, is_live in chosen.values():
        _check_binding(one, uncertified=uncertified or is_live)
    files = _files(registry, [one for one, _ in chosen.values()])
    with _whole(target, replace=replace) as folder:
        made = Registry(folder)
        _copy(files, made, tell)
        for name, (one, _) in chosen.items():
            made.add(one)
            made.switch(name, binding=one.id, why="bundled", uncertified=True)
        found = _described(target, [one for one, _ in chosen.values()], files, registry)
        _write(folder / FACTS, json.dumps(found.to_dict(), indent=1) + "\n")
        _write(folder / README, readme(found, holds=HOLDS))
    return found


def check_bundle(folder: str | os.PathLike[str]) -> list[str]:
    """Read everything in a bundle, and hash it.

    Returns:
        What is wrong, in words; nothing where all is well.

    Raises:
        InputError: The folder is no bundle.
    """
    said, registry = Bundle.load(folder), Registry(folder)
    found = registry.verify()
    found += [
        f"The artifact {sha256} is missing." for sha256 in said.files if not registry.has(sha256)
    ]
    try:
        serving = {name: state.live.id for name, state in registry.states().items() if state.live}
    except RegistryError as error:
        return list(dict.fromkeys([*found, error.message]))
    found += [
        f"The binding {id_} does not serve {name}."
        for name, id_ in said.skills.items()
        if serving.get(name) != id_
    ]
    return list(dict.fromkeys(found))


def skill_of(registry: Registry | str | os.PathLike[str], name: str) -> Skill[..., Any]:
    """A skill that was found in recorded calls, as the registry's binding of it has it.

    Args:
        registry: A registry or bundle, or its folder.
        name: The skill's.

    Raises:
        InputError: The registry does not have it: it is declared in code.
        RegistryError: There is no such skill, or it cannot be read.
    """
    known = registry if isinstance(registry, Registry) else Registry(registry)
    state = known.state(name)
    binding = None if state is None else state.live or state.trial
    if binding is None:
        raise RegistryError(
            f"Nothing serves a skill {name!r} in {known.folder}.",
            hint="`hetagent registry` lists the skills it knows.",
        )
    if binding.task is None:
        raise InputError(
            f"The skill {name} is declared in code, and not in {known.folder}.",
            hint="Name it as MODULE:NAME.",
        )
    return Task.from_dict(_json(known, binding.task)).skill


def _chosen(registry: Registry, skill: str, bindings: Mapping[str, str]) -> tuple[Binding, bool]:
    """The binding that is named, or else the live one; and whether it is the live one."""
    state = registry.state(skill)
    live = state.live if state is not None else None
    if (named := bindings.get(skill)) is not None:
        found = registry.binding(named)
        if found.skill != skill:
            raise RegistryError(
                f"The binding {named} is of {found.skill}, not of {skill}.",
                hint=f"`hetagent registry show {skill}` lists those of {skill}.",
            )
        return found, live is not None and live.id == found.id
    if live is None:
        raise RegistryError(
            f"No binding of {skill} is live in {registry.folder}.",
            hint=f"Name one: `hetagent registry show {skill}` lists them.",
        )
    return live, True


def _check_binding(binding: Binding, *, uncertified: bool) -> None:
    if binding.model.kind != "llamacpp":
        raise RegistryError(
            f"The binding {binding.id} of {binding.skill} is a {binding.model.kind}, which cannot "
            "be bundled.",
            hint="Name one that runs a model: `hetagent registry show` lists them.",
        )
    if binding.certificate is None and not uncertified:
        raise RegistryError(
            f"The binding {binding.id} of {binding.skill} has no certificate, so nothing says how "
            "often it is wrong.",
            hint="Calibrate it; `uncertified` bundles it all the same.",
        )


def _files(registry: Registry, bindings: Sequence[Binding]) -> dict[str, Path]:
    """All files that bindings need, by hash."""
    found: dict[str, Path] = {}
    for one in bindings:
        found |= {sha256: registry.path(sha256) for sha256 in one.artifacts.values()}
        base = one.model.base_hash
        if base and one.model.artifact_kind != "weights":
            found[base] = registry.path(base) if registry.has(base) else resolve(one.model.base)
    return found


def _copy(files: Mapping[str, Path], to: Registry, tell: Tell | None) -> None:
    sizes = {sha256: path.stat().st_size for sha256, path in files.items()}
    done, total = 0, sum(sizes.values())

    def count(size: int) -> None:
        nonlocal done
        done += size
        if tell is not None:
            tell(done, total)

    for sha256, path in files.items():
        if (found := to.put(path, tell=count)) != sha256:
            raise ChecksumError(
                f"{path} is not what the binding was made with: its SHA-256 is {found}, and "
                f"{sha256} was expected.",
                hint="Bring back the file; `hetagent registry verify` lists all that is damaged.",
            )


def _described(
    target: Path, bindings: Sequence[Binding], files: Mapping[str, Path], registry: Registry
) -> Bundle:
    from hetagent import __version__
    from hetagent.engine.library import version

    tasks = {one.skill: None if one.task is None else _json(registry, one.task) for one in bindings}
    return Bundle(
        target,
        {one.skill: one.id for one in bindings},
        tuple(one.skill for one in bindings if one.certificate is None),
        tuple(name for name, task in tasks.items() if task is None or "declared" in task),
        {sha256: path.stat().st_size for sha256, path in sorted(files.items())},
        {
            "hetagent": __version__,
            "llama-cpp-python": version(),
            "python": platform.python_version(),
            "machine": platform.machine(),
        },
        datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _json(registry: Registry, sha256: str) -> dict[str, Any]:
    try:
        data = json.loads(registry.path(sha256).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise RegistryError(
            f"The task {sha256} cannot be read: {type(error).__name__}.",
            hint="`hetagent registry verify` lists all that is damaged.",
        ) from error
    if not isinstance(data, dict):
        raise RegistryError(f"The artifact {sha256} is no task.", hint="Convert again.")
    return data


def _check_target(target: Path, *, replace: bool) -> None:
    if not os.path.lexists(target):
        return
    if not replace:
        raise InputError(
            f"{target} is there already.", hint="Name another folder, or have it replaced."
        )
    Bundle.load(target)  # nothing else is ever removed


@contextmanager
def _whole(target: Path, *, replace: bool) -> Iterator[Path]:
    """A folder that takes its place once it was filled; nothing is left of it where it was not."""
    told = f"The bundle {target} cannot be written"
    mark = secrets.token_hex(4)
    folder = target.with_name(f".{target.name}.{mark}.partial")
    old = target.with_name(f".{target.name}.{mark}.old")
    with disk.told(told):
        target.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700)
    try:
        yield folder
        with disk.told(told):
            shutil.rmtree(folder / "partial", ignore_errors=True)
            for lock in folder.glob(".*.lock"):
                lock.unlink()
            disk.sync_folder(folder)
            _check_target(target, replace=replace)  # it may have come meanwhile
            if replace and target.exists():
                os.rename(target, old)
            try:
                os.rename(folder, target)
            except BaseException:
                if old.exists():
                    os.rename(old, target)
                raise
            disk.sync_folder(target.parent)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _write(path: Path, text: str) -> None:
    with disk.told(f"{path} cannot be written"), path.open("x", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
