'use strict';

// Owns the thread that watches the main thread's event loop, and the report of a silence with the JavaScript stack that it is stuck in.
// Must never know: the loader, the app. It shares nothing with them but a little memory and the report pipe.
//
// The stack comes through an inspector session without a port. V8 runs what such a session posts as soon as JavaScript checks for
// interrupts, which every loop, call, regular expression and Atomics.wait does, and evaluates an expression on top of whatever
// is there: the stack of what it throws is the answer. The debugger is never enabled, so nothing is paused and no code
// gets slower; `Debugger.pause` would send each frame with its scopes (8 MiB for 8000 frames) and name all scripts of the app before.

const fs = require('fs');
const inspector = require('inspector');
const { fileURLToPath } = require('url');
const { workerData: { hangMs, reportFd, shared } } = require('worker_threads');

/** As in hang.cjs. */
const TURNED = 0;
const DUE = 1;
const DEBUGGED = 2;

/** The longest sleep. */
const SLEEP_MS = 1000;
/** Between two looks at a loop that is stuck. */
const LOOK_MS = 100;
/** A thread that wakes so much later than it wanted was not alone in its sleep: the process was stopped, or the machine. */
const LATE_MS = 100;
/** The stack's time-out. What does not check for interrupts by then does not run JavaScript. */
const STACK_MS = 1000;
const FRAMES_MAX = 50;
/** A pipe takes that much in one piece (PIPE_BUF); the main thread writes to it, too. */
const LINE_BYTES_MAX = 4096;
const NAME_CHARS_MAX = 80;
const FILE_CHARS_MAX = 200;

/** In frames of the loader's own files. */
const OURS = `(${__dirname}/`;

const bed = new Int32Array(new SharedArrayBuffer(4));

/** Milliseconds of the clock that all threads of the process share. */
function now() {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** @param {number} ms @returns {number} how much longer it took */
function sleep(ms) {
  const until = now() + ms;
  Atomics.wait(bed, 0, 0, ms);
  return now() - until;
}

async function watch() {
  let due = Atomics.load(shared, DUE);
  /** For how long this thread did not watch since the loop turned, and how much of it was in the last sleep. */
  let asleep = due === 0n ? 0 : Math.max(0, now() - Number(due) / 1e6);
  let last = 0;
  while (true) {
    const next = Atomics.load(shared, DUE);
    if (next !== due) asleep = last; // it may have turned before or behind that
    due = next;
    const silent = due === 0n ? -Infinity : now() - Number(due) / 1e6 - asleep;
    // Once more, a little later: both threads may just have been woken, this one first.
    const looksStuck = silent >= hangMs;
    const late = sleep(looksStuck ? LOOK_MS : Math.min(SLEEP_MS, Math.max(1, Math.ceil(hangMs - silent))));
    last = late > LATE_MS ? late : 0;
    asleep += last;
    if (looksStuck && last === 0 && Atomics.load(shared, DUE) === due) await stuck(due, silent + LOOK_MS);
  }
}

/** @param {bigint} due @param {number} silent milliseconds */
async function stuck(due, silent) {
  const debugged = Atomics.load(shared, DEBUGGED) !== 0n || undefined;
  let { stack, why } = await takeStack();
  // Then it may be the stack of anything.
  if (Atomics.load(shared, DUE) !== due && stack.length > 0) {
    stack = [];
    why = 'the loop turned again before its stack was taken';
  }
  tell({ step: 'stuck', silent_ms: Math.round(silent), debugged, stack, why });
  while (Atomics.load(shared, DUE) === due) sleep(LOOK_MS);
  // From when it should have turned, as above.
  tell({ step: 'unstuck', silent_ms: Math.round((Number(Atomics.load(shared, TURNED)) - Number(due)) / 1e6) });
}

/** @returns {Promise<{stack: string[], why?: string}>} */
function takeStack() {
  return new Promise((resolve) => {
    const session = new inspector.Session();
    const done = (/** @type {{stack: string[], why?: string}} */ result) => {
      clearTimeout(timer);
      try {
        session.disconnect();
      } catch {
        // it never was connected
      }
      resolve(result);
    };
    const timer = setTimeout(done, STACK_MS, { stack: [], why: 'the thread is in native code: a synchronous system call, a child process it waits for, an addon' });
    try {
      session.connectToMainThread();
      session.post('Runtime.enable'); // otherwise V8 keeps no stack of what is thrown
      // Silent: no debugger halts at it. A number: the app's own Error may be anything.
      session.post('Runtime.evaluate', { expression: 'throw 0', silent: true }, (error, result) => {
        const frames = result?.exceptionDetails?.stackTrace?.callFrames ?? [];
        // The first one is the expression itself; and how the loader calls the app is of no use to anybody.
        const stack = frames.slice(1).map(frameText).filter((frame) => !frame.includes(OURS)).slice(0, FRAMES_MAX);
        if (stack.length > 0) done({ stack });
        else done({ stack, why: error ? error.message : 'no JavaScript runs in it' });
      });
    } catch (error) {
      done({ stack: [], why: String(error?.message ?? error).slice(0, 500) });
    }
  });
}

/** @param {{functionName: string, url: string, lineNumber: number, columnNumber: number}} frame counted from 0 */
function frameText({ functionName, url, lineNumber, columnNumber }) {
  return `${functionName.slice(0, NAME_CHARS_MAX) || '(anonymous)'} (${fileText(url).slice(-FILE_CHARS_MAX)}:${lineNumber + 1}:${columnNumber + 1})`;
}

/** As in the stacks of errors. @param {string} url which code may have given to itself (`sourceURL`) */
function fileText(url) {
  try {
    return url.startsWith('file:') ? fileURLToPath(url) : url;
  } catch {
    return url;
  }
}

/** @param {{step: string, stack?: string[]}} line */
function tell(line) {
  const text = () => `${JSON.stringify(line)}\n`;
  while (line.stack !== undefined && line.stack.length > 0 && Buffer.byteLength(text()) > LINE_BYTES_MAX) line.stack.pop();
  try {
    fs.writeSync(reportFd, text());
  } catch {
    // a full or closed pipe loses the line
  }
}

watch();
