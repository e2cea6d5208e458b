// Lines of the log as AWS writes them, one event a line: time, request, level, text; or,
// with the JSON format, an object.

import fs from 'node:fs';
import util from 'node:util';
import { asError, errorText } from './errors.mjs';

const LEVELS = ['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'];
const isJson = process.env.AWS_LAMBDA_LOG_FORMAT === 'JSON';
const least = LEVELS.indexOf((process.env.AWS_LAMBDA_LOG_LEVEL ?? '').toUpperCase());

let current = '';
let currentTenant;

export function setRequestId(id, tenantId) {
  current = id;
  currentTenant = tenantId;
}

function put(text) {
  const line = Buffer.from(`${text}\n`);
  for (let at = 0; at < line.length;) {
    try {
      at += fs.writeSync(1, line, at);
    } catch (error) {
      if (error.code !== 'EAGAIN') return;
    }
  }
}

function described(error) {
  return {
    errorType: error?.constructor?.name ?? 'UnknownError',
    errorMessage: error.message,
    stackTrace: typeof error.stack === 'string' ? error.stack.split('\n') : error.stack,
  };
}

const errorsToo = (_, value) => (value instanceof Error ? { ...described(value), ...value } : value);

function asJson(level, args) {
  const entry = { timestamp: new Date().toISOString(), level, requestId: current || undefined };
  if (currentTenant !== undefined) entry.tenantId = currentTenant;
  if (args.length === 1) {
    try {
      return JSON.stringify({ ...entry, message: args[0] }, errorsToo);
    } catch {
      return JSON.stringify({ ...entry, message: util.format(args[0]) });
    }
  }
  const error = args.find((arg) => arg instanceof Error);
  return JSON.stringify({ ...entry, message: util.format(...args), ...(error && described(error)) });
}

function write(level, args) {
  if (isJson) {
    if (LEVELS.indexOf(level) >= least) put(asJson(level, args));
    return;
  }
  const text = util.format(...args).replace(/\n/g, '\r');
  put(`${new Date().toISOString()}\t${current || 'undefined'}\t${level}\t${text}`);
}

// What went wrong with an invocation, or with all of it.
export function logError(what, error) {
  if (isJson) write('ERROR', [asError(error)]);
  else write('ERROR', [what, errorText(error)]);
}

export function patchConsole() {
  const levels = { log: 'INFO', info: 'INFO', debug: 'DEBUG', warn: 'WARN', error: 'ERROR', trace: 'TRACE', fatal: 'FATAL' };
  for (const [name, level] of Object.entries(levels)) {
    console[name] = (...args) => write(level, args);
  }
}
