// The runtime of Node functions: loads a handler, then asks the Runtime API for one
// event after another. What it does in which order, and what it says of errors, is
// AWS Lambda's.

import { loadHandler } from './handler.mjs';
import { logError, patchConsole, setRequestId } from './log.mjs';
import { Api } from './api.mjs';
import { patchEnvironment } from './environment.mjs';
import { patchOs } from './machine.mjs';
import { named, typeOf } from './errors.mjs';
import { streamifyResponse, HttpResponseStream, isStreaming, ResponseStream } from './stream.mjs';

const api = new Api(process.env.AWS_LAMBDA_RUNTIME_API);
patchConsole();
patchOs();
const setTrace = patchEnvironment();
globalThis.awslambda = { streamifyResponse, HttpResponseStream };

let requestId = '';
let whenLoopIsEmpty = null;

process.on('beforeExit', () => {
  const next = whenLoopIsEmpty;
  whenLoopIsEmpty = null;
  if (next) setImmediate(next);
});

function die(kind, error, code) {
  logError(kind, error);
  const sent = requestId ? api.error(requestId, error) : api.initError(error);
  sent.finally(() => process.exit(code));
}

process.on('uncaughtException', (error) => die('Uncaught Exception', error, 129));
process.on('unhandledRejection', (reason, promise) => {
  const error = named('Runtime.UnhandledPromiseRejection', String(reason));
  error.reason = reason;
  error.promise = promise;
  die('Unhandled Promise Rejection', error, 128);
});

function contextOf(headers) {
  const deadline = Number(headers['lambda-runtime-deadline-ms']);
  const parse = (name) => (headers[name] ? JSON.parse(headers[name]) : undefined);
  const { env } = process;
  return {
    callbackWaitsForEmptyEventLoop: true,
    functionVersion: env.AWS_LAMBDA_FUNCTION_VERSION,
    functionName: env.AWS_LAMBDA_FUNCTION_NAME,
    memoryLimitInMB: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: env.AWS_LAMBDA_LOG_STREAM_NAME,
    clientContext: parse('lambda-runtime-client-context'),
    identity: parse('lambda-runtime-cognito-identity'),
    invokedFunctionArn: headers['lambda-runtime-invoked-function-arn'],
    awsRequestId: headers['lambda-runtime-aws-request-id'],
    tenantId: headers['lambda-runtime-aws-tenant-id'],
    getRemainingTimeInMillis: () => Math.max(0, deadline - Date.now()),
  };
}

const NEVER_SETTLED =
  'The Lambda runtime client detected an unexpected Node.js exit code. This is most ' +
  'commonly caused by a Promise that was never settled. For more information, see ' +
  'https://nodejs.org/docs/latest/api/process.html#exit-codes';

const isAsync = (handler) => handler.constructor?.name === 'AsyncFunction';

// The result of a handler, however it gives it: a promise, or a callback.
function call(handler, event, context) {
  return new Promise((resolve, reject) => {
    let isDone = false;
    const finish = (error, result, { waits = false } = {}) => {
      if (isDone) return;
      isDone = true;
      whenLoopIsEmpty = null;
      if (error !== undefined && error !== null) reject(error);
      else if (waits) whenLoopIsEmpty = () => resolve(result);
      else resolve(result);
    };
    const callback = (error, result) => {
      finish(error, result, { waits: context.callbackWaitsForEmptyEventLoop });
    };
    // These wait for nothing, whatever the context says.
    context.done = (error, result) => finish(error, result);
    context.succeed = (result) => finish(null, result);
    context.fail = (error) => finish(error ?? 'handled');
    // A handler whose work is done without a word has answered null; but one that is
    // `async` waits for what never comes.
    whenLoopIsEmpty = () => {
      if (isAsync(handler)) finish(named('Runtime.NodeJsExit', NEVER_SETTLED));
      else finish(null, undefined);
    };
    let result;
    try {
      result = handler(event, context, callback);
    } catch (error) {
      callback(error);
      return;
    }
    if (result && typeof result.then === 'function') {
      result.then(context.succeed, context.fail);
    }
  });
}

async function serve(handler, headers, body) {
  const context = contextOf(headers);
  requestId = context.awsRequestId;
  setRequestId(requestId, context.tenantId);
  setTrace(headers['lambda-runtime-trace-id']);
  try {
    const event = JSON.parse(body);
    if (isStreaming(handler)) {
      await stream(handler, event, context);
    } else {
      const result = await call(handler, event, context);
      await api.response(requestId, textOf(result));
    }
  } catch (error) {
    logError('Invoke Error', error);
    await api.error(requestId, error);
  } finally {
    whenLoopIsEmpty = null;
    requestId = '';
    setRequestId('');
  }
}

async function stream(handler, event, context) {
  const request = api.startResponse(requestId);
  const response = new ResponseStream(request);
  try {
    await handler(event, response, context);
  } catch (error) {
    logError('Invoke Error', error);
    if (!request.hasBegun) {
      await request.abandon();
      await api.error(requestId, error);
      return;
    }
    request.fail(error);
  }
  if (!response.writableEnded) response.end();
  await request.answered;
}

function textOf(result) {
  if (result === undefined) return 'null';
  try {
    return JSON.stringify(result) ?? 'null';
  } catch {
    throw named('Runtime.MarshalError', 'Unable to stringify response body as json');
  }
}

let handler;
try {
  handler = await loadHandler(process.env.LAMBDA_TASK_ROOT, process.env._HANDLER);
} catch (error) {
  logError('Uncaught Exception', error);
  await api.initError(error);
  process.exit(typeOf(error).startsWith('Runtime.') ? 1 : 129);
}

for (;;) {
  const { headers, body } = await api.next();
  await serve(handler, headers, body);
}
