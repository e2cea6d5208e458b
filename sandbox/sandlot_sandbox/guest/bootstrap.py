"""The zygote's first file: exec'd in the jail, by an interpreter in isolated mode."""

import sys

sys.path.insert(0, "/var/runtime")

from sandlot_sandbox.guest import zygote

if __name__ == "__main__":
    sys.path.remove("/var/runtime")
    zygote.main(sys.argv[1:])
