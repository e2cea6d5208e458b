"""An engine that lives with what docs/systemd/sandlot.service takes away from it.

There need be no systemd: what it would do is done by util-linux. `ProtectHome` and
`PrivateTmp` are left out, since this tree or its data may lie there.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e import processes
from tests.e2e.conftest import deploy_guest
from tests.e2e.engines import Mode, new_engine
from tests.e2e.processes import Role
from tests.systemd import SYSTEM, dropped_capabilities, read_unit

_UNSHARE, _SETPRIV = shutil.which("unshare"), shutil.which("setpriv")

_CAP_SYS_MODULE = 16

_FULL = "/usr /boot /efi /etc"
"""What `ProtectSystem=full` makes read-only."""


def _as_the_service() -> tuple[str, ...]:
    unit = read_unit(SYSTEM)
    assert unit["Service.ProtectSystem"] == ["full"]
    assert unit["Service.NoNewPrivileges"] == ["yes"]
    assert unit["Service.UMask"] == ["0077"]
    listed = subprocess.run(
        [str(_SETPRIV), "--list-caps"],
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    ).stdout.split()
    names = [name.removeprefix("cap_") for name in dropped_capabilities(unit)]
    dropped = ",".join(f"-{name}" for name in names if name in listed)
    assert "-sys_module" in dropped
    script = (
        f"for at in {_FULL}; do if test -d $at; then"
        " mount --rbind $at $at && mount -o remount,bind,ro $at || exit 99; fi; done;"
        f' umask 0077; exec {_SETPRIV} --no-new-privs --bounding-set={dropped} "$@"'
    )
    return str(_UNSHARE), "--mount", "/bin/sh", "-c", script, "sh"


@pytest.mark.skipif(
    os.geteuid() != 0 or None in (_UNSHARE, _SETPRIV),
    reason="takes root, and util-linux's unshare and setpriv",
)
def test_an_engine_runs_within_what_the_service_takes_away() -> None:
    with new_engine(Mode.ROOT) as engine:
        engine.started_by = _as_the_service()
        engine.start()

        function = deploy_guest(engine.client(), "counter")

        assert function.invoke().value["count"] == 1
        assert engine.client().status().mode == Mode.ROOT
        launcher = processes.family_of(engine.pid).only(Role.LAUNCHER)
        status = dict(
            line.split(":\t", 1)
            for line in Path(f"/proc/{launcher.pid}/status").read_text().splitlines()
            if ":\t" in line
        )
        assert status["NoNewPrivs"] == "1"
        assert not int(status["CapBnd"], 16) >> _CAP_SYS_MODULE & 1
        assert engine.stop() == 0
