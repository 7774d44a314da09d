"""Packages that have the name of a stage's function, such as `corolla.compare`, and can be called as that function."""

import functools
import importlib
import inspect
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from corolla.checked import checked


class _Stage(ModuleType):
    """A package whose module of the same name holds the function of the same name, imported when it is called."""

    @functools.cached_property
    def _function(self) -> Callable[..., Any]:
        name = self.__name__.rpartition(".")[2]
        return checked(getattr(importlib.import_module(f"{self.__name__}.{name}"), name))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    def __reduce__(self) -> tuple[Callable[[str], ModuleType], tuple[str]]:
        """Return how it is pickled: by its name, as a function is (workers get it so)."""
        return importlib.import_module, (self.__name__,)

    @property
    def __doc__(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride] - read alone, by help()
        """The package's line, and what the function says of itself, which is what help() is asked for."""
        return f"{vars(self)['__doc__']}\n\n{inspect.getdoc(self._function)}"

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self._function)


def make_callable(package: str) -> None:
    """Make a package, which is being imported, callable as its stage."""
    sys.modules[package].__class__ = _Stage
