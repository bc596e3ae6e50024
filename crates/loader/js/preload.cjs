'use strict';

// Owns the entry: decides whether this process is a worker, cleans up behind itself, installs.
// Must never know: what the installed parts do.

const settings = take();
if (settings !== null) start(settings);

/** What the supervisor wrote, removed from everything that the app can see or inherit. */
function take() {
  const at = process.execArgv.indexOf(__filename);
  if (at > 0) process.execArgv.splice(at - 1, 2);
  const text = process.env.HOSTLER_WORKER;
  if (text === undefined) return null;
  delete process.env.HOSTLER_WORKER;
  // A grandchild or a thread with an inherited environment is not the worker.
  if (!require('worker_threads').isMainThread) return null;
  let settings = null;
  try {
    settings = JSON.parse(text);
  } catch {
    return null;
  }
  return settings.parent_pid === process.ppid ? settings : null;
}

/** @param {any} settings */
function start(settings) {
  const { open, report, watchExceptions } = require('./report.cjs');
  open(settings.report_fd);
  report({ step: 'preload', node: process.versions.node });
  watchExceptions();
  if (settings.transport === 'frames') {
    const result = require('./selftest.cjs').run();
    report(result);
    if (!result.ok) settings.transport = 'http';
    else if (settings.short_dump !== false) require('./dump.cjs').install();
  }
  require('./listen.cjs').install(settings);
}
