"""What an interpreter in a jail is started with."""

from sandlot_sandbox.launcher.runtime import Runtime

_ENVIRONMENT = {
    "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
    "LD_LIBRARY_PATH": (
        "/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task"
        ":/var/task/lib:/opt/lib"
    ),
    "LANG": "en_US.UTF-8",
    "LC_CTYPE": "C.UTF-8",
    "TZ": ":UTC",
    # All symbols at once, in the zygote: a clone that is the first to call a function
    # of a library would otherwise look it up, and write down where it is.
    "LD_BIND_NOW": "1",
}
"""What the interpreter itself reads at its start. The function's own environment
comes later, over the zygote's channel, and never through the launcher."""


def environment_of(runtime: Runtime) -> dict[str, str]:
    libraries = f"/{runtime.place}/lib:{_ENVIRONMENT['LD_LIBRARY_PATH']}"
    return _ENVIRONMENT | {"LD_LIBRARY_PATH": libraries}
