'use strict';

// Owns Node's own functions as they were before app code could replace them: test suites put fake clocks in
// the place of timers, agents count what connects, and the loader must go on and not be seen. And the way out of the app's async context.
// Must never know: what the functions are used for.

const { Socket } = require('net'); // what prints to a pipe or terminal loads it anyway
const { AsyncResource } = require('async_hooks');

const { setImmediate, setTimeout, clearTimeout } = globalThis;
const { nextTick } = process;
const { connect } = Socket.prototype;

// What timers and setImmediate use between two callbacks (runNextTicks in task_queues.js).
const drainTicks = typeof process._tickCallback === 'function' ? process._tickCallback : () => {};

/** @type {any} */
let clock = null;
/** @type {() => number} */
let read;

/** `performance.now()`. Only who asks pays for the module: a millisecond at the start of every process. */
function now() {
  if (clock === null) {
    clock = require('perf_hooks').performance;
    read = clock.now;
  }
  return read.call(clock);
}

/** Made before app code runs, so no AsyncLocalStorage has a value in it. */
const root = new AsyncResource('HOSTLER');

/**
 * Runs `action` as if no app code had called: what it creates lives longer than the call, and must not carry
 * the caller's AsyncLocalStorage or domain into other requests.
 * @param {() => void} action
 */
function outside(action) {
  const { domain } = process;
  if (domain === undefined || domain === null) {
    root.runInAsyncScope(action);
    return;
  }
  // A new resource is paired with `process.domain`, a new emitter with `active` (domain.js).
  const domains = require('domain');
  const { active } = domains;
  process.domain = domains.active = null;
  try {
    root.runInAsyncScope(action);
  } finally {
    domains.active = active;
    process.domain = domain;
  }
}

/** `net.connect({ path })`. @param {string} path @param {object} options of net.Socket */
function connectTo(path, options) {
  return connect.call(new Socket(options), /** @type {any} */ ({ path }));
}

/** A socket that was connected before this process began. @param {number} fd @param {object} options of net.Socket */
function connectedAs(fd, options) {
  return new Socket(/** @type {any} */ ({ ...options, fd, readable: true, writable: true }));
}

module.exports = { clearTimeout, connectTo, connectedAs, drainTicks, nextTick, now, outside, root, setImmediate, setTimeout };
