'use strict';
// Owns the one format in which every runner's results reach `cargo xtask compat`: a JSON object per line,
// {"file","name","outcome":"pass"|"fail"|"skip","error"}, in the file that HOSTLER_COMPAT_RESULTS names.
// Must never know: a runner. Called by the reporters beside it and by the checks of the apps.

const fs = require('node:fs');

const ERROR_LENGTH_MAX = 300;

/** Adds one result. `path` is the list of titles from the outermost suite to the test. */
exports.write = function write(file, path, outcome, error) {
  const line = { file: file ?? '', name: path.join(' > '), outcome };
  if (outcome === 'fail') line.error = firstLine(error);
  // Synchronous and appended: runners end with process.exit, and some run in several processes.
  fs.appendFileSync(process.env.HOSTLER_COMPAT_RESULTS, `${JSON.stringify(line)}\n`);
};

function firstLine(error) {
  const text = String(error?.message ?? error ?? 'no error given').trim();
  return text.split('\n').slice(0, 3).join(' ').slice(0, ERROR_LENGTH_MAX);
}
