// Lines of the log as AWS writes them: time, request, level, text; one event a line.

import fs from 'node:fs';
import util from 'node:util';

let current = '';

export function setRequestId(id) {
  current = id;
}

function write(level, args) {
  const text = util.format(...args).replace(/\n/g, '\r');
  const line = Buffer.from(`${new Date().toISOString()}\t${current || 'undefined'}\t${level}\t${text}\n`);
  for (let at = 0; at < line.length;) {
    try {
      at += fs.writeSync(1, line, at);
    } catch (error) {
      if (error.code !== 'EAGAIN') return;
    }
  }
}

export function patchConsole() {
  const levels = { log: 'INFO', info: 'INFO', debug: 'DEBUG', warn: 'WARN', error: 'ERROR', trace: 'TRACE', fatal: 'FATAL' };
  for (const [name, level] of Object.entries(levels)) {
    console[name] = (...args) => write(level, args);
  }
}
