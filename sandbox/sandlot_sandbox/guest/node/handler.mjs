// Finds `folder/file.exported.name` in the task's folder: CommonJS and ES modules.

import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { named } from './errors.mjs';

const require = createRequire(import.meta.url);
const HANDLER = /^([^.]*)\.(.*)$/;

export async function loadHandler(root, text) {
  const name = path.basename(text ?? '');
  const folder = (text ?? '').slice(0, (text ?? '').indexOf(name));
  const match = name.match(HANDLER);
  if ((text ?? '').includes('..')) {
    throw named(
      'Runtime.MalformedHandlerName',
      `'${text}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`,
    );
  }
  if (!match) throw named('Runtime.MalformedHandlerName', 'Bad handler');
  const [, file, exported] = match;
  const found = await load(root, folder, file);
  const handler = exported.split('.').reduce((nested, key) => nested && nested[key], found);
  if (handler === undefined || handler === null) {
    throw named('Runtime.HandlerNotFound', `${text} is undefined or not exported`);
  }
  if (typeof handler !== 'function') {
    throw named('Runtime.HandlerNotFound', `${text} is not a function`);
  }
  return handler;
}

async function load(root, folder, file) {
  try {
    const base = path.resolve(root, folder, file);
    if (fs.existsSync(base) && fs.statSync(base).isFile()) return require(base);
    if (fs.existsSync(`${base}.js`)) {
      return isModule(`${base}.js`) ? await import(pathToFileURL(`${base}.js`)) : require(`${base}.js`);
    }
    if (fs.existsSync(`${base}.mjs`)) return await import(pathToFileURL(`${base}.mjs`));
    if (fs.existsSync(`${base}.cjs`)) return require(`${base}.cjs`);
    return require(require.resolve(file, { paths: [root, path.resolve(root, folder)] }));
  } catch (error) {
    if (error instanceof SyntaxError) throw named('Runtime.UserCodeSyntaxError', error.toString(), error);
    if (error?.code === 'MODULE_NOT_FOUND' || error?.code === 'ERR_MODULE_NOT_FOUND') {
      throw named('Runtime.ImportModuleError', error.toString(), error);
    }
    throw error;
  }
}

// As Node tells it: by the nearest package.json.
function isModule(file) {
  for (let folder = path.dirname(file); ; folder = path.dirname(folder)) {
    const description = path.join(folder, 'package.json');
    if (fs.existsSync(description)) {
      try {
        return JSON.parse(fs.readFileSync(description, 'utf8')).type === 'module';
      } catch {
        return false;
      }
    }
    if (folder === path.dirname(folder)) return false;
  }
}
