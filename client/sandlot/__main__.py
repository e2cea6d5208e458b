"""`sandlot` and `python -m sandlot`: the command, from its first moment on."""

import io
import sys

_INTERRUPTED = 130
"""As the command itself has it, which is not there yet."""


def main() -> None:
    try:
        # A twentieth of a second, in which Ctrl-C would be a traceback of imports.
        from sandlot.cli import main as command
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(_INTERRUPTED)
    for stream in (sys.stdout, sys.stderr):
        # In a locale of Latin-1, say, our dots and dashes are no reason to end.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    command(prog_name="sandlot")


if __name__ == "__main__":
    main()
