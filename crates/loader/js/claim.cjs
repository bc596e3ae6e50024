'use strict';

// Owns the question which process below a command is the worker (docs/worker-protocol.md, "Below a command"): the first one
// that calls `listen` on an http.Server, and no other.
// Must never know: what the worker does then.

const fs = require('fs');
const net = require('net');

/**
 * Whoever makes the file is the worker. Synchronous, as `listen` is: whether a server binds its port is decided there.
 * @param {any} settings HOSTLER_WORKER
 */
function claim(settings) {
  try {
    fs.closeSync(fs.openSync(settings.claim, 'wx', 0o600));
  } catch {
    return false; // somebody else, or the worker of this command is gone
  }
  // The worker's children are the app's own business, as those of a worker that was started with a script.
  delete process.env.HOSTLER_WORKER;
  const options = (process.env.NODE_OPTIONS ?? '').replace(settings.option, '').trim();
  if (options === '') delete process.env.NODE_OPTIONS;
  else process.env.NODE_OPTIONS = options;
  endWithSupervisor(settings.alive);
  return true;
}

/**
 * A worker that the supervisor itself has started dies with it (PR_SET_PDEATHSIG), in whatever way that ends. This one has
 * another parent; the supervisor holds the writing end of a pipe, which ends with it.
 * @param {string} path
 */
function endWithSupervisor(path) {
  const { O_RDONLY, O_NONBLOCK } = fs.constants;
  try {
    const pipe = new net.Socket({ fd: fs.openSync(path, O_RDONLY | O_NONBLOCK), readable: true, writable: false });
    pipe.on('end', () => process.kill(process.pid, 'SIGKILL')).on('error', () => {}).resume().unref();
  } catch {
    // then it lives on: no reason not to serve
  }
}

module.exports = { claim };
