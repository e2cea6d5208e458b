"""Tries to reach others, by every road that a tenant has."""

import errno
import os
import socket
import struct
import subprocess

WAIT_S = 10.0


def attempt(step):
    try:
        return step()
    except TimeoutError:
        return "timeout"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))


def tcp(event):
    """ "ok" if an echo answers."""

    def step():
        with socket.socket() as handle:
            handle.settimeout(event.get("wait_s", WAIT_S))
            if event.get("device"):
                handle.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
            handle.connect((event["address"], event["port"]))
            handle.sendall(b"hello")
            return "ok" if handle.recv(64) == b"hello" else "something else"

    return attempt(step)


def udp(event):
    """The device is named with the packet, if at all."""

    def step():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
            handle.settimeout(event.get("wait_s", WAIT_S))
            info = []
            if event.get("device"):
                index = struct.pack("=iII", 2, 0, 0)
                info.append((socket.IPPROTO_IP, 8, index))
            handle.sendmsg([b"hello"], info, 0, (event["address"], event["port"]))
            return "ok" if handle.recv(64) == b"hello" else "something else"

    return attempt(step)


def change_network(event):
    def ioctl(number):
        import fcntl

        def step():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
                fcntl.ioctl(handle, number, struct.pack("16sh22x", b"eth0", 0))
            return "ok"

        return step

    return {
        "netlink": attempt(lambda: socket.socket(16, socket.SOCK_RAW, 0).close()),
        "packets": attempt(lambda: socket.socket(17, socket.SOCK_RAW, 3).close()),
        "raw": attempt(lambda: socket.socket(2, socket.SOCK_RAW, 255).close()),
        "tap": attempt(lambda: os.open("/dev/net/tun", os.O_RDWR)),
        "down": attempt(ioctl(0x8914)),
        "route": attempt(ioctl(0x890C)),
    }


def look_up(event):
    """By Python, and by a program that the tenant brought along."""
    try:
        found = socket.getaddrinfo(event["name"], 80, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        return f"EAI {error.errno}"
    return sorted({one[4][0] for one in found})


def getent(event):
    command = ["/usr/bin/getent", "ahostsv4", event["name"]]
    return subprocess.run(command, capture_output=True, check=False).returncode


def handler(event, context):
    return globals()[event["do"]](event)
