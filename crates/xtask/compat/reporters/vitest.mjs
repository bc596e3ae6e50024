// Owns the results of Vitest: `vitest run --reporter=.../vitest.mjs`.

import { createRequire } from 'node:module';

const { write } = createRequire(import.meta.url)('./results.cjs');

const OUTCOMES = { passed: 'pass', failed: 'fail' };

export default class Reporter {
  onTestRunEnd(modules, unhandledErrors) {
    for (const module of modules) {
      for (const error of module.errors()) write(module.moduleId, ['(the file itself)'], 'fail', error);
      for (const test of module.children.allTests()) {
        const result = test.result();
        write(module.moduleId, [test.fullName], OUTCOMES[result.state] ?? 'skip', result.errors?.[0]);
      }
    }
    for (const error of unhandledErrors) write(undefined, ['(outside of the tests)'], 'fail', error);
  }
}
