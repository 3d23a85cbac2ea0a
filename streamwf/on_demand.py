"""Packages whose public names are imported when they are asked for: few need all of them, and what
a command does not need is most of the time that it takes to start."""

import sys
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any


class _Package(ModuleType):
    _homes: Mapping[str, str]

    def __getattr__(self, name: str) -> Any:
        if name not in self._homes:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        found = getattr(import_module(self._homes[name]), name)
        super().__setattr__(name, found)
        return found

    def __setattr__(self, name: str, value: object) -> None:
        # Python sets each module that it has imported in its package, `embedded` before the
        # function that has its name.
        if not (name in self._homes and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*self.__dict__, *self._homes})


def on_demand(package: str, homes: Mapping[str, str]) -> None:
    """Let a package import its names when they are asked for. homes: the module of each."""
    module = sys.modules[package]
    module.__dict__["_homes"] = homes
    module.__class__ = _Package
