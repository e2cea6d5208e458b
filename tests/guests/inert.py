"""Tells what of it a clone counts references to, and whether what ends is told."""

import sys
import weakref

NAMES = ("one", ("two", 2_000_003))
ended = []


class Kept:
    def __del__(self):
        ended.append("an instance")


def watched(): ...


watcher = weakref.ref(watched, lambda _: ended.append("a function"))
kept = Kept()


def immortal(event):
    of_all = {"function": immortal, "class": Kept, "constant": NAMES, "instance": kept}
    return [what for what, it in of_all.items() if is_immortal(it)]


def is_immortal(it):
    return sys.getrefcount(it) == sys.getrefcount(None)


def drop(event):
    global kept, watched
    del kept, watched
    return ended


def handler(event, context):
    return globals()[event["do"]](event)
