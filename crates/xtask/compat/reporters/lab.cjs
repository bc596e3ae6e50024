'use strict';
// Owns the results of hapi's runner: `lab --reporter .../lab.cjs`.

const { write } = require('./results.cjs');

exports = module.exports = class Reporter {
  start() {}

  test(test) {
    const outcome = test.skipped || test.todo ? 'skip' : test.err ? 'fail' : 'pass';
    write(undefined, [...(test.path ?? []), test.relativeTitle ?? test.title], outcome, test.err);
  }

  end(notebook) {
    for (const error of notebook.errors ?? []) write(undefined, ['(outside of the tests)'], 'fail', error);
  }

  async finalize(notebook) {
    const failed = notebook.failures > 0 || (notebook.errors?.length ?? 0) > 0;
    return { code: failed ? 1 : 0, output: '' };
  }
};
