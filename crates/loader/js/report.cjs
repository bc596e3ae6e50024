'use strict';

// Owns the lines to the supervisor (docs/worker-protocol.md, "Reports").
// Must never know: why something is reported.

const fs = require('fs');

let reportFd = -1;

/** @param {number | string | undefined} place a descriptor, or the path of a pipe */
function open(place) {
  reportFd = Number.isInteger(place) ? place : -1;
  if (typeof place !== 'string') return;
  const { O_WRONLY, O_NONBLOCK } = fs.constants;
  try {
    reportFd = fs.openSync(place, O_WRONLY | O_NONBLOCK);
  } catch {
    // nobody reads any more
  }
}

/** What the lines are written to; -1 if nobody reads them. */
function descriptor() {
  return reportFd;
}

/**
 * Synchronous, because the last line is written by a process that is about to end. A supervisor
 * that does not read must not stop the app: a full or closed pipe loses the line.
 * @param {object} line
 */
function report(line) {
  if (reportFd < 0) return;
  try {
    fs.writeSync(reportFd, `${JSON.stringify(line)}\n`);
  } catch (error) {
    if (error.code !== 'EAGAIN') reportFd = -1;
  }
}

/**
 * The one listener on `process` of the loader. `uncaughtExceptionMonitor` is Node's way to look at
 * an uncaught exception without changing what happens to it (exit code 1, the print on stderr, the
 * app's own handlers), and nothing else tells its stack.
 */
function watchExceptions() {
  process.on('uncaughtExceptionMonitor', (error) => {
    // With a handler the process goes on; nothing ended.
    if (process.listenerCount('uncaughtException') > 0 || process.hasUncaughtExceptionCaptureCallback()) return;
    report({ step: 'error', message: text(error, 'message'), stack: text(error, 'stack') });
  });
}

/** Anything can be thrown. @param {any} thrown @param {'message' | 'stack'} key */
function text(thrown, key) {
  try {
    const value = thrown instanceof Error ? thrown[key] : thrown;
    return String(value).slice(0, 16384);
  } catch {
    return '';
  }
}

module.exports = { descriptor, open, report, watchExceptions };
