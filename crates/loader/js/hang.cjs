'use strict';

// Owns the main thread's side of the watch over its event loop: the thread that watches (hang_thread.cjs), the memory that both
// share, and that the app does not see it being made.
// Must never know: what the thread does with a loop that is silent; requests.

const worker_threads = require('worker_threads');
const diagnostics = require('diagnostics_channel');
const path = require('path');
const { nextTick, outside } = require('./natives.cjs');
const { descriptor, report } = require('./report.cjs');

// As they were before app code could replace them.
const { Worker } = worker_threads;
const { hrtime } = process;

/** Longer silences than this are nobody's hang. */
const HANG_MS_MIN = 50;
const HANG_MS_MAX = 3_600_000;

/** Of a thread that does next to nothing. 8 MiB are not enough for Node's own start in it. */
const LIMITS = { maxYoungGenerationSizeMb: 1, maxOldGenerationSizeMb: 16, codeRangeSizeMb: 16, stackSizeMb: 0.5 };

/** Places in the shared memory: when the loop turned last, when it is to turn again (0: it is not watched), whether a debugger may stop it. */
const TURNED = 0;
const DUE = 1;
const DEBUGGED = 2;
const PLACES = 3;

class HangWatch {
  /** @param {string} setting HOSTLER_HANG_MS */
  constructor(setting) {
    this.ms = Number(setting);
    /** @type {BigInt64Array | null} null: nothing is watched */
    this.shared = null;
    this.begun = false;
    this.inspector = null;
  }

  /** The app is ready: from now on its loop is watched. */
  start() {
    if (this.begun) return;
    this.begun = true;
    if (!(Number.isInteger(this.ms) && this.ms >= HANG_MS_MIN && this.ms <= HANG_MS_MAX)) {
      report({ step: 'warning', why: `HOSTLER_HANG_MS must be a whole number from ${HANG_MS_MIN} to ${HANG_MS_MAX}: the event loop is not watched` });
      return;
    }
    // It denies inspectors, and a thread without the process's options does not know that: such a session ends the process
    // (Agent::ConnectToMainThread in inspector_agent.cc).
    if (/** @type {any} */ (process).permission !== undefined) {
      this.lost('Node is started with its permission model');
      return;
    }
    try {
      this.inspector = require('inspector'); // not in every build of Node
      this.shared = new BigInt64Array(new SharedArrayBuffer(8 * PLACES));
      outside(() => this.startThread());
    } catch (error) {
      this.lost(error);
    }
  }

  /** @private */
  startThread() {
    const thread = unseen(() => new Worker(path.join(__dirname, 'hang_thread.cjs'), {
      // Its options and variables are not the app's: what those bring in runs in the app's threads alone.
      argv: [], execArgv: [], env: {}, name: 'hostler', resourceLimits: LIMITS,
      // Otherwise `process.stdout` comes into being here, and gets listeners.
      stdout: true, stderr: true, trackUnmanagedFds: false,
      workerData: { hangMs: this.ms, reportFd: descriptor(), shared: this.shared },
    }));
    thread.unref();
    thread.on('error', (error) => this.lost(error));
  }

  /** @private @param {any} error */
  lost(error) {
    this.shared = null;
    report({ step: 'warning', why: `the event loop is not watched: ${String(error?.message ?? error).slice(0, 500)}` });
  }

  /** The loop turns, and will do so again. @param {number} ms until then */
  turns(ms) {
    const { shared } = this;
    if (shared === null) return;
    const now = hrtime.bigint();
    Atomics.store(shared, TURNED, now);
    // With an open inspector port somebody may halt this thread for as long as it pleases him.
    Atomics.store(shared, DEBUGGED, this.inspector.url() === undefined ? 0n : 1n);
    Atomics.store(shared, DUE, now + BigInt(ms) * 1_000_000n);
  }

  /** No more turns are announced. */
  pause() {
    if (this.shared === null) return;
    Atomics.store(this.shared, TURNED, hrtime.bigint());
    Atomics.store(this.shared, DUE, 0n);
  }
}

/**
 * Makes a thread of which the app hears nothing. Node tells of a new one by the event 'worker' of `process`, in the next tick, and
 * through a diagnostics channel (constructor of Worker in internal/worker.js).
 * @param {() => any} make
 */
function unseen(make) {
  const channel = diagnostics.channel('worker_threads');
  const own = Object.getOwnPropertyDescriptor(process, 'emit');
  const { emit } = process;
  /** @type {any} */
  let thread = null;
  const quiet = function(/** @type {any[]} */ ...args) {
    return args[0] === 'worker' && args[1] === thread ? false : Reflect.apply(emit, this, args);
  };
  try {
    Object.defineProperty(channel, 'hasSubscribers', { value: false, configurable: true });
    return thread = make();
  } finally {
    Reflect.deleteProperty(channel, 'hasSubscribers');
    if (thread !== null) {
      Object.defineProperty(process, 'emit', { value: quiet, writable: true, configurable: true, enumerable: false });
      nextTick(() => {
        if (process.emit !== quiet) return; // somebody has put his own in front, which goes on to this one
        if (own === undefined) Reflect.deleteProperty(process, 'emit');
        else Object.defineProperty(process, 'emit', own);
      });
    }
  }
}

module.exports = { HangWatch };
