"""The runtime shares its process with the handler: its modules, frames, buffers and
objects are all within reach. What they can win is their own answer, or their end."""

import atexit
import builtins
import ctypes
import gc
import io
import json
import logging
import os
import random
import signal
import socket
import struct
import sys
import threading
import time

kept = []


def nothing(event):
    return "nothing"


def empty_sys_modules(event):
    """Every module is forgotten."""
    sys.modules.clear()
    return "still here"


def empty_the_builtins(event):
    """print, open, len, isinstance: gone."""
    for name in ("print", "len", "isinstance", "type", "getattr", "Exception"):
        if hasattr(builtins, name):
            delattr(builtins, name)
    return "still here"


def replace_os_write(event):
    """What our runtime says, it says through os."""
    os.write = os.read = os._exit = lambda *_: 0
    return "still here"


def replace_the_socket_class(event):
    """sendall that sends something else."""
    socket.socket.sendall = lambda self, data: socket.socket.send(self, b"\xff" * 64)
    return "still here"


def replace_json(event):
    """dumps and loads that lie."""
    json.dumps = lambda *_, **__: '"forged"'
    json.loads = lambda *_, **__: "forged"
    json.JSONEncoder.encode = json.JSONEncoder.iterencode = lambda *_: '"forged"'
    return "still here"


def replace_the_clock(event):
    """Time that stands still: bills are not made from it."""
    time.time = time.monotonic = time.perf_counter = lambda: 0.0
    return "still here"


def replace_frames(event):
    """The runtime's own encoder."""
    from sandlot_sandbox import frames

    frames.encode_answer = lambda *_, **__: b"\x09" * 16
    return "still here"


def change_the_limits_of_the_runtime(event):
    """Its constants, so that it would send more than it may."""
    from sandlot_sandbox import frames
    from sandlot_sandbox.guest import handler, marshalling

    for module in (frames, handler, marshalling):
        for name in ("MAX_PAYLOAD", "MAX_RESPONSE", "MAX_ERROR_TYPE", "MAX_EVENT"):
            if hasattr(module, name):
                setattr(module, name, 1 << 40)
    return "x" * 7_000_000


def fail_with_a_longer_type(event):
    """The same, with an error's name."""
    from sandlot_sandbox import frames
    from sandlot_sandbox.guest import failures

    frames.MAX_ERROR_TYPE = failures.MAX_TYPE_BYTES = 1 << 30
    raise type("N" * 5000, (Exception,), {})("x")


def send_by_the_runtime_s_socket(event):
    """The collector knows every object; one of them is the channel."""
    for found in gc.get_objects():
        if isinstance(found, socket.socket) and found.fileno() == 3:
            found.sendall(struct.pack("!BxHIQ", 2, 0, 8, 1) + b'"by gc!"')
            time.sleep(60)
    return "not found"


def change_the_frames_above(event):
    """The caller's local variables, by its frame."""
    frame = sys._getframe()
    while frame is not None:
        for name in ("request_id", "payload", "channel", "function"):
            if name in frame.f_locals:
                frame.f_locals[name] = None
        frame.clear() if not frame.f_lasti else None
        frame = frame.f_back
    return "still here"


def trace_the_runtime(event):
    """A trace function in the frames above, which raises in them."""

    def trace(frame, what, argument):
        raise SystemExit(12)

    frame = sys._getframe().f_back
    while frame is not None:
        frame.f_trace = trace
        frame = frame.f_back
    sys.settrace(trace)
    return "traced"


def profile_the_runtime(event):
    """The same with a profiler, which only looks."""
    sys.setprofile(lambda *_: None)
    return "still here"


def audit_the_runtime(event):
    """Audit hooks cannot be removed; this one refuses everything."""

    def hook(name, arguments):
        if name.startswith(("socket", "os", "open")):
            raise PermissionError(name)

    sys.addaudithook(hook)
    return "still here"


def change_small_numbers(event):
    """Integers that Python shares, written to."""
    address = id(2) + 24
    ctypes.memset(address, 3, 1)
    return "is two still two?"


def change_the_code_of_the_runtime(event):
    """Functions keep their identity and get other code."""
    from sandlot_sandbox.guest import instance

    def other(*_):
        raise SystemExit(13)

    instance._serve.__code__ = other.__code__
    return "still here"


def replace_the_streams(event):
    """stdout and stderr that are no streams."""
    sys.stdout = sys.stderr = sys.__stdout__ = sys.__stderr__ = None
    return "still here"


def replace_the_streams_by_liars(event):
    """Streams whose every method raises."""

    class Liar(io.TextIOBase):
        def __getattribute__(self, name):
            raise ValueError(name)

    sys.stdout = sys.stderr = Liar()
    raise LookupError("told without a stream")


def break_the_logging(event):
    """Handlers that raise, and a logger that is gone."""
    logging.getLogger().handlers[:] = [None]
    logging.raiseExceptions = True
    return "still here"


def hook_every_exit(event):
    """atexit, excepthook, threading's hook, signals."""
    atexit.register(time.sleep, 600)
    sys.excepthook = threading.excepthook = lambda *_: time.sleep(600)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    raise SystemExit(14)


def change_its_context(event):
    """Whose request this is said to be."""
    return "see handler"


def disable_the_collector(event):
    """No garbage is collected any more, and what is frozen is thawed."""
    gc.disable()
    gc.unfreeze()
    gc.set_threshold(0)
    return "still here"


def grow_the_interned(event):
    """Strings and ids that stay for ever."""
    for number in range(200_000):
        sys.intern("sandlot-%d" % number)
    return "still here"


def change_the_search_path(event):
    """What is imported later, is found in /tmp."""
    with open("/tmp/traceback.py", "w") as file:
        file.write("raise SystemExit(15)")
    sys.path.insert(0, "/tmp")
    sys.meta_path.clear()
    sys.modules.pop("traceback", None)
    raise LookupError("with our traceback")


def free_the_event(event):
    """Memory of an object that the runtime still holds, overwritten."""
    ctypes.memset(id(event), 0, 16)
    return None


def write_over_the_stack(event):
    """Return addresses, overwritten."""
    local = ctypes.create_string_buffer(16)
    with open("/proc/self/maps") as file:
        stack = [line for line in file if "[stack]" in line][0]
    start, end = (int(part, 16) for part in stack.split()[0].split("-"))
    ctypes.memset(end - (64 << 10), 0x41, (64 << 10) - 64)
    return bool(local)


def unmap_the_runtime(event):
    """munmap of the interpreter itself."""
    libc = ctypes.CDLL(None)
    with open("/proc/self/maps") as file:
        lines = [line.split() for line in file if "python" in line]
    for fields in lines:
        start, end = (int(part, 16) for part in fields[0].split("-"))
        libc.munmap(ctypes.c_void_p(start), ctypes.c_size_t(end - start))
    return "unreachable"


def seed_everybody(event):
    """Random numbers of siblings must not follow."""
    random.seed(1)
    return "seeded"


def lower_its_recursion_limit(event):
    """Too low for the runtime's own calls."""
    sys.setrecursionlimit(len_of_stack() + 6)
    return "still here"


def len_of_stack():
    frame, depth = sys._getframe(), 0
    while frame:
        frame, depth = frame.f_back, depth + 1
    return depth


def lower_its_limits(event):
    """No more files, no more memory: the runtime has to live with it."""
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (1 << 20, 1 << 20))
    return "still here"


def switch_threads(event):
    """The main thread never runs again while another holds the interpreter."""
    sys.setswitchinterval(1000)
    threading.Thread(target=spin, daemon=True).start()
    time.sleep(0.01)
    return "starved"


def spin():
    while True:
        pass


def handler(event, context):
    if event["do"] == "change_its_context":
        other = "00000000-0000-0000-0000-000000000000"
        context.aws_request_id = context.invoked_function_arn = other
        raise LookupError(context.aws_request_id)
    return globals()[event["do"]](event)
