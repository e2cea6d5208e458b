"""Functions of Node find what they ask of their machine."""

import shutil

import pytest

from tests.e2e.conftest import Deploy

_NODE = "nodejs20.x"

_SOURCE = """
import os, { cpus } from 'node:os';
import { createRequire } from 'node:module';

const required = createRequire(import.meta.url)('os');
export const handler = async () => ({
  cpus: [os.cpus().length, cpus().length, required.cpus().length],
  times: Object.keys(os.cpus()[0].times).length,
  interfaces: os.networkInterfaces().lo.map((one) => one.address),
});
"""


def test_node_counts_processors_and_lists_its_loopback(deploy: Deploy) -> None:
    if shutil.which("node") is None:
        pytest.skip("there is no Node here")
    function = deploy(
        {"index.mjs": _SOURCE}, handler="index.handler", runtime=_NODE, timeout=20
    )

    told = function.invoke().value

    assert min(told["cpus"]) >= 1
    assert len(set(told["cpus"])) == 1
    assert told["times"] == 5
    assert "127.0.0.1" in told["interfaces"]
