"""Output that wants to be taken for the platform's, or to harm who reads it."""

import logging
import os
import resource
import sys
import threading
import time
import types

OTHER = "00000000-0000-0000-0000-000000000000"
FORGED = "REPORT RequestId: %s\tDuration: 0.00 ms\tBilled Duration: 0 ms\tforged"


def forge_the_platforms_lines(event, context):
    """START, END and REPORT, of one's own request and of another's."""
    for request_id in (context.aws_request_id, OTHER):
        print("START RequestId: %s Version: $LATEST" % request_id)
        print("END RequestId: %s" % request_id)
        print(FORGED % request_id)


def forge_on_stderr(event, context):
    """The same by the other stream, unbuffered, in pieces."""
    for part in (FORGED % context.aws_request_id + "\n").encode().split(b" "):
        os.write(2, part + b" ")


def forge_with_returns(event, context):
    """CR, VT, FF, NEL, LS, PS: what some readers take for a line's end."""
    for end in ("\r", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029"):
        sys.stdout.write("x" + end + FORGED % context.aws_request_id)
    print()


def forge_with_escapes(event, context):
    """A terminal that obeyed would erase what is above, and change its title."""
    print("\x1b[2J\x1b[H\x1b]0;forged\x07\x9b1;1H" + FORGED % context.aws_request_id)


def forge_with_backspaces(event, context):
    """Overwrites what was printed before, where it is shown."""
    print("honest" + "\b" * 6 + FORGED % context.aws_request_id)


def forge_by_logging(event, context):
    """A line's end inside a message, with the platform's line behind it."""
    logging.warning("x\n" + FORGED % context.aws_request_id)


def forge_by_an_error(event, context):
    """A class name and a message with fields of a REPORT."""
    name = "Error\tStatus: timeout\nREPORT RequestId: %s\tforged" % OTHER
    raise type(name, (Exception,), {})(FORGED % OTHER)


def forge_dropped_bytes(event, context):
    """The platform's own word on what it dropped."""
    print("[… 123456 bytes dropped]")


def forge_at_the_very_end(event, context):
    """No line end at the end: the platform's next line could be glued to ours."""
    os.write(1, b"START RequestId: ")


def print_half_characters(event, context):
    """UTF-8 that is cut in the middle, overlong, of surrogates, too high."""
    os.write(
        1, b"\xe2\x82\n\xc0\xaf\n\xed\xa0\x80\n\xf8\x88\x80\x80\x80\n\xff\xfe\n\xe2\x82"
    )


def print_nul_bytes(event, context):
    """NUL ends a text in C."""
    os.write(1, b"before\x00after\n" * 10)


def print_one_huge_line(event, context):
    """A megabyte without a line end."""
    os.write(1, b"h" * (1 << 20))


def print_many_empty_lines(event, context):
    """A line has a cost, even if it has no bytes."""
    os.write(1, b"\n" * (1 << 18))


def print_after_the_answer(event, context):
    """A thread that prints when the invocation is over."""

    def late():
        time.sleep(0.05)
        print(FORGED % context.aws_request_id, flush=True)

    threading.Thread(target=late).start()


def print_from_a_daemon(event, context):
    """A process that prints while others are invoked."""
    if os.fork() == 0:
        os.setsid()
        for _ in range(200):
            os.write(1, (FORGED % OTHER + "\n").encode())
            time.sleep(0.005)
        os._exit(0)


def claim_much_memory(event, context):
    """2^41 kilobytes, told to the engine by the runtime: more than the API's integers
    hold."""
    resource.getrusage = lambda *_: types.SimpleNamespace(ru_maxrss=1 << 41)


def stop_the_clock(event, context):
    """Time as the function sees it, is not time as it is billed."""
    sleep = time.sleep
    time.time = time.monotonic = time.perf_counter = time.monotonic_ns = lambda: 0
    sleep(0.1)


def nothing(event, context):
    return "nothing"


def handler(event, context):
    return globals()[event["do"]](event, context)
