"""The files of bindings: artifacts like others, found by the binding's id."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from hetagent.errors import RegistryError
from hetagent.registry import disk
from hetagent.registry.artifacts import Artifacts, is_hash
from hetagent.registry.binding import Binding
from hetagent.registry.log import Event

__all__ = ["BindingFiles"]

_ID = re.compile(r"[0-9a-f]{16}")


class BindingFiles:
    """The bindings in a registry's folder; one that was read once is remembered.

    Args:
        folder: The registry's.
        artifacts: Where the files go, and what bindings name is looked for.
    """

    def __init__(self, folder: Path, artifacts: Artifacts) -> None:
        self._folder = folder
        self._artifacts = artifacts
        self._loaded: dict[str, Binding] = {}

    def __iter__(self) -> Iterator[str]:
        """The ids of all, sorted."""
        for path in sorted(self._place("").glob("*")):
            if _ID.fullmatch(path.name):
                yield path.name

    def add(self, binding: Binding) -> str:
        """Keep a binding; of one that is here already the first stays.

        Returns:
            Its id.

        Raises:
            RegistryError: An artifact that it names is not here, or it cannot be kept.
        """
        self.check_artifacts(binding)
        if self._is_here(binding.id):
            return binding.id
        file = self._artifacts.put(json.dumps(binding.to_dict(), indent=1).encode())
        place = self._place(binding.id)
        with (
            disk.told(f"The binding {binding.id} cannot be kept in {self._folder}"),
            disk.partial(self._folder / "partial") as written,
        ):
            written.write_text(f"{file}\n", encoding="ascii")
            disk.make_folder(place.parent)
            disk.settle(written, place)
            disk.sync_folder(self._folder)
        return binding.id

    def file_of(self, id: str) -> str:  # noqa: A002 - bindings are named by it
        """Hash of the artifact that is a binding's file.

        Raises:
            RegistryError: There is no such binding.
        """
        place = self._place(id) if _ID.fullmatch(id) else None
        if place is None or not place.is_file():
            raise RegistryError(
                f"There is no binding {id!r} in {self._folder}.",
                hint="`hetagent registry show SKILL` lists a skill's bindings.",
            )
        with disk.told(f"{place} cannot be read"):
            file = place.read_text(encoding="ascii", errors="replace").strip()
        if not is_hash(file):
            raise RegistryError(
                f"{place} does not name a binding's file.", hint="Add the binding again."
            )
        return file

    def load(self, file: str, *, id: str) -> Binding:  # noqa: A002 - bindings are named by it
        """Read a binding's file.

        Args:
            file: The artifact's hash.
            id: The binding that it must hold.

        Raises:
            RegistryError: It is not here, or holds something else.
        """
        binding = self._loaded.get(file)
        if binding is None:
            data = self._artifacts.read(file)
            try:
                binding = Binding.from_dict(json.loads(data))
            except (ValueError, RecursionError) as error:
                raise RegistryError(
                    f"The artifact {file} is no binding: {error}.", hint="Add the binding again."
                ) from error
            self._loaded[file] = binding
        if binding.id != id:
            raise RegistryError(
                f"The artifact {file} is the binding {binding.id}, not {id}.",
                hint="Add the binding again.",
            )
        return binding

    def of(self, event: Event) -> Binding:
        """The binding that an event switched to.

        Raises:
            RegistryError: It is not here.
        """
        return self.load(event.artifact or "", id=event.binding or "")

    def check_artifacts(self, binding: Binding) -> None:
        """Refuse a binding that needs what is not here.

        Raises:
            RegistryError: It does.
        """
        for name, sha256 in binding.artifacts.items():
            if not self._artifacts.has(sha256):
                raise RegistryError(
                    f"The {name} of the binding {binding.id} of {binding.skill} is not in "
                    f"{self._folder}: there is no artifact {sha256}.",
                    hint="Put it there first: registry.put(path).",
                )

    def _is_here(self, id: str) -> bool:  # noqa: A002 - bindings are named by it
        try:
            self.load(self.file_of(id), id=id)
        except RegistryError:
            return False
        return True

    def _place(self, id: str) -> Path:  # noqa: A002 - bindings are named by it
        return self._folder / "bindings" / id
