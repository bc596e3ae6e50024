'use strict';

// Owns the entry: decides whether this process is a worker, cleans up behind itself, installs.
// Must never know: what the installed parts do.

/** Major versions of Node that the loader is tested with; others get the plain path. */
const NODE_MIN = 20;
const NODE_MAX = 25;

/** What an app must not see. */
const VARIABLES = ['HOSTLER_WORKER', 'HOSTLER_HANG_MS', 'HOSTLER_READY'];

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
  try {
    const { HOSTLER_HANG_MS, HOSTLER_READY } = process.env;
    const settings = { ...JSON.parse(text), hang_ms: HOSTLER_HANG_MS, ready: HOSTLER_READY };
    // Below a command any process may turn out to be the worker, and what it starts too.
    if (settings.claim !== undefined) return require('worker_threads').isMainThread ? settings : null;
    forget();
    // A grandchild or a thread with an inherited environment is not the worker.
    const isWorker = settings.parent_pid === process.ppid && require('worker_threads').isMainThread;
    return isWorker ? settings : null;
  } catch {
    forget();
    return null;
  }
}

/** The worker's children are none of ours. */
function forget() {
  for (const name of VARIABLES) delete process.env[name];
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
  const { install } = require('./listen.cjs');
  if (settings.claim === undefined) {
    begin(settings, () => selfTest(settings));
    install(settings, () => true);
    return;
  }
  // Now, although few of the processes below a command become the worker: `listen` may be called in a microtask (any ES
  // module is one), where no other microtasks can be run to their end.
  const result = selfTest(settings);
  install(settings, () => {
    if (!require('./claim.cjs').claim(settings)) return false;
    forget();
    return begin(settings, () => result);
  });
}

/** This process is the worker. @param {any} settings @param {() => any} test */
function begin(settings, test) {
  const { open, report } = require('./report.cjs');
  const { outside } = require('./natives.cjs');
  open(settings.report_fd ?? settings.report);
  const pid = settings.claim === undefined ? undefined : process.pid; // else the supervisor knows it
  report({ step: 'preload', node: process.versions.node, pid });
  require('./last_words.cjs').watchExceptions();
  if (settings.claim === undefined) outside(() => require('./alive.cjs').endWithSupervisor(settings.alive_fd));
  if (settings.born === false) require('./born.cjs').disallow();
  if (settings.transport === 'frames') {
    const result = test();
    report(result);
    if (!result.ok) settings.transport = 'http';
    else if (settings.short_dump !== false) require('./dump.cjs').install();
  }
  return true;
}

/** @param {any} settings */
function selfTest(settings) {
  if (settings.transport !== 'frames') return null;
  if (tested) return require('./selftest.cjs').run();
  const why = `Node ${process.versions.node} is outside of the tested versions ${NODE_MIN} to ${NODE_MAX}`;
  return { step: 'self_test', ok: false, untested: true, why };
}
