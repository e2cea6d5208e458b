// What Node asks of the machine by ways that a jail has not: processors by /proc/cpuinfo,
// of which it then finds none, and networks by netlink, at which it throws.

import os from 'node:os';
import { syncBuiltinESMExports } from 'node:module';

const { availableParallelism = () => 1, cpus, networkInterfaces } = os;

const UNKNOWN = { model: 'unknown', speed: 0 };
const LOOPBACK = {
  address: '127.0.0.1',
  netmask: '255.0.0.0',
  family: 'IPv4',
  mac: '00:00:00:00:00:00',
  internal: true,
  cidr: '127.0.0.1/8',
};

function processors() {
  const found = cpus();
  if (found.length > 0) return found;
  const times = () => ({ user: 0, nice: 0, sys: 0, idle: 0, irq: 0 });
  return Array.from({ length: availableParallelism() }, () => ({ ...UNKNOWN, times: times() }));
}

function interfaces() {
  try {
    return networkInterfaces();
  } catch {
    return { lo: [{ ...LOOPBACK }] };
  }
}

export function patchOs() {
  os.cpus = processors;
  os.networkInterfaces = interfaces;
  // For those who import them by name.
  syncBuiltinESMExports();
}
