"""Functions of Node find what they ask of their machine, and copy files."""

import shutil

import pytest

from sandlot import FunctionHandle
from tests.e2e.conftest import Deploy

_NODE = "nodejs20.x"

_COPIES = """
import fs from 'node:fs';

export const handler = async () => {
  fs.copyFileSync('/var/task/index.mjs', '/tmp/one');
  await fs.promises.copyFile('/tmp/one', '/tmp/two');
  fs.cpSync('/var/task', '/tmp/all', { recursive: true });
  const copies = ['/tmp/one', '/tmp/two', '/tmp/all/index.mjs'];
  return copies.map((name) => fs.readFileSync(name, 'utf8'));
};
"""

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
    function = _deployed(deploy, _SOURCE)

    told = function.invoke().value

    assert min(told["cpus"]) >= 1
    assert len(set(told["cpus"])) == 1
    assert told["times"] == 5
    assert "127.0.0.1" in told["interfaces"]


def test_node_copies_files(deploy: Deploy) -> None:
    function = _deployed(deploy, _COPIES)

    assert function.invoke().value == [_COPIES] * 3


def _deployed(deploy: Deploy, source: str) -> FunctionHandle:
    if shutil.which("node") is None:
        pytest.skip("there is no Node here")
    return deploy(
        {"index.mjs": source}, handler="index.handler", runtime=_NODE, timeout=20
    )
