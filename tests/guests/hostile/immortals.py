"""What a handler can do to what is immortal in its clone; and `state`, by which another
instance would tell."""

import builtins
import ctypes
import gc
import sys

NAMES = ("one", ("two", 2_000_003), frozenset({"three"}))
LONG = "long enough not to be anybody else's " * 20
DROPS = 100_000


class Base:
    what = "base"

    def method(self):
        return self.what


class Derived(Base):
    field = property(lambda self: 1)


told = []


def state(event):
    names = len(vars(builtins)) > 100
    return [NAMES[0], NAMES[1][1], LONG[:4], Derived().method(), Derived().field, names]


def many_cycles(event):
    """A million objects that only the collector frees."""
    held = [[number, str(number), {}] for number in range(300_000)]
    for one in held:
        one.append(one)
    del held, one
    return gc.collect() > 0


def collector_callbacks(event):
    def tell(phase, info):
        told.append(phase)
        raise ValueError(phase)

    sys.unraisablehook = lambda *_: None
    gc.callbacks.append(tell)
    gc.collect()
    return told


def unfreeze(event):
    """All that was inherited is the collector's to look at."""
    for _ in range(3):
        gc.unfreeze()
        gc.collect()
    return state(event)


def drop_modules(event):
    for name in [name for name in sys.modules if name not in ("sys", "builtins")]:
        del sys.modules[name]
    gc.unfreeze()
    gc.collect()
    return "dropped"


def clear_namespaces(event):
    for name, module in list(sys.modules.items()):
        if name.startswith(("json", "logging", "re", "enum")):
            vars(module).clear()
    gc.unfreeze()
    gc.collect()
    return "cleared"


def drop_builtins(event):
    for name in set(vars(builtins)) - {"len", "__import__"}:
        vars(builtins).pop(name)
    return "gone"


def mortal_again(event):
    """One reference is left to each, says its count."""
    for each in [*gc.get_objects()[:5000], NAMES, LONG, Base]:
        ctypes.c_uint32.from_address(id(each)).value = 1
    return "mortal"


def drop_references(event):
    """More than there are."""
    drop = ctypes.pythonapi.Py_DecRef
    drop.argtypes = [ctypes.py_object]
    for each in (NAMES, Base, state):
        for _ in range(DROPS):
            drop(each)
    return state(event)


def handler(event, context):
    return globals()[event["do"]](event)
