// The environment as a function sees it, with the trace of the event that it is at. That
// is no variable of the process: setenv(3) keeps each value that one ever had, 200 bytes
// for every event.

import { syncBuiltinESMExports } from 'node:module';

const TRACE = '_X_AMZN_TRACE_ID';

// What sets the trace; nothing, to take it away.
export function patchEnvironment() {
  const own = process.env;
  let trace;
  const isThere = () => trace !== undefined;
  process.env = new Proxy(own, {
    get: (_, name) => (name === TRACE ? trace : own[name]),
    has: (_, name) => (name === TRACE ? isThere() : name in own),
    set: (_, name, value) => {
      if (name === TRACE) trace = String(value);
      else own[name] = value;
      return true;
    },
    deleteProperty: (_, name) => {
      if (name === TRACE) trace = undefined;
      else delete own[name];
      return true;
    },
    ownKeys: () => (isThere() ? [...Reflect.ownKeys(own), TRACE] : Reflect.ownKeys(own)),
    getOwnPropertyDescriptor: (_, name) => {
      if (name !== TRACE) return Reflect.getOwnPropertyDescriptor(own, name);
      if (!isThere()) return undefined;
      return { value: trace, writable: true, enumerable: true, configurable: true };
    },
  });
  // For those who import it by name.
  syncBuiltinESMExports();
  return (value) => { trace = value; };
}
