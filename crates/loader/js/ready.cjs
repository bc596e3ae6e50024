'use strict';

// Owns the app's own word that it is ready: `process.send('ready')`, as PM2 wants to hear it, in a process that has no parent to
// talk to.
// Must never know: what follows from it.
//
// Only where the operator waits for that word. `process.send` is how libraries find out that a parent listens (Next.js reports to it,
// others end when it disconnects), and a worker has none: elsewhere it stays undefined, as under Node alone.

const { nextTick } = require('./natives.cjs');

/** @param {() => void} said */
function install(said) {
  const target = /** @type {any} */ (process);
  const { send } = target;
  if (send !== undefined) {
    // Below a command a process may have a parent with a channel: that one hears everything, too.
    define('send', function(/** @type {any[]} */ ...args) {
      if (args[0] === 'ready') said();
      return Reflect.apply(send, this, args);
    });
    return;
  }
  define('send', (/** @type {any} */ message, /** @type {any[]} */ ...rest) => {
    if (message === 'ready') said();
    const callback = rest.find((one) => typeof one === 'function');
    if (callback !== undefined) nextTick(callback, null); // sent, to nobody
    return true;
  });
  define('connected', true);
  define('disconnect', () => {
    if (!target.connected) return;
    target.connected = false;
    nextTick(() => process.emit('disconnect'));
  });
}

/** @param {string} name @param {unknown} value */
function define(name, value) {
  Object.defineProperty(process, name, { value, writable: true, configurable: true, enumerable: true });
}

module.exports = { install };
