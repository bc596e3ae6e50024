// Owns what the tests of `hostler exec` share: the fixture app, and how a test has it run a piece of code.
// Must never know: what is tested.

import path from 'node:path';

export const fixture = (name) => path.join(import.meta.dirname, 'fixtures', name);
export const bodyOf = (text) => text.slice(text.indexOf('\r\n\r\n') + 4);
export const run = (code) => ({ target: `/run?${encodeURIComponent(code)}` });
