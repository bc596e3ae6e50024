'use strict';

// Owns the question which process below a command is the worker (docs/worker-protocol.md, "Below a command"): the first one
// that calls `listen` on an http.Server, and no other.
// Must never know: what the worker does then.

const fs = require('fs');

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
  require('./alive.cjs').endWithSupervisor(settings.alive);
  return true;
}

module.exports = { claim };
