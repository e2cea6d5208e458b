"""What is inert is immortal in clones, what is somebody's object is not, and nobody can
tell but by counting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fakes.guest_interpreters import Guest, every_interpreter, interpreters

HAVE_IMMORTALS = [
    python for python in interpreters() if python.endswith(("3.12", "3.13"))
]

with_immortals = pytest.mark.parametrize(
    "python", HAVE_IMMORTALS or ["none on PATH"], ids=lambda path: Path(path).name
)

TENANT = '''
import weakref

events = []

class Resource:
    """Says when it goes."""
    limit = 1_000_001
    def __init__(self, name):
        self.name = name
    def __del__(self):
        events.append(self.name + " gone")
    def method(self, each="a default"):
        return [each, 12345.5, b"some bytes"]
    @property
    def shown(self):
        return self.name
    @staticmethod
    def static():
        return "static"

def plain(event, times=3, *, key=("a key", 1)):
    def inner():
        return "text in a nested function"
    return inner

def annotated(event: "str", of: int = 2) -> Resource: ...

def around(resource):
    def closed():
        return resource
    return closed

def with_default(event, resource=Resource("default")): ...

def with_keyword(event, *, resource=Resource("keyword")): ...

def watched(): ...

def with_attribute(): ...

with_attribute.resource = Resource("attribute")
closed = around(Resource("closure"))
getter = property(closed)
watcher = weakref.ref(watched, lambda _: events.append("watched gone"))
instance = Resource("instance")
numbers = [10_001, 10_002]
append = numbers.append
values = ("one", (2_000_001, 3.5), frozenset({"in a frozenset"}))
mixed = ("two", numbers)
text = "-".join(["made", "at", "import"])
'''

PREPARED = """
import gc, types
from sandlot_sandbox.guest import immortal
import tenant, settings
COUNT = sys.getrefcount(None)
gc.collect()
immortal.BUDGET_S = 60.0  # However slow the machine is.
made = immortal.make()
assert made.is_complete and made.count > 5_000
gc.freeze()
def is_immortal(each):
    return sys.getrefcount(each) == COUNT
"""


@pytest.fixture
def guest(python: str, tmp_path: Path) -> Guest:
    made = Guest(python, tmp_path)
    made.write("tenant.py", TENANT)
    made.write("settings.py", 'data = [1, 2]\nname = "a name in settings"')
    return made


def _result_of(guest: Guest, script: str) -> Any:
    return guest.result_of(PREPARED + script)


@every_interpreter
def test_where_there_is_nothing_to_do_nothing_is_done(
    guest: Guest, python: str
) -> None:
    possible, count, is_complete, before_and_after = guest.result_of("""
        from sandlot_sandbox.guest import immortal
        import tenant
        immortal.BUDGET_S = 60.0
        before = sys.getrefcount(tenant.plain)
        made = immortal.make()
        result = [immortal.is_possible(), made.count, made.is_complete,
                  [before, sys.getrefcount(tenant.plain)]]
        """)

    assert possible == (python in HAVE_IMMORTALS)
    assert is_complete
    if not possible:
        assert count == 0
        assert before_and_after[0] == before_and_after[1]


@with_immortals
@pytest.mark.parametrize(
    "what",
    [
        *("tenant", "tenant.__dict__", "tenant.Resource", "tenant.plain"),
        *("tenant.annotated", "tenant.Resource.method", "tenant.around"),
        *("tenant.Resource.__dict__['shown']", "tenant.Resource.__dict__['static']"),
        *("tenant.plain.__code__", "tenant.plain.__code__.co_consts"),
        *("tenant.plain.__defaults__", "tenant.closed.__code__", "tenant.values"),
        "next(c for c in tenant.plain.__code__.co_consts if hasattr(c, 'co_code'))",
        *("tenant.values[1][0]", "tenant.Resource.limit", "tenant.text"),
        *("os.path.join", "os.path", "json.loads", "os.getpid"),
        *("str.join", "types.SimpleNamespace.__dict__['__repr__']", "settings.name"),
    ],
)
def test_what_is_inert_is_immortal(guest: Guest, what: str) -> None:
    assert _result_of(guest, f"result = is_immortal({what})") is True


@with_immortals
@pytest.mark.parametrize(
    "what",
    [
        *("tenant.instance", "tenant.instance.__dict__", "tenant.numbers"),
        *("tenant.append", "tenant.mixed", "tenant.closed", "tenant.getter"),
        *("tenant.closed.__closure__", "tenant.closed.__closure__[0]"),
        *("tenant.with_default", "tenant.with_keyword", "tenant.with_attribute"),
        *("tenant.with_default.__defaults__", "tenant.watched", "tenant.watcher"),
        *("settings", "settings.data", "settings.__dict__", "os.environ", "sys.stdout"),
    ],
)
def test_what_holds_somebodys_object_is_not(guest: Guest, what: str) -> None:
    assert _result_of(guest, f"result = is_immortal({what})") is False


@with_immortals
def test_what_has_a_finaliser_has_it_in_a_clone(guest: Guest) -> None:
    gone = _result_of(
        guest,
        """
def drop():
    del tenant.instance, tenant.getter, tenant.closed
    del tenant.with_default, tenant.with_keyword, tenant.with_attribute
    del tenant.watched
    return tenant.events
result = in_a_clone(drop)
""",
    )

    assert sorted(gone) == [
        *("attribute gone", "closure gone", "default gone", "instance gone"),
        *("keyword gone", "watched gone"),
    ]


@with_immortals
def test_a_clone_does_with_them_what_one_does(guest: Guest) -> None:
    done = _result_of(
        guest,
        """
def work():
    interned = sys.intern(tenant.text)
    again = sys.intern("-".join(["made", "at", "import"]))
    class More(tenant.Resource):
        limit = 5
    more = More("more")
    more.__class__ = tenant.Resource
    tenant.plain.__defaults__ = (4,)
    tenant.Resource.method = lambda self: "patched"
    tenant.Resource.extra = tenant.text
    tenant.text += "!"
    gc.unfreeze()
    for _ in range(3):
        gc.collect()
    del sys.modules["tenant"]
    import tenant as anew
    return [interned is again, more.method(), more.extra, tenant.text,
            tenant.plain(1)(), anew.Resource is not tenant.Resource, more.shown]
result = in_a_clone(work)
""",
    )

    text = "made-at-import"
    nested = "text in a nested function"
    assert done == [True, "patched", text, text + "!", nested, True, "more"]


@with_immortals
def test_what_a_module_in_c_has_freed_is_not_freed_again(guest: Guest) -> None:
    # `_asyncio` keeps the iterators of futures that were awaited, without a reference.
    guest.write(
        "awaits.py",
        """
        import asyncio
        async def wait(future):
            return await future
        async def run():
            futures = [asyncio.Future() for _ in range(5)]
            waiting = [asyncio.ensure_future(wait(future)) for future in futures]
            await asyncio.sleep(0)
            for future in futures:
                future.set_result(None)
            await asyncio.gather(*waiting)
        asyncio.run(run())
        """,
    )

    different = guest.result_of(
        "import awaits\n"
        + PREPARED
        + """
def work():
    loop = awaits.asyncio.new_event_loop()
    iterators = [iter(loop.create_future()) for _ in range(20)]
    return len({id(each) for each in iterators})
result = in_a_clone(work)
"""
    )

    assert different == 20


@with_immortals
def test_zygotes_and_clones_end_well(guest: Guest) -> None:
    # Not by `os._exit`: the interpreter takes itself apart.
    done = guest.run(
        PREPARED
        + """
sys.intern(tenant.text)
pid = os.fork()
if pid == 0:
    sys.intern(tenant.values[0] + tenant.text)
    sys.exit(0)
result = os.waitpid(pid, 0)[1]
"""
    )

    assert (done.result, done.status) == (0, 0), done.stderr


@with_immortals
def test_none_of_the_tenants_code_runs(guest: Guest) -> None:
    guest.write(
        "hostile.py",
        """
        import types
        ran = []
        def run(*args):
            ran.append(args)
            raise OSError
        class Meta(type): ...
        class OfMeta(Meta, metaclass=Meta): ...
        class Class(metaclass=OfMeta): ...
        class Module(types.ModuleType): ...
        class Text(str): ...
        class Tuple(tuple): ...
        class Property(property): ...
        it, module, text = Class(), Module("x"), Text("text")
        pair, shown = Tuple((1, 2)), Property(run)
        names = ("hash", "eq", "len", "iter", "bool", "getattribute", "del",
                 "instancecheck", "subclasscheck", "call")
        for cls in (Property, Tuple, Text, Module, Class, OfMeta, Meta):
            for name in names:
                type.__setattr__(cls, f"__{name}__", run)
        del ran[:]
        """,
    )

    ran, is_complete = guest.result_of("""
        import hostile
        from sandlot_sandbox.guest import immortal
        immortal.BUDGET_S = 60.0
        made = immortal.make()
        result = [len(hostile.ran), made.is_complete]
        os.write(_report, json.dumps(result).encode())
        os._exit(0)  # Else the interpreter would run it
        """)

    assert (ran, is_complete) == (0, True)


@with_immortals
@pytest.mark.parametrize(
    "bound", ["BUDGET_S = -1.0", "MAX_HOLDERS = 5"], ids=["time", "holders"]
)
def test_the_walk_has_bounds(guest: Guest, bound: str) -> None:
    counts = guest.result_of(f"""
        from sandlot_sandbox.guest import immortal
        import tenant
        usual = immortal.BUDGET_S, immortal.MAX_HOLDERS
        immortal.{bound}
        less = immortal.make()
        immortal.BUDGET_S, immortal.MAX_HOLDERS = usual
        immortal.BUDGET_S = 60.0
        rest = immortal.make()
        again = immortal.make()
        result = [less.is_complete, less.count < rest.count, rest.is_complete,
                  again.count < rest.count // 10]
        """)

    assert counts == [False, True, True, True]


@with_immortals
def test_a_large_namespace_is_somebodys_data(guest: Guest) -> None:
    guest.write(
        "large.py",
        """
        def function(): ...
        globals().update({"name %d" % n: 100_000 + n for n in range(2_000)})
        """,
    )

    assert guest.result_of("""
        from sandlot_sandbox.guest import immortal
        immortal.MAX_NAMES, immortal.BUDGET_S = 1_000, 60.0
        import large
        immortal.make()
        result = [sys.getrefcount(each) == sys.getrefcount(None)
                  for each in (large, vars(large)["name 1"], large.function)]
        """) == [False, False, True]


@with_immortals
def test_a_clone_writes_to_fewer_pages(guest: Guest) -> None:
    # 3,000 functions, which are called often enough to be settled, and then once more
    # in a clone: without, it writes to each of them.
    guest.write(
        "many.py",
        "\n".join(
            f"def f{n}(x):\n    return (x, 'text {n}', {n}.5)\n" for n in range(3_000)
        )
        + "\nfunctions = [f for name, f in globals().items() if name[0] == 'f']",
    )
    script = """
        import gc, resource
        from sandlot_sandbox.guest import immortal
        import many
        def work():
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            for function in many.functions:
                function(1)
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
        for _ in range(50):
            work()
        gc.collect()
        {make}
        gc.freeze()
        result = in_a_clone(work)
        """

    without = guest.result_of(script.format(make=""))
    faults = guest.result_of(
        script.format(make="immortal.BUDGET_S = 60.0; immortal.make()")
    )

    assert without > 100
    assert faults < without / 2
