"""The same work done by others, each of them the real thing, in the same run.

`bare`       the floors: a new interpreter; a fork, and a clone into namespaces, no jail
`commands`   what starts a process in a sandbox: bubblewrap, crun, runc, runsc
`services`   what serves functions over HTTP: functions-framework, MiniStack
`echoes`     servers that do nothing: what the sockets and the protocols take

Where they are installed is told by `benchmarks.cache`.
"""

from benchmarks.peers.bare import (
    BareChild,
    BareForkServer,
    bare_fork_server,
    exec_python,
    socket_echo,
)

__all__ = [
    "BareChild",
    "BareForkServer",
    "bare_fork_server",
    "exec_python",
    "socket_echo",
]
