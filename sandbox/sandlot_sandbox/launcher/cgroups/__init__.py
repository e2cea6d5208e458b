"""Control groups: what holds a whole instance to its memory, CPU and processes.

The launcher makes one tree, and in it a group for each zygote and one for each cell.
It knows three layouts, and takes each controller from where it is:

    v2       one group, joined through `cgroup.procs`
    v1       one group in each controller's hierarchy, joined through `tasks`
    hybrid   v1, where the v2 tree is there but has no controllers

A process joins by writing `0` to descriptors that were opened here. That moves
a single thread without the machine-wide lock that moving another's pid takes, ten
milliseconds of it; only v2 has no such way (`docs/decisions/0011-control-groups.md`).

Groups outlive their makers. So a janitor, a process of ours that waits for nothing
but the launcher's end, removes what it has left.
"""

from sandlot_sandbox.launcher.cgroups.families import Family
from sandlot_sandbox.launcher.cgroups.group import Group
from sandlot_sandbox.launcher.cgroups.interface import Interface
from sandlot_sandbox.launcher.cgroups.janitor import Janitor
from sandlot_sandbox.launcher.cgroups.layout import CONTROLLERS, Layout, find
from sandlot_sandbox.launcher.cgroups.tree import CgroupsUnavailable, Tree

__all__ = [
    "CONTROLLERS",
    "CgroupsUnavailable",
    "Family",
    "Group",
    "Interface",
    "Janitor",
    "Layout",
    "Tree",
    "find",
]
