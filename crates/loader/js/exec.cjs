'use strict';

// Owns what the loader is under `hostler exec`: every http.Server of the process listens and accepts as always, and each
// connection it accepts is offered to the proxy. A process that never listens pays for this file alone.
// Must never know: requests; what becomes of an offer.

const diagnostics = require('diagnostics_channel');

/** Loaded before app code; it must be the one that the other files get. */
const natives = /** @type {any} */ (require.cache[require.resolve('./natives.cjs')]);

/** @param {{protocol: number, channel: string}} settings HOSTLER_EXEC */
function install(settings) {
  // Published by `listen` of net.js before it does anything else, if the tracing channel says that somebody listens; the first
  // versions of Node 20 cannot say it.
  if (diagnostics.tracingChannel('net.server.listen').hasSubscribers === undefined) {
    hook(require('http'), settings);
    return;
  }
  let hooked = false;
  diagnostics.subscribe('tracing:net.server.listen:asyncStart', (/** @type {any} */ { server }) => {
    // Only servers of http and https have it; for others http need not be loaded.
    if (hooked || server.requestTimeout === undefined) return;
    const http = require('http');
    if (!(server instanceof http.Server)) return;
    hooked = true;
    hook(http, settings);
  });
}

/** The rest of the loader. What goes wrong must not be the app's trouble. @param {any} settings */
function load(settings) {
  try {
    require.cache[natives.filename] = natives;
    const { Exec, fits } = require('./watch.cjs');
    const exec = fits(settings) ? new Exec(settings) : null;
    // The app's `require.cache` is as it would be without us.
    for (const file of Object.keys(require.cache)) if (file.startsWith(`${__dirname}/`)) delete require.cache[file];
    return exec;
  } catch {
    return null;
  }
}

/**
 * net.js calls `server._listen2` for every way to listen (cluster, descriptors and handles of others too) and keeps
 * that name "to avoid breaking code that wraps this method".
 * @param {any} http @param {any} settings
 */
function hook(http, settings) {
  const base = Object.getPrototypeOf(http.Server.prototype);
  /** @type {import('./watch.cjs').Exec | null | undefined} null: it cannot be; Node serves alone */
  let exec;
  Object.defineProperty(http.Server.prototype, '_listen2', {
    value: function setupListenHandle(/** @type {any[]} */ ...args) {
      base._listen2.apply(this, args);
      if (exec === undefined) exec = load(settings);
      if (exec !== null && this._handle) exec.listens(this, args);
    },
    writable: true, configurable: true, enumerable: false,
  });
}

module.exports = { install };
