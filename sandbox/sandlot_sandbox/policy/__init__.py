"""Which system calls a jailed process may make, as tables that can be reviewed.

The program built from one (`launcher/filters.py`) answers ENOSYS for what is not
listed and for arguments that no rule allows, so that libc falls back as it would
on an older kernel; EPERM for calls that are well known to be refused; and kills
the process for a foreign instruction set, whose call numbers would mean something
else.

`ZYGOTE` is loaded before the interpreter is exec'd, and every instance inherits it.
None loads one of its own: what only a fork needs is of no use without the capabilities
that it gives up; and who may load one can use up memory that all users share
(`docs/decisions/0038`).
`WARDEN` is loaded by pid 1 of a jail once its zygote is there; the first processes of
cells have it from there, and load `REAPER` on top.

Each is in a file with who it holds; `terms` has what they are written in.
"""

from sandlot_sandbox.policy.cells import REAPER, WARDEN
from sandlot_sandbox.policy.terms import Argument, Group, Policy, Rule, group, only
from sandlot_sandbox.policy.without_groups import ZYGOTE_WITHOUT_GROUPS
from sandlot_sandbox.policy.zygote import ZYGOTE

__all__ = [
    "REAPER",
    "WARDEN",
    "ZYGOTE",
    "ZYGOTE_WITHOUT_GROUPS",
    "Argument",
    "Group",
    "Policy",
    "Rule",
    "group",
    "only",
]
