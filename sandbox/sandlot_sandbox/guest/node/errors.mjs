// Errors as the Runtime API wants them.

export function typeOf(error) {
  return error instanceof Error ? String(error.name || 'Error') : typeof error;
}

export function errorObject(error) {
  if (!(error instanceof Error)) {
    return { errorType: typeof error, errorMessage: String(error), trace: [] };
  }
  return {
    errorType: typeOf(error),
    errorMessage: String(error.message),
    trace: String(error.stack ?? '').split('\n'),
  };
}

// As AWS's text format has it after "Invoke Error" and its like: with all that was put on
// the error, and a tab first.
export function errorText(error) {
  const thrown = asError(error);
  try {
    return `\t${JSON.stringify(thrown, (_, value) => (value instanceof Error ? shown(value) : value))}`;
  } catch {
    return `\t${JSON.stringify(errorObject(thrown))}`;
  }
}

export function asError(thrown) {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

function shown(error) {
  const { name, message, code, stack } = error;
  const told = { errorType: name, errorMessage: message, code, ...error };
  if (typeof stack === 'string') told.stack = stack.split('\n');
  return told;
}

export function named(name, message, cause) {
  const error = new Error(message);
  // Not enumerable: it is told as the error's type.
  Object.defineProperty(error, 'name', { value: name });
  if (cause?.stack) error.stack = String(cause.stack).replace(/^[^\n]*/, `${name}: ${message}`);
  return error;
}
