'use strict';

// Owns the entry: decides whether this process is a worker, cleans up behind itself, installs.
// Must never know: what the installed parts do.

/** Major versions of Node that the loader is tested with; others get the plain path. */
const NODE_MIN = 20;
const NODE_MAX = 25;

const major = Number.parseInt(process.versions.node, 10);
const tested = major >= NODE_MIN && major <= NODE_MAX;

const settings = take();
if (settings !== null) start(settings);
else if (process.env.HOSTLER_EXEC !== undefined && tested) watch(process.env.HOSTLER_EXEC);

/** What the supervisor wrote, removed from everything that the app can see or inherit. */
function take() {
  // Threads see it too: they inherit the options of the process.
  const at = process.execArgv.findIndex((word, i) => i > 0 && process.execArgv[i - 1] === '--require' && isThis(word));
  if (at > 0) process.execArgv.splice(at - 1, 2);
  const text = process.env.HOSTLER_WORKER;
  if (text === undefined) return null;
  delete process.env.HOSTLER_WORKER;
  try {
    const settings = JSON.parse(text);
    // A grandchild or a thread with an inherited environment is not the worker.
    const isWorker = settings.parent_pid === process.ppid && require('worker_threads').isMainThread;
    return isWorker ? settings : null;
  } catch {
    return null;
  }
}

/** `hostler exec`: the variable stays, for the processes that this one starts. @param {string} text */
function watch(text) {
  let settings;
  try {
    settings = JSON.parse(text);
  } catch {
    return;
  }
  require('./natives.cjs');
  require('./exec.cjs').install(settings);
  for (const file of [__filename, `${__dirname}/natives.cjs`, `${__dirname}/exec.cjs`]) delete require.cache[file];
}

/** @param {string} word */
function isThis(word) {
  try {
    return require('fs').realpathSync(word) === __filename;
  } catch {
    return false;
  }
}

/** @param {any} settings */
function start(settings) {
  const { open, report, watchExceptions } = require('./report.cjs');
  open(settings.report_fd);
  report({ step: 'preload', node: process.versions.node });
  watchExceptions();
  if (settings.transport === 'frames') {
    const result = tested ? require('./selftest.cjs').run() :
      { step: 'self_test', ok: false, why: `Node ${major} is not tested` };
    report(result);
    if (!result.ok) settings.transport = 'http';
    else if (settings.short_dump !== false) require('./dump.cjs').install();
  }
  require('./listen.cjs').install(settings);
}
