// `awslambda.streamifyResponse`: a handler that writes its answer piece by piece.

import { Writable } from 'node:stream';

const STREAMS = Symbol.for('aws.lambda.runtime.handler.streaming');
const METADATA = 'application/vnd.awslambda.http-integration-response';
const END_OF_METADATA = Buffer.alloc(8);

export function streamifyResponse(handler) {
  handler[STREAMS] = 'response';
  return handler;
}

export function isStreaming(handler) {
  return handler[STREAMS] === 'response';
}

// What a handler writes to. Slow readers push back by way of the socket below.
export class ResponseStream extends Writable {
  constructor(request) {
    super();
    this.request = request;
  }

  setContentType(type) {
    if (this.request.hasBegun) throw new Error('The response has begun; its type is sent already.');
    this.request.contentType = type;
  }

  _write(chunk, encoding, callback) {
    const request = this.request.begin();
    if (request.write(chunk, encoding)) callback();
    else request.once('drain', callback);
  }

  _final(callback) {
    this.request.end(() => callback());
  }
}

export class HttpResponseStream {
  static from(stream, metadata) {
    stream.setContentType(METADATA);
    stream.write(JSON.stringify(metadata ?? {}));
    stream.write(END_OF_METADATA);
    return stream;
  }
}
