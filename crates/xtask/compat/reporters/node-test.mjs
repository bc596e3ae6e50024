// Owns the results of Node's own runner: `node --test --test-reporter=.../node-test.mjs`, from Node 20 on.

import { createRequire } from 'node:module';

const { write } = createRequire(import.meta.url)('./results.cjs');

export default async function* reporter(events) {
  // Titles of the tests that are open, by nesting; events of one file come together, in order.
  const open = [];
  for await (const { type, data } of events) {
    if (type === 'test:start') {
      open[data.nesting] = data.name;
    } else if (type === 'test:pass' || type === 'test:fail') {
      const path = [...open.slice(0, data.nesting), data.name];
      report(type, data, path);
    } else if (type === 'test:stdout' || type === 'test:stderr') {
      yield data.message;
    }
  }
}

function report(type, data, path) {
  const isGroup = data.details?.type === 'suite';
  // A file of tests counts as a test itself only when it breaks outside of them.
  const isFile = data.nesting === 0 && data.file && data.file.endsWith(data.name);
  if (type === 'test:pass') {
    if (isGroup || isFile) return;
    write(data.file, path, data.skip !== undefined || data.todo !== undefined ? 'skip' : 'pass');
    return;
  }
  const cause = data.details?.error?.cause ?? data.details?.error;
  const onlyParts = data.details?.error?.failureType === 'subtestsFailed';
  if ((isGroup || isFile) && onlyParts) return;
  write(data.file, path, 'fail', cause);
}
