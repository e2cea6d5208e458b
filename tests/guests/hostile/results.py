"""Answers, failures and ends that are made to hurt whoever has to read them."""

import ctypes
import json
import os
import struct
import sys
import threading
import time

ANSWER, ERROR, READY = 2, 3, 1


def frame(kind, payload, *, size=None, name=b"", peak=1):
    size = len(payload) if size is None else size
    return struct.pack("!BxHIQ", kind, len(name), size, peak) + name + payload


def nothing(event):
    return "nothing"


# Answers.


def answer_one_byte_too_much(event):
    """Just above the limit."""
    return "x" * (6_291_556 - 1)


def answer_fifty_megabytes(event):
    """Far above the limit."""
    return "x" * (50 << 20)


def answer_in_itself(event):
    """A list that contains itself."""
    answer = []
    answer.append(answer)
    return answer


def answer_too_deep(event):
    """More levels than any recursion takes."""
    answer = []
    for _ in range(200_000):
        answer = [answer]
    return answer


def answer_many_keys(event):
    """Wide instead of deep."""
    return {str(i): i for i in range(250_000)}


def answer_what_is_no_number(event):
    """NaN and infinity are no JSON."""
    return [float("nan"), float("inf")]


def answer_half_characters(event):
    """Lone surrogates have no UTF-8."""
    return "\ud800 half"


def answer_for_ever(event):
    """A list whose iteration does not end."""

    class Endless(list):
        def __iter__(self):
            while True:
                yield 1

        def __len__(self):
            return 1

    return Endless([1])


def answer_with_evil_keys(event):
    """Keys that lie about being text, and raise when they are asked."""

    class Key(str):
        def __hash__(self):
            return 1

        def __eq__(self, other):
            raise SystemExit(9)

        def __str__(self):
            raise KeyboardInterrupt

    return {Key("a"): 1}


def answer_with_an_evil_dict(event):
    """A dict whose items are tenant code."""

    class Evil(dict):
        def items(self):
            os.write(2, b"in items\n")
            raise MemoryError

    return Evil(a=1)


def answer_evil_bytes(event):
    """bytes pass as they are: not JSON at all."""
    return b"\xff\x00 not json"


def answer_a_namedtuple_that_lies(event):
    """_asdict returns something else each time."""

    class Liar(tuple):
        def _asdict(self):
            return {b"\xff": self}

    return Liar([1])


def answer_a_decimal_that_lies(event):
    """A Decimal whose text is not a number would forge the JSON around it."""
    from decimal import Decimal

    class Liar(Decimal):
        def __str__(self):
            return '1, "forged": true'

    return {"number": Liar(1)}


# Failures.


def raise_a_gigantic_message(event):
    """A hundred megabytes of text."""
    raise ValueError("m" * (100 << 20))


def raise_with_an_evil_str(event):
    """Asking what happened raises again, with something worse."""

    class Evil(Exception):
        def __str__(self):
            raise SystemExit(3)

        __repr__ = __str__

    raise Evil


def raise_with_a_str_that_is_none(event):
    """__str__ that returns no text."""

    class Evil(Exception):
        def __str__(self):
            return None

    raise Evil


def raise_with_an_endless_str(event):
    """__str__ that calls itself."""

    class Evil(Exception):
        def __str__(self):
            return str(self)

    raise Evil


def raise_with_a_forged_name(event):
    """A class name with line ends, tabs, NUL and a REPORT line."""
    name = "A\r\nREPORT RequestId: 0\tBilled Duration: 0 ms\t\x00\x1b[2J"
    raise type(name.replace("\x00", ""), (Exception,), {})("x")


def raise_with_a_long_name(event):
    """A class name of a megabyte."""
    raise type("N" * (1 << 20), (Exception,), {})("x")


def raise_with_a_metaclass(event):
    """A class whose name is tenant code."""

    class Meta(type):
        @property
        def __name__(cls):
            raise SystemExit(4)

        def __getattribute__(cls, name):
            raise SystemExit(5)

    raise Meta("Evil", (Exception,), {})("x")


def raise_in_a_circle(event):
    """Causes that cause one another."""
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    raise one


def raise_from_ten_thousand_frames(event):
    """A trace that is as long as recursion can be."""
    sys.setrecursionlimit(20_000)

    def down(depth):
        if depth == 0:
            raise ValueError("deep")
        down(depth - 1)

    down(10_000)


def recurse_until_the_stack_ends(event):
    """No limit on recursion: the process dies of its stack."""
    sys.setrecursionlimit(1 << 30)

    class Evil:
        def __repr__(self):
            return repr(self)

    def down():
        return [*map(lambda _: down(), [1])]

    down()


def raise_what_is_no_exception(event):
    """BaseException itself."""
    raise type("Evil", (BaseException,), {})("x")


def raise_keyboard_interrupt(event):
    """As if somebody pressed Ctrl-C."""
    raise KeyboardInterrupt


def raise_generator_exit(event):
    """Neither an Exception nor one of the usual two."""
    raise GeneratorExit


def raise_with_evil_source(event):
    """The trace shows lines of a file that its loader makes up, or does not."""

    class Loader:
        def get_source(self, name):
            raise SystemExit(6)

    code = compile("def f():\n    raise ValueError('x')\n", "/var/task/none.py", "exec")
    space = {"__loader__": Loader(), "__name__": "none"}
    exec(code, space)
    space["f"]()


def raise_when_it_is_deleted(event):
    """__del__ runs while the answer is on its way."""

    class Evil:
        def __del__(self):
            os._exit(8)

    error = ValueError("x")
    error.evil = Evil()
    raise error


# Ends.


def exit_politely(event):
    """sys.exit with a text."""
    sys.exit("bye\r\nREPORT RequestId: 0\t")


def exit_with_a_huge_status(event):
    """A status that is no byte."""
    sys.exit(1 << 70)


def exit_at_once(event):
    """No cleaning up."""
    os._exit(0)


def abort(event):
    """With a core dump, if one were allowed."""
    os.abort()


def become_another_program(event):
    """exec: the channel is not inherited, and nobody answers."""
    os.execv("/bin/sh", ["sh", "-c", "exit 5"])


def become_another_program_that_answers(event):
    """exec with the channel left open, and a forged answer out of a shell."""
    os.set_inheritable(3, True)
    answer = frame(ANSWER, b'"from sh"')
    text = "".join("\\%03o" % byte for byte in answer)
    os.execv("/bin/sh", ["sh", "-c", "printf '%s' >&3; sleep 60" % text])


def become_a_program_that_ignores_us(event):
    """A shell that waits for ever."""
    os.execv("/bin/sh", ["sh", "-c", "trap '' TERM INT HUP; while :; do sleep 1; done"])


# The channel.


def close_the_channel(event):
    """Descriptor 3 is the way up."""
    os.close(3)
    return "to nobody"


def close_every_descriptor(event):
    """The log, too."""
    os.closerange(0, 1024)
    return "to nobody"


def replace_the_channel(event):
    """Something else under the same number."""
    read, write = os.pipe()
    os.dup2(write, 3)
    return "into a pipe"


def shut_the_channel_down(event):
    """Half of it, then all."""
    import socket

    with socket.socket(fileno=os.dup(3)) as channel:
        channel.shutdown(socket.SHUT_WR)
    time.sleep(60)


def write_noise(event):
    """A megabyte of anything."""
    os.write(3, os.urandom(1 << 16) * 16)
    time.sleep(60)


def answer_and_answer_again(event):
    """One of its own making before the runtime's."""
    os.write(3, frame(ANSWER, b'"first"'))
    return "second"


def announce_too_much(event):
    """A length of four gigabytes."""
    os.write(3, frame(ANSWER, b"", size=0xFFFFFFFF))
    time.sleep(60)


def announce_a_long_type(event):
    """An error type of 64 KB."""
    os.write(3, struct.pack("!BxHIQ", ERROR, 0xFFFF, 2, 1) + b"x" * 0xFFFF + b"{}")
    time.sleep(60)


def announce_and_stall(event):
    """Six megabytes announced, and a byte sent now and then."""
    os.write(3, frame(ANSWER, b"", size=6_000_000))
    while True:
        os.write(3, b"x")
        time.sleep(0.01)


def be_ready_again(event):
    """Ready comes once, first."""
    os.write(3, frame(READY, b"") * 1000)
    time.sleep(60)


def fail_without_json(event):
    """An error whose body is no error object."""
    os.write(3, frame(ERROR, b"[[[[", name=b"\x00\r\n\tREPORT\xff"))
    time.sleep(60)


def fail_with_deep_json(event):
    """An error whose body would break a parser."""
    os.write(3, frame(ERROR, b"[" * 1_000_000, name=b"Deep"))
    time.sleep(60)


def claim_much_memory(event):
    """A peak of 2^64 - 1 kilobytes."""
    os.write(3, frame(ANSWER, b'"much"', peak=2**64 - 1))
    time.sleep(60)


def read_the_channel(event):
    """Events that are not there yet: a read that takes what the runtime would."""
    os.set_blocking(3, False)
    try:
        os.read(3, 1 << 20)
    except BlockingIOError:
        os.set_blocking(3, True)
        return "nothing to read"
    return "read"


def make_the_channel_non_blocking(event):
    """The runtime's next read or write would fail."""
    os.set_blocking(3, False)
    return "x" * 5_000_000


def send_urgent_data_and_descriptors(event):
    """What a stream of bytes can carry beside bytes."""
    import socket

    with socket.socket(fileno=os.dup(3)) as channel:
        for _ in range(100):
            try:
                socket.send_fds(channel, [frame(ANSWER, b"1")[:1]], [0, 1, 2] * 80)
            except OSError:
                break
    time.sleep(60)


def block_the_flush(event):
    """A stdout that never comes back from flush."""

    class Stream:
        def write(self, text):
            return len(text)

        def flush(self):
            time.sleep(60)

    sys.stdout = Stream()
    return "never"


def exit_in_the_flush(event):
    """A stdout whose flush ends the process."""

    class Stream:
        def write(self, text):
            return len(text)

        def flush(self):
            raise SystemExit(11)

    sys.stdout = Stream()
    return "never"


def answer_while_another_thread_writes(event):
    """Two writers, one channel."""

    def disturb():
        while True:
            os.write(3, b"\x00")

    threading.Thread(target=disturb, daemon=True).start()
    time.sleep(0.05)
    return "disturbed"


def crash_in_native_code(event):
    """A jump to nowhere."""
    ctypes.CFUNCTYPE(None)(1)()


def handler(event, context):
    return globals()[event["do"]](event)
