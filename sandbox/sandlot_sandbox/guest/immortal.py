"""Clones do not count references to what no clone would ever free.

CPython counts references in the objects themselves, so that to call a function is to
write to it, to its module and to its constants: each clone gets a copy of the pages
they lie in. From 3.12 on (PEP 683) an object whose count has one certain value is
never counted and never freed. `make` gives that value to what is inert, in the zygote,
after the import and right before `gc.freeze`.

Inert is what nobody could tell to have been freed:

- Values: strings, bytes, numbers; code; tuples and frozensets of nothing else.
- Classes. Each refers to itself (`__mro__`), and a clone's collector does not look at
  what it inherited: clones never free one in any case.
- Modules that have a function of their own, and their namespaces, for the same
  reason: the function refers to the namespace that it is in.
- Methods in C, unless they are bound to somebody's object.
- Functions, properties, static and class methods, if all they hold is inert: no
  closure, and no default that is somebody's object.

Not what anybody has a weak reference to (but for classes), no instance of a tenant's or
a library's class, no list, no array, no cell, no file: whatever has a finaliser keeps
it. None of the tenant's code runs for this. He may notice it by `sys.getrefcount`.

The value is the one that `None` has: ones in the lower 32 of 64 bits of `ob_refcnt`
(`_Py_IMMORTAL_REFCNT` in `Include/object.h` of CPython 3.12 and 3.13). Other versions,
and builds that count in another way, are left alone.
"""

from __future__ import annotations

import _weakref
import ctypes
import gc
import sys
import time
import types
from itertools import compress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

BUDGET_S = 0.3
"""Of processor time: somebody may wait for this zygote. What was reached by then is
immortal."""

MAX_HOLDERS = 1_000_000
"""Functions, classes and the like that are looked at."""

MAX_NAMES = 100_000
"""In a namespace; a larger one is somebody's data."""

STEP = 1_000
"""Objects between two looks at the clock."""

MAX_DEPTH = 8
"""Of code and tuples in one another. What is nested deeper is left as it is."""

_VERSIONS = ((3, 12), (3, 13))
_IMMORTAL = 0xFFFF_FFFF
_HEADER = 16
"""Bytes: a count of references and a class. Builds without a global lock, and those
that trace references, have more."""

_ADDRESSES = 1 << 48
"""Bytes that a process can have, on the machines that we know."""

_VALUES = (str, bytes, int, float, complex, bool, type(None), type(...))
_TUPLES = (tuple, frozenset, types.CodeType)
"""Values if what is in them is."""

_MEMBERS = (
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    types.ClassMethodDescriptorType,
)
_WRAPPERS = (property, staticmethod, classmethod)


class Made:
    """What `make` did."""

    __slots__ = ("count", "is_complete")

    def __init__(self, count: int, *, is_complete: bool) -> None:
        self.count = count
        """Objects that are immortal since then; 0 where that is not possible."""
        self.is_complete = is_complete
        """False: BUDGET_S or MAX_HOLDERS was reached."""


def is_possible() -> bool:
    """Whether this interpreter has immortal objects, and they look as we know them."""
    return (
        sys.implementation.name == "cpython"
        and sys.version_info[:2] in _VERSIONS
        and sys.byteorder == "little"
        and sys.maxsize == (1 << 63) - 1
        and object.__basicsize__ == _HEADER
        and not hasattr(sys, "gettotalrefcount")
        and all(_count_of(each) == _IMMORTAL for each in (None, True, 0, ""))
        and _is_counted_there()
    )


def make() -> Made:
    """Make what is inert immortal, for good. Before `gc.freeze`: frozen objects are no
    longer listed."""
    if not is_possible():
        return Made(0, is_complete=True)
    return _Walk().walk()


def _is_counted_there() -> bool:
    """Whether an object's references are counted where we look, and no longer once it
    has the value."""
    probe = object()
    before = _count_of(probe)
    references = [probe] * 3
    if _count_of(probe) - before != len(references):
        return False
    ctypes.c_uint32.from_address(id(probe)).value = _IMMORTAL
    references += [probe] * 3
    return _count_of(probe) == sys.getrefcount(probe) == _IMMORTAL


def _count_of(each: object) -> int:
    return ctypes.c_ssize_t.from_address(id(each)).value


class _OutOfTimeError(Exception):
    pass


class _Walk:
    """One walk through what was imported. What is inert is immortal afterwards."""

    def __init__(self) -> None:
        # All memory as one array: an object of ctypes for each address would take
        # several times as long.
        self._words = (ctypes.c_uint32 * (_ADDRESSES >> 2)).from_address(0)
        # By identity of the class: no attribute, no comparison and no hash of an
        # object whose code is the tenant's.
        self._values = {id(each) for each in _VALUES}
        self._tuples = {id(each) for each in _TUPLES}
        self._classes = {id(each) for each in _with_subclasses(type)}
        self._members = {id(each) for each in _MEMBERS}
        self._kept: set[int] = set()
        """By address: what is immortal now, some of it before."""
        self._count = 0
        self._seen: set[int] = set()
        """Namespaces, by address."""
        self._deadline = time.process_time() + BUDGET_S

    def walk(self) -> Made:
        functions = {id(types.FunctionType)}
        modules = {id(types.ModuleType)}
        wrappers = {id(each) for each in _WRAPPERS}
        kinds = self._classes | self._members | functions | modules | wrappers
        holders = [each for each in gc.get_objects() if id(type(each)) in kinds]
        is_complete = len(holders) <= MAX_HOLDERS
        del holders[MAX_HOLDERS:]
        # In this order: the inert function is the one whose parts are kept already.
        passes: tuple[tuple[set[int], Callable[[Any], bool]], ...] = (
            (modules, self._is_inert_module),
            (self._members, self._is_inert_member),
            (functions, self._is_inert_function),
            (wrappers, self._is_inert_wrapper),
        )
        try:
            self._keep(id(each) for each in holders if id(type(each)) in self._classes)
            for step in self._in_steps(holders):
                self._keep_values_of(step)
            for ids, is_inert in passes:
                of_kind = [each for each in holders if id(type(each)) in ids]
                for step in self._in_steps(of_kind):
                    self._keep([id(each) for each in step if is_inert(each)])
        except _OutOfTimeError:
            is_complete = False
        return Made(self._count, is_complete=is_complete)

    def _in_steps(self, objects: list[Any]) -> Iterator[list[Any]]:
        for start in range(0, len(objects), STEP):
            if time.process_time() > self._deadline:
                raise _OutOfTimeError
            yield objects[start : start + STEP]

    def _keep(self, addresses: Iterable[int]) -> None:
        words = self._words
        for address in addresses:
            self._kept.add(address)
            if words[address >> 2] != _IMMORTAL:
                words[address >> 2] = _IMMORTAL
                self._count += 1

    # Values ------------------------------------------------------------------------

    def _keep_values_of(self, holders: list[Any]) -> None:
        """What they refer to, and what is in their namespaces, as far as it is values;
        their names are among it.

        Of a module only the namespace. What else one in C refers to may be freed
        already, such as the iterators that `_asyncio` keeps for the next futures;
        whoever refers to those frees them once more.
        """
        modules = [each for each in holders if type(each) is types.ModuleType]
        others = [each for each in holders if type(each) is not types.ModuleType]
        held = gc.get_referents(*others) + [each.__dict__ for each in modules]
        spaces = {
            id(each): each
            for each in held
            if type(each) is dict and len(each) <= MAX_NAMES
        }
        new = [spaces[each] for each in spaces.keys() - self._seen]
        self._seen.update(spaces)
        self._keep_values(held + gc.get_referents(*new))

    def _keep_values(self, found: list[Any]) -> None:
        # Mostly the same few names, again and again: told apart without a loop.
        kinds = list(map(id, map(type, found)))
        plain = compress(found, map(self._values.__contains__, kinds))
        self._keep(set(map(id, plain)) - self._kept)
        for each in compress(found, map(self._tuples.__contains__, kinds)):
            self._is_value(each)

    def _is_value(self, each: Any, depth: int = 0) -> bool:
        """If so, it is immortal, and with it all that is in it."""
        if id(each) in self._kept:
            return True
        kind = type(each)
        if id(kind) in self._tuples:
            if depth == MAX_DEPTH or _has_weak_references(each):
                return False
            if kind is types.CodeType:
                self._is_value(each.co_names, depth + 1)
                self._is_value(each.co_consts, depth + 1)
            elif not all(self._is_value(inner, depth + 1) for inner in each):
                return False
        elif id(kind) not in self._values and id(kind) not in self._classes:
            return False
        self._keep((id(each),))
        return True

    # What holds them ---------------------------------------------------------------

    def _is_inert_module(self, module: Any) -> bool:
        names = module.__dict__
        if _has_weak_references(module) or len(names) > MAX_NAMES:
            return False
        for each in names.values():
            kind = type(each)
            if (kind is types.FunctionType and each.__globals__ is names) or (
                kind is types.BuiltinFunctionType and each.__self__ is module
            ):
                self._keep((id(names),))
                return True
        return False

    def _is_inert_member(self, member: Any) -> bool:
        if _has_weak_references(member):
            return False
        if type(member) is not types.BuiltinFunctionType:
            return True
        owner = member.__self__
        return self._is_value(owner)

    def _is_inert_function(self, function: Any) -> bool:
        known = {id(function.__globals__), id(function.__builtins__)}
        return self._holds_only_inert(function, known)

    def _is_inert_wrapper(self, wrapper: Any) -> bool:
        return self._holds_only_inert(wrapper, set())

    def _holds_only_inert(self, holder: Any, known: set[int]) -> bool:
        return not _has_weak_references(holder) and all(
            id(held) in known or self._is_value(held) or self._is_inert_dict(held)
            for held in gc.get_referents(holder)
        )

    def _is_inert_dict(self, held: Any, depth: int = 0) -> bool:
        """Attributes, annotations among them, or the defaults of keywords."""
        return type(held) is dict and all(
            self._is_value(each)
            or (depth == 0 and self._is_inert_dict(each, depth + 1))
            for each in gc.get_referents(held)
        )


def _has_weak_references(each: object) -> bool:
    return _weakref.getweakrefcount(each) > 0


def _with_subclasses(cls: type) -> list[type]:
    classes = [cls]
    for known in classes:  # Grows while we walk it.
        classes += type.__subclasses__(known)
    return classes
