// The Runtime API, as its one client in this process sees it.

import http from 'node:http';
import { errorObject, typeOf } from './errors.mjs';

const BASE = '/2018-06-01/runtime';

// As it is before the function is loaded. Tracers and mocks put theirs in its place, to
// which our calls would be the function's own: a wait for the next event is none of its
// spans, and belongs to no trace.
const { Agent, request: send } = http;

export class Api {
  constructor(address) {
    const [hostname, port] = address.split(':');
    // A kept connection that nothing is on does not keep the process alive; the call
    // for the next event does.
    this.agent = new Agent({ keepAlive: true, maxSockets: 2 });
    this.options = { hostname, port: Number(port), agent: this.agent };
  }

  next() {
    return this.#call('GET', `${BASE}/invocation/next`);
  }

  response(id, text) {
    return this.#call('POST', `${BASE}/invocation/${id}/response`, text, {
      'Content-Type': 'application/json',
    });
  }

  error(id, error) {
    return this.#tell(`${BASE}/invocation/${id}/error`, error);
  }

  initError(error) {
    return this.#tell(`${BASE}/init/error`, error);
  }

  startResponse(id) {
    return new StreamedRequest(this.options, `${BASE}/invocation/${id}/response`);
  }

  #tell(path, error) {
    return this.#call('POST', path, JSON.stringify(errorObject(error)), {
      'Content-Type': 'application/json',
      'Lambda-Runtime-Function-Error-Type': typeOf(error).replace(/[^\w.:$-]/g, ''),
    });
  }

  #call(method, path, text = '', headers = {}) {
    return new Promise((resolve, reject) => {
      const body = Buffer.from(text);
      if (method === 'POST') headers['Content-Length'] = body.length;
      const request = send({ ...this.options, method, path, headers }, (response) => {
        const chunks = [];
        response.on('data', (chunk) => chunks.push(chunk));
        response.on('end', () => resolve({
          status: response.statusCode,
          headers: response.headers,
          body: Buffer.concat(chunks).toString('utf8'),
        }));
        response.on('error', reject);
      });
      request.on('error', reject);
      request.end(body);
    });
  }
}

// A response that is sent while it is made. Nothing leaves before its first byte: until
// then it can still become an error.
class StreamedRequest {
  constructor(options, path) {
    this.hasBegun = false;
    this.contentType = 'application/octet-stream';
    this.options = options;
    this.path = path;
    this.trailers = {};
    this.answered = new Promise((resolve) => { this.resolve = resolve; });
  }

  begin() {
    if (this.hasBegun) return this.request;
    this.hasBegun = true;
    this.request = send({
      ...this.options,
      method: 'POST',
      path: this.path,
      headers: {
        'Content-Type': this.contentType,
        'Lambda-Runtime-Function-Response-Mode': 'streaming',
        'Transfer-Encoding': 'chunked',
        Trailer: 'Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body',
      },
    }, (response) => {
      response.resume();
      response.on('end', this.resolve);
    });
    this.request.on('error', this.resolve);
    return this.request;
  }

  fail(error) {
    this.trailers = {
      'Lambda-Runtime-Function-Error-Type': typeOf(error).replace(/[^\w.:$-]/g, ''),
      'Lambda-Runtime-Function-Error-Body': Buffer.from(
        JSON.stringify(errorObject(error)),
      ).toString('base64'),
    };
  }

  end(callback) {
    const request = this.begin();
    request.addTrailers(this.trailers);
    request.end(callback);
  }

  async abandon() {
    this.resolve();
  }
}
