'use strict';

// Owns what the supervisor hears of the end of a worker from the inside: the exception that ends it, who called `process.exit`.
// Must never know: how the process is ended, what the supervisor makes of it.
//
// Not to be had here: `process.abort()`, a full heap and signals end the process without a word to JavaScript; a rejection that a listener
// of 'unhandledRejection' takes, because the listener that could tell of it would change what Node does; what a listener of
// 'uncaughtException' throws itself.

const util = require('util');
const { fileURLToPath } = require('url');
const { now } = require('./natives.cjs');
const { report } = require('./report.cjs');

/** A pipe takes that much in one piece (PIPE_BUF), even beside the lines of another thread. */
const LINE_BYTES_MAX = 4096;
const NAME_CHARS_MAX = 100;
const MESSAGE_CHARS_MAX = 1000;
const STACK_CHARS_MAX = 4000;
const FILE_CHARS_MAX = 500;
const FRAMES_MAX = 40;

/** So long after an exception that the app has handled, an end is its work: it logs, closes what it can, and exits. */
const HANDLED_MS_MAX = 10_000;

/** @type {{line: object, at: number} | null} the last exception that the app has handled */
let handled = null;

/**
 * `uncaughtExceptionMonitor` is Node's way to look at an uncaught exception without changing what happens to it (exit code 1, the
 * print on stderr, the app's own handlers), and nothing else tells its stack.
 */
function watchExceptions() {
  process.on('uncaughtExceptionMonitor', (error, origin) => {
    const line = fit({ step: 'error', ...describe(error), origin });
    // With a handler the process goes on; as a rule not for long.
    if (process.listenerCount('uncaughtException') === 0 && !process.hasUncaughtExceptionCaptureCallback()) {
      report(line);
      return;
    }
    if (handled === null) process.once('exit', tellHandled);
    handled = { line, at: now() };
  });
}

/** @param {number} code */
function tellHandled(code) {
  if (code !== 0 && handled !== null && now() - handled.at < HANDLED_MS_MAX) report(handled.line);
}

/** Anything can be thrown, and any part of it may throw when it is looked at. @param {any} thrown */
function describe(thrown) {
  try {
    if (!util.types.isNativeError(thrown) && !(thrown instanceof Error)) {
      const text = typeof thrown === 'string' ? thrown : util.inspect(thrown, { depth: 1, customInspect: false, maxStringLength: MESSAGE_CHARS_MAX, maxArrayLength: 20 });
      return { name: typeof thrown, message: text.slice(0, MESSAGE_CHARS_MAX) };
    }
    let stack = String(thrown.stack);
    // What it is about is often there: "fetch failed" says nothing.
    for (let { cause } = thrown, depth = 0; cause instanceof Error && depth < 3; { cause } = cause, depth++) stack += `\ncaused by ${cause.stack}`;
    return {
      name: String(thrown.name).slice(0, NAME_CHARS_MAX), message: messageOf(thrown).slice(0, MESSAGE_CHARS_MAX), stack: stack.slice(0, STACK_CHARS_MAX),
    };
  } catch {
    return { name: typeof thrown, message: 'it cannot be shown' };
  }
}

/** An AggregateError of net.connect has none of its own. @param {any} error */
function messageOf(error) {
  return String(error.message || error.errors?.[0]?.message || error.code || error.cause?.message || '');
}

/** Cuts the stack, and behind it the message: escapes make some of them long. @param {any} line */
function fit(line) {
  while (Buffer.byteLength(JSON.stringify(line)) >= LINE_BYTES_MAX) {
    const key = line.stack ? 'stack' : 'message';
    line[key] = line[key].slice(0, Math.floor(line[key].length * 0.9));
  }
  return line;
}

/** For listeners of 'exit'. @param {number} code @param {number} inFlight requests that nobody will answer */
function tellExit(code, inFlight) {
  if (code === 0 && inFlight === 0) return;
  const at = callerOfExit();
  if (at !== null) report({ step: 'exit', code, in_flight: inFlight, at });
}

/** 'exit' is emitted within `process.exit()`: below us in the stack is who called it. @returns {string | null} null if nobody did */
function callerOfExit() {
  const { stackTraceLimit, prepareStackTrace } = /** @type {any} */ (Error);
  try {
    Error.stackTraceLimit = FRAMES_MAX;
    Error.prepareStackTrace = (_error, sites) => sites;
    const sites = /** @type {any} */ (new Error().stack);
    const exit = sites.findIndex((/** @type {any} */ site) => site.getFileName() === 'node:internal/process/per_thread' && site.getFunctionName()?.endsWith('exit'));
    const caller = exit < 0 ? undefined : sites[exit + 1];
    if (caller === undefined) return null;
    const name = caller.getFileName() ?? caller.getEvalOrigin() ?? 'unknown';
    const file = name.startsWith('file:') ? fileURLToPath(name) : name;
    return `${file.slice(-FILE_CHARS_MAX)}:${caller.getLineNumber()}:${caller.getColumnNumber()}`;
  } catch {
    return null;
  } finally {
    Object.assign(Error, { stackTraceLimit, prepareStackTrace });
  }
}

module.exports = { tellExit, watchExceptions };
