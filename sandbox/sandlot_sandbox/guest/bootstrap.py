"""The zygote's first file: exec'd in the jail, by an interpreter in isolated mode."""

import sys

sys.path.insert(0, "/var/runtime")

from sandlot_sandbox.guest import awslambdaricmain, zygote  # noqa: F401 - see there

if __name__ == "__main__":
    sys.path.remove("/var/runtime")
    zygote.main(sys.argv[1:])
