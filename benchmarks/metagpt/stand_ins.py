"""Lets MetaGPT be imported without packages that it imports but the run does not use.

MetaGPT imports the client of every provider and store that it can work with as soon as it is
imported. `StandIns.install` puts a finder behind Python's own: a module of one of the packages
named that is not installed is made of nothing but names. After `StandIns.seal`, anything of such
a module that is called raises `StandInUsedError` and is noted, so that a run in which nothing is
noted has used none of them.

Runs in MetaGPT's environment: imports the standard library alone.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Collection, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["PACKAGES", "StandInUsedError", "StandIns", "missing"]

# What MetaGPT 0.8.2 imports for its software company and does not use there, and what it is for.
PACKAGES = {
    "PIL": "pictures",
    "agentops": "monitoring, where `agentops_api_key` is set",
    "anthropic": "a provider",
    "boto3": "a provider: Bedrock",
    "botocore": "the same",
    "bs4": "reading web pages",
    "dashscope": "a provider",
    "docx": "reading Word files",
    "google": "a provider: Gemini",
    "imap_tools": "a tool of its data interpreter: mail",
    "nbclient": "its data interpreter's notebooks",
    "nbformat": "the same",
    "pandas": "tools of its data interpreter",
    "playwright": "a tool of its data interpreter: browsing",
    "qianfan": "a provider",
    "sklearn": "tools of its data interpreter",
    "sparkai": "a provider",
    "tiktoken": "counting tokens, where `calc_usage` is on; fetches a file",
    "tree_sitter": "one mode of filling a node: `code_fill`",
    "tree_sitter_python": "the same",
    "volcenginesdkarkruntime": "a provider",
    "zhipuai": "a provider",
}


class StandInUsedError(RuntimeError):
    """Something of a package that is stood in for was called."""


class StandIns(MetaPathFinder, Loader):
    """Finds modules of packages that are not installed.

    Attributes:
        packages: The packages that it may stand in for.
        imported: The modules that it stood in for, in the order of their import.
        sealed: Whether calls are refused.
        used: What was called after that; a caller may have swallowed the error.
    """

    def __init__(self, packages: Collection[str]) -> None:
        self.packages = frozenset(packages)
        self.imported: list[str] = []
        self.sealed = False
        self.used: list[str] = []

    def install(self) -> None:
        """Ask it for what Python does not find itself."""
        sys.meta_path.append(self)

    def remove(self) -> None:
        """Stop asking it, and forget the modules that it made."""
        sys.meta_path.remove(self)
        for name in self.imported:
            sys.modules.pop(name, None)

    def seal(self) -> None:
        """Refuse calls from now on."""
        self.sealed = True

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A module that is to be stood in for; ``None`` for all others."""
        if fullname.partition(".")[0] not in self.packages:
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """A module whose every name is a `_Name`."""
        module = _Module(spec.name)
        module.__dict__["_stand_ins"] = self
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Note that it was imported."""
        self.imported.append(module.__name__)

    def name(self, full: str) -> type:
        """A class of the name, which can be named, subclassed and, until sealed, called."""
        return _Name(full.rpartition(".")[2], (), {"_full": full, "_stand_ins": self})


class _Module(ModuleType):
    """Has every name that does not begin with two underscores."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        found = self.__dict__["_stand_ins"].name(f"{self.__name__}.{name}")
        setattr(self, name, found)
        return found


class _Name(type):
    """The class of what is in a module that is stood in for."""

    _full: str
    _stand_ins: StandIns

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return cls._stand_ins.name(f"{cls._full}.{name}")

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls._stand_ins.sealed:
            cls._stand_ins.used.append(cls._full)
            raise StandInUsedError(
                f"{cls._full} was called, and only stands in for a package that is not installed: "
                "install it in MetaGPT's environment."
            )
        # As a decorator it leaves what it decorates as it is.
        if len(args) == 1 and not kwargs and callable(args[0]):
            return args[0]
        return cls._stand_ins.name(f"{cls._full}()")

    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> dict[str, str]:
        """Pydantic's fields may be of it."""
        return {"type": "any"}


def missing(packages: Collection[str]) -> list[str]:
    """Those of some packages that are not installed, sorted."""
    return sorted(one for one in packages if importlib.util.find_spec(one) is None)
