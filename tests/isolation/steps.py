"""Which steps are made to fail, where, and why the others are not.

All are found in the code (`faults.py`). What is in none of the lists has to be in
`EXPLAINED`, with its reason: so that a new step is either tried or explained.
"""

from dataclasses import replace
from pathlib import Path

import sandlot_sandbox
from sandlot_sandbox.launcher import cgroups
from tests.isolation.faults import NO_ERRNO, Step, find_steps

PACKAGE = Path(sandlot_sandbox.__file__).parent


def _of(file: str, only: str = "", *, without: str = "", again: str = "") -> list[Step]:
    return find_steps(PACKAGE, file, only=only, without=without, again=again)


OUTSIDE = [
    *_of(
        "guest/enter.py",
        without="move_into_image _place",
        again="mount_tmp mount_proc",
    ),
    *_of(
        "guest/warden.py",
        without="run _Warden._heed _Warden._look _Warden._pull _Warden._reap"
        " _Warden._tell_failed",
    ),
    *_of("guest/cell.py", without="_listen _take_over"),
    *_of("guest/holder.py", "Holder.clone Holder._pass_on_nothing_else"),
    *_of(
        "guest/network_memory.py",
        "open_questions NetworkMemory.__init__ _room_of",
        again="open_questions",
    ),
    *_of("guest/network_memory.py", "open_number"),
    *_of("guest/namespaces.py"),
    *_of("guest/zygote.py", "main"),
    *_of("launcher/jails.py"),
    *_of("launcher/zygotes.py"),
    *_of("launcher/rootfs.py"),
    *_of("launcher/orders.py", "_folder"),
    *_of("launcher/server.py", "Server._made"),
    *_of("launcher/users.py", "UserIds.take write_maps acting_as _any_of"),
    *_of(
        "launcher/cgroups/group.py",
        "Group.make Group.open_joins Group.open_joins_of Group.open_files",
    ),
    *_of("launcher/cgroups/families.py", "Family.__init__ Family.add"),
    *_of("launcher/cgroups/interface.py", "Interface.limit"),
    *_of(
        "launcher/cgroups/files.py",
        "make_folder open_file write_file",
        again="make_folder",
    ),
    *_of("limits.py"),
    *_of("linux.py", "clone clone_mount set_capabilities"),
    *_of("linux.py", "raise_loopback", again="raise_loopback"),
]
"""What launcher, warden and cell do before an instance can enter the cell, and the
zygote before it has its settings."""

HEIRS = _of("guest/cell.py", "_take_over")
"""What a cell does beside that has the /tmp of one that is dead."""

IN_V2 = _of("launcher/cgroups/families.py", "Family.let_in")
"""The same, where control groups are v2's."""

INSIDE = [
    *_of("guest/entry.py"),
    *_of(
        "guest/zygote.py",
        "_left_behind _Zygote.__init__ _Zygote.serve _Zygote._obey_next _Zygote._fork"
        " _Zygote._make_unique _give_back_signals",
    ),
]
"""What a zygote and its clone do before that is an instance; but for the calls of
`CALLS`."""

CALLS_OF_A_CELL = (
    *("rt_sigaction 0", "prctl 0", "write 0", "mount 0", "mount 1", "socket 0"),
    *("ioctl 0", "openat 0", "openat 1", "openat 2", "dup3 0", "dup3 1", "dup3 2"),
    *("openat 3", "dup3 3", "open_tree 0", "dup3 4", "landlock_create_ruleset 0"),
    *("dup3 5", "openat 4", "dup3 6", "landlock_add_rule 0", "openat 5", "dup3 7"),
    "landlock_add_rule 1",
    *("socket 1", "bind 0", "listen 0", "sendmsg 0", "close_range 0", "capset 0"),
    *("prctl 1", "seccomp 0"),
)
"""By which its first process makes a cell, where there are control groups."""

CALLS_OF_AN_HEIR = ("move_mount 0",)
"""What it makes in place of a new /tmp."""

CALLS = (
    *("write 0", "setns 0", "setns 1", "chdir 0", "dup3 0", "dup3 1", "dup3 2"),
    *("close 0", "close 1", "prlimit64 0", "landlock_restrict_self 0", "capset 0"),
    *("close 2", "close 3"),
)
"""By which a clone enters its cell, and the how manieth of its kind each is: made by
machine code, out of a table."""

CALLS_OF_A_CLONE = (*CALLS, "getrandom 0")
"""One that machine code forks draws its log stream's name on its way."""

CALLS_OF_A_PROGRAM = (*CALLS, "rt_sigaction 0", "rt_sigaction 1", "close_range 0")
"""By which a child does that becomes a program at once."""

IN_CHILD = [
    replace(step, error=NO_ERRNO)
    for step in _of("guest/zygote.py", "_give_back_signals")
]
"""What a clone does first, failing as nobody expects it."""

IN_STARTER = [
    replace(step, error=NO_ERRNO)
    for step in _of("guest/starter.py", "run")
    if step.text == "linux.heed_signals()"
]
"""The same of a starter, before it becomes its program."""

STARTING = [
    *_of("launcher/__main__.py", "_main"),
    *_of("linux.py", "landlock_version"),
    *_of("launcher/users.py", "become_root_of_own_namespace"),
    *_of("launcher/cgroups/tree.py", "Tree.plant Tree._limit_processes"),
    *_of("launcher/cgroups/sweeping.py", "claim"),
    *_of("launcher/cgroups/janitor.py", "Janitor._start"),
]
"""What a launcher does once, after it has said what this machine can enforce."""

HEARING = _of("launcher/server.py", "Server._hear_engine Server._hear_warden")
"""Without which a launcher is of no use to anybody."""

_OF_IMAGES = "linux.unshare(linux.CLONE_NEWNS)"

IMAGES = [
    *_of("guest/enter.py", "move_into_image _place"),
    *_of("launcher/orders.py", "_root_of_image"),
    *(step for step in _of("guest/warden.py") if step.text == _OF_IMAGES),
    *(step for step in _of("launcher/rootfs.py") if "IMAGE" in step.text),
]
"""What makes an image the root of cells, before there is one."""

OUTSIDE = [step for step in OUTSIDE if step not in IMAGES]

BUILDING_IMAGES = [
    *_of("guest/builder.py", "_make_image"),
    *_of("guest/image.py"),
]
"""What makes its files, in a builder's jail."""

BUILDING = [
    *_of("guest/builder.py", without="_make_image"),
    *_of("guest/unpacking.py"),
    *_of("launcher/orders.py", "_same_folder"),
    *_of("launcher/users.py", "UserIds.of_owner"),
]
"""What unpacks a package, in its jail and before."""

EGRESS = [
    *_of("launcher/networks.py", "Network.start"),
    *_of(
        "launcher/network_link.py",
        "make_link own_networks _attach_filter _tell_kernel _rtnetlink _replies",
    ),
    *_of(
        "launcher/network_relay.py",
        "run _prepare _let_go_of_the_launchers _in_child _make_root _clone _start_slirp"
        " _become_slirp _lower _give_up_privileges _connect _seal",
    ),
]
"""What stands between a cell and its way out: see `test_egress.py`."""

TRIED = [
    *(*OUTSIDE, *HEIRS, *IN_V2, *INSIDE, *STARTING, *HEARING, *BUILDING, *EGRESS),
    *(*IMAGES, *BUILDING_IMAGES),
]

_WAITING = "what is done once all is made, and waits for what comes then"
_ASKS = "a question, whose answer decides and cannot be wrong by failing"
_IN_THE_CELL = "after the last step into the cell: whatever is run, is run in there"
_ENDS = "ends something; tried again until it is gone"
_ITS_OWN = "the tenant's own memory, which stays where it is"
_EARLY = "before the probe, which takes the same steps: nothing has been said yet"

EXPLAINED_TEXTS = {
    "_signal.pause()": _WAITING,
    "obey(0, turns)": _WAITING,
    "message, joins, _, _ = socket.recv_fds(": _WAITING,
    "os.read(self._wake_read, 512)": _WAITING,
    "os.umask(0o077)": _EARLY,
    "os.setsid()": _EARLY,
    "signal.signal(signal.SIGINT, signal.SIG_DFL)": _EARLY,
    "engine = socket.socket(fileno=arguments.channel)": _EARLY,
    "if os.getppid() != arguments.parent:": _ASKS,
    "elif os.geteuid() != 0 and probe.can_make_user_namespaces(said.layers):": _ASKS,
    "channel.recv(frames.MAX_NOTE)": "a zygote that did not import waits for its end",
}
"""Statements of functions that are tried else."""

EXPLAINED = {
    "launcher/__main__.py:_landlock": _ASKS + "; `landlock_version` is tried",
    "launcher/__main__.py:_take_descriptors": _EARLY,
    "launcher/cgroups/districts.py:weight_of": _ASKS,
    "launcher/cgroups/districts.py:_may_go_first": _EARLY,
    "launcher/cgroups/tree.py:Tree._weigh": "whose turn is when holds nobody to less",
    "launcher/cgroups/families.py:Estate.__init__": "a name; not for each zygote",
    "launcher/cgroups/layout.py:find": _EARLY,
    "launcher/cgroups/layout.py:_v2_folder": _EARLY,
    "launcher/cgroups/layout.py:_is_ours_alone": _EARLY,
    "launcher/cgroups/layout.py:make_room_in_v2": "the probe has made room already",
    "launcher/cgroups/layout.py:enable": "v2 has no controllers beside v1's, as on CI",
    "launcher/cgroups/group.py:Group.thaw": _ENDS,
    "launcher/cgroups/sweeping.py:_thaw_all": _ENDS,
    "launcher/cgroups/janitor.py:_wait_and_clean": "it holds nobody back",
    "launcher/child.py:run": _EARLY,
    "launcher/child.py:_work": _EARLY,
    "launcher/child.py:_read_all": _EARLY,
    "launcher/filters.py:_export": "the launcher, which ends without its filters",
    "launcher/network_link.py:_error": "makes a message",
    "launcher/network_relay.py:_Relay._take_from_cell": _WAITING,
    "launcher/network_relay.py:_Relay._resume": _WAITING,
    "launcher/network_relay.py:_Relay._give_to_cell": _WAITING,
    "launcher/network_relay.py:_Relay._is_slirp_alive": _WAITING,
    "launcher/networks.py:WayOut.outcome": "reads what went wrong",
    "launcher/networks.py:Network.__init__": _ASKS,
    "launcher/networks.py:_find_program": _ASKS,
    "launcher/networks.py:_expect_tun": _ASKS,
    "launcher/networks.py:probe_egress": "`doctor`, which makes nothing for anybody",
    "launcher/networks.py:_attempt": "`doctor`, which makes nothing for anybody",
    "launcher/resolver.py:Resolver._ask": _WAITING,
    "launcher/resolver.py:Resolver._hear_server": _WAITING,
    "launcher/registry.py:read": "what is not read is not registered, and not run",
    "launcher/registry.py:write": "the operator's command, before anything is run",
    "launcher/registry.py:Registry._look": "what is not read is not registered",
    "launcher/registering.py:renew": "the supervisor, before there is a launcher",
    "launcher/registering.py:_lock": "the supervisor, before there is a launcher",
    "launcher/registering.py:_others_may_change": "the supervisor, and a command",
    "launcher/registering.py:_trouble_with_program": "the supervisor, and a command",
    "launcher/runtimes.py:_candidates": "the supervisor, before there is a launcher",
    "launcher/runtimes.py:_is_script": "the supervisor, before there is a launcher",
    "launcher/runtimes.py:prepare": "the supervisor, before there is a launcher",
    "launcher/runtimes.py:_copy": "the supervisor, before there is a launcher",
    "launcher/runtimes.py:_copy_folder": "the supervisor, before there is a launcher",
    "launcher/runtimes.py:_sync_file_system": (
        "the supervisor, before there is a launcher"
    ),
    "launcher/server.py:Server._open_way_out": "`Network.start` is tried",
    "launcher/server.py:Server._tell": "the engine is gone then, and the launcher ends",
    "launcher/server.py:_last_words": "reads what went wrong",
    "launcher/sockets.py:number_of": _WAITING + "; and is asked again",
    "launcher/users.py:is_root_of_many": _ASKS,
    "launcher/cgroups/families.py:_processors": _ASKS,
    "guest/bytecode.py:compile_apart": "bytecode is a nicety; its child is apart",
    "guest/bytecode.py:_keep": "bytecode is a nicety",
    "guest/bytecode.py:_room_for": "bytecode is a nicety",
    "guest/bytecode.py:_content": "bytecode is a nicety",
    "guest/bytecode.py:_sweep": "bytecode is a nicety",
    "guest/cell.py:_listen": "a cell without is not handed out; takes nothing away",
    "guest/failures.py:_write_to_descriptor": "prints, in the tenant's own process",
    "guest/fork_safety.py:files_to_reopen": "the tenant's own process looks at itself",
    "guest/fork_safety.py:reopen": "the tenant's own process looks at itself",
    "guest/fork_safety.py:_descriptors": "the tenant's own process looks at itself",
    "guest/fork_safety.py:_is_appended": "the tenant's own process looks at itself",
    "guest/fork_safety.py:_is_writable": "the tenant's own process looks at itself",
    "guest/fork_safety.py:_target": "the tenant's own process looks at itself",
    "guest/fork_safety.py:_threads": "the tenant's own process looks at itself",
    "guest/fork_safety.py:_has_children": "the tenant's own process looks at itself",
    "guest/fork_safety.py:_lines": "the tenant's own process looks at itself",
    "guest/fork_loop.py:expected_descriptors": "without it forks are Python's",
    "guest/places.py:_of_name": "without it forks are Python's",
    "guest/sealed_memory.py:_lay_down": _ITS_OWN,
    "guest/sealed_memory.py:lay_down": _ITS_OWN,
    "guest/sealed_memory.py:_file": _ITS_OWN,
    "guest/sealed_memory.py:_mappings": _ITS_OWN,
    "guest/sealed_memory.py:resident_kb": _ITS_OWN,
    "guest/zygote.py:_say_not_entered": "makes a message",
    "guest/handler.py:invoke": "calls the tenant's handler",
    "guest/calls.py:Calls.add": "a number, of which `number_of` knows",
    "guest/starter.py:_why": "makes a message",
    "guest/holder.py:Holder._calls": "a table; see `CALLS_OF_A_CELL`",
    "guest/holder.py:_open": "a table; see `CALLS_OF_A_CELL`",
    "guest/calls.py:Prepared.spawn": "where there is no child, none was forked",
    "guest/calls.py:CallFailed.__init__": "makes a message",
    "guest/calls.py:Prepared._make_each": "for want of machine code; see `CALLS`",
    "guest/starter.py:Start.spawn": "tells why there is no program",
    "guest/starter.py:_say_not_started": "tells why there is no program",
    "guest/warden.py:_Warden._tell_failed": "tells why there is no cell",
    "guest/zygote.py:_Zygote._say_ready": "one that does not say so is late",
    "guest/instance.py:_pair": "makes nothing that lasts",
    "guest/instance.py:_serve_an_event_of_ours": "makes nothing that lasts",
    "guest/instance.py:_serve": "an answer that does not come is none",
    "guest/program.py:Client.__init__": _IN_THE_CELL,
    "guest/program.py:Client._more": _IN_THE_CELL,
    "guest/image_layout.py:machine": _ASKS,
    "guest/image_run.py:Run.enter": _IN_THE_CELL,
    "guest/image_run.py:_program": _IN_THE_CELL,
    "guest/image_run.py:settle": "reads what is run; takes nothing away",
    "guest/starter.py:_become": _IN_THE_CELL,
    "guest/starter.py:_extensions": _IN_THE_CELL,
    "guest/starter.py:_is_program": _IN_THE_CELL,
    "guest/starter.py:_Parent.run": _IN_THE_CELL,
    "guest/starter.py:_Parent._obey": _IN_THE_CELL,
    "guest/delivery.py:run": _IN_THE_CELL,
    "guest/delivery.py:Couriers.send": _IN_THE_CELL,
    "guest/delivery.py:wake_at_deaths": _IN_THE_CELL,
    "guest/delivery.py:deliver": _IN_THE_CELL,
    "guest/starter.py:_Parent._start_runtime": _IN_THE_CELL,
    "guest/starter.py:_Parent._start_extension": _IN_THE_CELL,
    "guest/starter.py:_tell": _IN_THE_CELL,
    "guest/starter.py:run": _IN_THE_CELL,
    "guest/tmp_files.py:_Left.__init__": "the tenant's own files; told as a reason",
    "guest/tmp_files.py:_Left.make": "a clone without them says so",
    "guest/tmp_files.py:_Left.finish": "a clone without them says so",
    "guest/tmp_files.py:_Left._remove": "a clone without them says so",
    "guest/tmp_files.py:_Left._copy": "a clone without them says so",
    "guest/tmp_files.py:_Appended.__init__": "the tenant's own file; told as a reason",
    "guest/tmp_files.py:_Appended.reopen": "a clone without it says so",
    "guest/tmp_files.py:keep": "the tenant's own process looks at itself",
    "guest/tmp_files.py:restore": "a clone without them says so",
    "guest/tmp_files.py:_all_below": "the tenant's own process looks at itself",
    "guest/uniqueness.py:_reseed_random_state": "a clone that is not unique says so",
    "guest/uniqueness.py:_forget_uuid_state": "a clone that is not unique says so",
    "guest/unused_sockets.py:_Unused.__init__": "the tenant's own socket",
    "guest/unused_sockets.py:_Unused.reopen": "a clone without it says so",
    "guest/unused_sockets.py:looked_at": "the tenant's own process looks at itself",
    "guest/unused_sockets.py:_options_of": "the tenant's own process looks at itself",
    "guest/network_memory.py:NetworkMemory._queues": _WAITING,
    "guest/network_memory.py:_table": _WAITING,
    "guest/proc.py:threads_of": _WAITING,
    "guest/warden.py:_Warden._heed": _WAITING,
    "guest/warden.py:_Warden._pull": _WAITING,
    "guest/warden.py:_Warden._reap": _WAITING,
    "guest/leash.py:obey": _WAITING,
    "guest/footprint.py:_ranges": _ITS_OWN,
    "guest/footprint.py:_mappings": _ITS_OWN,
    "guest/watch.py:Watch.add": _WAITING,
    "guest/watch.py:Watch._signal_at_home": _WAITING,
    "guest/proc.py:all_pids": _WAITING,
    "guest/proc.py:namespace_of": _WAITING,
    "guest/proc.py:ticks_of": _WAITING,
    "guest/proc.py:_mappings": _WAITING,
    "guest/proc.py:_fields": _WAITING,
    "guest/zygote.py:_folder": "a name, that the import could choose itself",
    "guest/zygote.py:_Zygote._say_unsafe": "a zygote that says nothing is killed",
    "guest/zygote.py:_Zygote._say_failed": "a zygote that says nothing is killed",
    "guest/zygote.py:_Zygote._reap": _WAITING,
}
"""Functions of which no step is made to fail, and why."""

HIERARCHIES = len(cgroups.find().v1) or 1
"""In how many a zygote has a group, as root."""

_NEEDS_GROUPS = frozenset(('os.write(join, b"0")',))
_NEEDS_NO_GROUPS = frozenset(("os.dup2(leash[0], 0)", "leash = os.pipe2(os.O_CLOEXEC)"))
_NEEDS_ROOT = frozenset(
    (
        *("os.setgroups([])", 'os.chown("run", plan.user, plan.user)'),
        "os.setresgid(plan.user, plan.user, plan.user)",
        "os.setresuid(plan.user, plan.user, plan.user)",
    )
)
_OF_ROOT = frozenset(("acting_as", "UserIds.of_owner"))
_WITHOUT_LINKS = (
    *("sources.append((name, _clone(str(path))))", "linux.move_mount(source, name)"),
    "os.mkdir(name, 0o755)",
)
"""Taken for `/usr` alone where `/lib` and the like are links into it."""


def all_of(*folders: str) -> list[Step]:
    """Every step of the files in these folders of the package."""
    paths = [path for folder in folders for path in (PACKAGE / folder).rglob("*.py")]
    files = sorted(str(path.relative_to(PACKAGE)) for path in paths)
    return [step for file in files for step in find_steps(PACKAGE, file)]


def is_of_a_way_out_reached(step: Step, mode: str) -> bool:
    """The same, of a cell's way out."""
    if step.text in _WITHOUT_LINKS and Path("/lib").is_symlink():
        return not step.spared and not step.text.startswith("sources")
    return mode == "root" or step.text not in _NEEDS_ROOT


def is_made(call: str, mode: str) -> bool:
    """Whether a clone in a launcher of that mode has that call on its way."""
    return mode == "root" or not call.startswith("write")


_OF_A_CELL = frozenset(("_hold", "_take_over", "make_instance_ruleset", "seal_reaper"))
_OF_A_CELL_TOO = frozenset(("mount_tmp", "mount_proc", "raise_loopback"))
"""Once in a jail, and then in cells."""


def _is_of_a_cell(step: Step) -> bool:
    """Whether a cell's first process takes it in one of the two ways that there are."""
    return (
        step.function in _OF_A_CELL
        or (step.function in _OF_A_CELL_TOO and bool(step.spared))
        or step.text.startswith(("pid = linux.clone", "pid = holder.clone"))
    )


def _is_of_a_holder(step: Step) -> bool:
    """In that which is taken where there are control groups: else it is Python's."""
    return step.text.startswith("pid = holder.clone")


def is_reached(step: Step, mode: str) -> bool:
    """Whether a launcher of that mode, and what it makes, comes by here."""
    has_groups = is_root = mode == "root"
    if step.text in EXPLAINED_TEXTS:
        return False
    if step.file.startswith("launcher/cgroups/"):
        return has_groups and step.spared < HIERARCHIES
    if step.function == "open_number":
        return has_groups
    if step.file in ("guest/watch.py", "guest/network_memory.py"):
        return not has_groups
    if step.file == "guest/holder.py":
        return has_groups
    if _is_of_a_holder(step) != has_groups and _is_of_a_cell(step):
        return False
    if step.text in (_NEEDS_NO_GROUPS if has_groups else _NEEDS_GROUPS):
        return False
    if step.function == "become_root_of_own_namespace":
        return not is_root
    return is_root or not (step.text in _NEEDS_ROOT or step.function in _OF_ROOT)
