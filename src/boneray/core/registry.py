"""Named things (models, data sets, metrics ...) that are found by being registered."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from boneray.core.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True)
class Entry(Generic[T]):
    """One registered thing with what `boneray list` says of it."""

    name: str
    value: T
    summary: str
    facts: dict[str, object]


class Registry(Generic[T]):
    """Maps names to values; looks into `package` and the entry points of `group` when first asked.

    Importing a module of the package registers what it holds; an import error there is
    never swallowed.
    """

    def __init__(self, kind: str, package: str, group: str) -> None:
        self.kind = kind
        self._package = package
        self._group = group
        self._entries: dict[str, Entry[T]] = {}
        self._aliases: dict[str, str] = {}
        self._discovered = False

    def register(self, name: str, summary: str, **facts: object) -> Callable[[T], T]:
        """Decorator: register the decorated value under `name`; a second use of a name is an error.

        The fact `aliases` holds other names it answers to (those of its paper), in any case of letters.
        """

        def add(value: T) -> T:
            if name in self._entries:
                raise ConfigError(f"{self.kind} '{name}' is registered twice; choose another name")
            aliases: Iterable[str] = facts.get("aliases", ())  # type: ignore[assignment]
            taken = [alias for alias in aliases if self._aliases.get(alias.lower(), name) != name]
            if taken:
                raise ConfigError(f"{self.kind} alias '{taken[0]}' is registered twice; choose another name")
            self._aliases |= {alias.lower(): name for alias in aliases}
            self._entries[name] = Entry(name, value, summary, dict(facts))
            return value

        return add

    def get(self, name: str) -> Entry[T]:
        """The entry called `name` or one of its aliases; an unknown name answers with the nearest ones."""
        self._discover()
        name = name if name in self._entries else self._aliases.get(name.lower(), name)
        if name not in self._entries:
            raise ConfigError(unknown_name(self.kind, name, list(self._entries)))
        return self._entries[name]

    def __iter__(self) -> Iterator[Entry[T]]:
        self._discover()
        return iter(sorted(self._entries.values(), key=lambda entry: entry.name))

    def _discover(self) -> None:
        if self._discovered:
            return
        package = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(getattr(package, "__path__", ())):  # a registry may fill one module
            importlib.import_module(f"{self._package}.{module.name}")
        for point in entry_points(group=self._group):
            point.load()
        self._discovered = True


def unknown_name(kind: str, name: str, known: list[str]) -> str:
    """One line for a name that is not known: the near names, or all of them."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        return f"unknown {kind} '{name}'; did you mean {' or '.join(near)}?"
    return f"unknown {kind} '{name}'; choose one of {', '.join(sorted(known))}"
