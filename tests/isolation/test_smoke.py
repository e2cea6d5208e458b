import pytest, time
from tests.isolation.machine import *
pytestmark = pytest.mark.asyncio(loop_scope="session")
async def test_stop(own_sandbox):
    g = own_sandbox.make_zygote("stopping_zygote")
    assert await g.zygote.wait_ready()
    t=time.monotonic()
    try:
        async with asyncio.timeout(25):
            i = await g.fork()
        print("forked", i)
    except BaseException as e: print("STOP", repr(e), time.monotonic()-t)
async def test_deaf(own_sandbox):
    g = own_sandbox.make_zygote("deaf_zygote")
    assert await g.zygote.wait_ready()
    for n in range(3):
        i = await g.fork()
        await i.destroy()
    print("DEAF still there:", not g.zygote.is_lost)
@pytest.mark.parametrize("mode", MODES)
async def test_hoard(mode, store):
    async with started(mode, store, nofile=1024) as s:
        async with s.running("hoarding") as g, s.running("curious") as other:
            i = await g.fork()
            print("HOARD", await ask(i, "", up_to=5000))
            try:
              for _ in range(6): print(await other.ask("processes"))
            except BaseException as e: print("other tenant:", repr(e), s.is_lost.is_set())
@pytest.mark.parametrize("mode", MODES)
async def test_nonet(mode, store):
    async with started(mode, store, given_up="network") as s:
        async with s.running("curious") as other:
            try: print("NONET", await other.ask("processes"))
            except BaseException as e: print("NONET", str(e)[:600])
