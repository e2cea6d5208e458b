// Errors as the Runtime API wants them.

export function typeOf(error) {
  return error instanceof Error ? String(error.name || 'Error') : typeof error;
}

export function errorObject(error) {
  if (!(error instanceof Error)) {
    return { errorType: typeof error, errorMessage: String(error), trace: [] };
  }
  const told = {
    errorType: typeOf(error),
    errorMessage: String(error.message),
    trace: String(error.stack ?? '').split('\n'),
  };
  if (error.name === 'Runtime.UnhandledPromiseRejection') {
    told.reason = error.reason instanceof Error ? errorObject(error.reason) : String(error.reason);
    told.promise = {};
  }
  return told;
}

export function named(name, message, cause) {
  const error = new Error(message);
  error.name = name;
  if (cause?.stack) error.stack = String(cause.stack).replace(/^[^\n]*/, `${name}: ${message}`);
  return error;
}
