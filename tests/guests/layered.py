"""Has modules and programs in layers; tells what it found of them."""

import errno
import os
import subprocess
import sys

import shared


def answer(event):
    return {"answer": shared.ANSWER, "file": shared.__file__}


def search_path(event):
    return sys.path


def see(event):
    return sorted(os.listdir(event["path"]))


def mode(event):
    return os.stat(event["path"]).st_mode


def run(event):
    """A program of a layer, by its name."""
    return subprocess.run(
        [event["name"]], capture_output=True, text=True, check=True
    ).stdout


def write(event):
    """Try to make a file in each folder, and to open each file for writing."""
    found = {}
    for path in event["paths"]:
        if os.path.isdir(path):
            path, made = os.path.join(path, "new"), path
        else:
            made = path
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT))
            found[made] = "ok"
        except OSError as error:
            found[made] = errno.errorcode[error.errno]
    return found


def handler(event, context):
    return globals()[event["do"]](event)
