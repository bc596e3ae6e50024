'use strict';
// Owns the results of mocha, 3 to 11: `mocha --reporter .../mocha.cjs`.

const { write } = require('./results.cjs');

module.exports = function Reporter(runner) {
  let done = 0;
  const report = (outcome) => (test, error) => {
    write(fileOf(test), titles(test), outcome, error);
    done += 1;
  };
  runner.on('pass', report('pass'));
  runner.on('fail', report('fail'));
  runner.on('pending', report('skip'));
  runner.on('end', () => console.log(`${done} results`));
};

function fileOf(test) {
  return test.file ?? (test.parent && fileOf(test.parent));
}

function titles(test) {
  const own = test.title ? [test.title] : [];
  return test.parent ? [...titles(test.parent), ...own] : own;
}
