'use strict';
// Owns the results of Jest: `jest --reporters=.../jest.cjs`.

const { write } = require('./results.cjs');

const OUTCOMES = { passed: 'pass', failed: 'fail' };

module.exports = class Reporter {
  onTestResult(test, result) {
    if (result.testExecError) write(test.path, ['(the file itself)'], 'fail', result.testExecError);
    for (const one of result.testResults) {
      const outcome = OUTCOMES[one.status] ?? 'skip';
      write(test.path, [...one.ancestorTitles, one.title], outcome, one.failureMessages[0]);
    }
  }
};
