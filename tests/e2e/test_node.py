"""Functions of Node find what they ask of their machine, and copy files."""

import shutil
import subprocess
from pathlib import Path

import pytest

import sandlot_sandbox
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


_TRACED = """
import { execFileSync } from 'node:child_process';
import { env } from 'node:process';

const NAME = '_X_AMZN_TRACE_ID';

export const handler = async () => {
  const { [NAME]: trace, ...others } = process.env;
  const command = [process.execPath, ['-p', `process.env.${NAME}`]];
  process.env.OTHER = 'one';
  const ofChild = execFileSync(...command).toString().trim();
  const seen = [trace, env[NAME], { ...process.env }[NAME], ofChild];
  const isListed = Object.keys(process.env).includes(NAME) && NAME in process.env;
  const found = [env.OTHER, others.OTHER, process.env.AWS_LAMBDA_FUNCTION_NAME];
  delete process.env.OTHER;
  process.env[NAME] = 1;
  found.push('OTHER' in process.env, process.env[NAME]);
  return { seen, isListed, others: found };
};
"""


def test_node_finds_the_trace_of_each_event_wherever_it_looks(deploy: Deploy) -> None:
    function = _deployed(deploy, _TRACED)

    first, second = (function.invoke({}).value for _ in range(2))

    for told in (first, second):
        assert told["seen"][0].startswith("Root=1-")
        assert len(set(told["seen"])) == 1
        assert told["isListed"]
        assert told["others"] == ["one", None, function.name, False, "1"]
    assert first["seen"] != second["seen"]


_TRACES = """
const { patchEnvironment } = await import(process.argv[1]);
const setTrace = patchEnvironment();
const rounds = (count) => {
  for (let n = 0; n < count; n += 1) setTrace(`Root=1-${n}-${'0'.repeat(120)}`);
  gc();
  return process.memoryUsage.rss();
};
const before = rounds(200_000);
console.log((rounds(400_000) - before) / 1024);
"""


def test_the_traces_of_past_events_take_no_memory_of_node() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no Node here")
    module = Path(sandlot_sandbox.__path__[0]) / "guest" / "node" / "environment.mjs"
    flags = ("--expose-gc", "--input-type=module")

    more_kb = subprocess.check_output([node, *flags, "-e", _TRACES, module])

    assert float(more_kb) < 20_000  # of the 54,000 that setenv(3) would keep


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
