'use strict';

// Owns the one monkey patch that takes an app's server over: `http.Server.prototype.listen`. The
// arguments, `listening`, `close`, `address`, `ref`, the abort signal, the errors stay Node's own code:
// it gets a handle that binds nothing, as `cluster` gives its workers (internal/cluster/child.js).
// Must never know: frames, requests.

const diagnostics = require('diagnostics_channel');
const http = require('http');
const net = require('net');
const { AsyncResource } = require('async_hooks');
const { report } = require('./report.cjs');
const { Worker } = require('./worker.cjs');

const bind = net.Server.prototype._listen2;

/** For a handle that no worker's life hangs on. */
const NO_WORKER = { changed() {}, closed() {} };

/** What `server._handle` is while a server is taken over. */
class VirtualHandle {
  /** @param {import('./worker.cjs').Worker} worker @param {any} server @param {object} local */
  constructor(worker, server, local) {
    this.worker = worker;
    this.server = server;
    this.local = local;
    this.refed = true;
    // `address()` of net.Server takes a handle without `getsockname` for a pipe.
    this.getsockname = local.port === undefined ? undefined : (out) => Object.assign(out, this.local) && 0;
  }

  /** The address that clients use is the proxy's. @param {any} local */
  setLocal(local) {
    if (local === undefined) return;
    if (local.port === undefined) {
      this.server._pipeName = local.path;
      this.getsockname = undefined;
    } else {
      this.local = { address: local.address, family: local.family, port: local.port };
      this.getsockname = (out) => Object.assign(out, this.local) && 0;
    }
  }

  listen() { return 0; }
  fchmod() { return 0; }
  hasRef() { return this.refed; }
  ref() { this.hold(true); }
  unref() { this.hold(false); }
  close() { this.worker.closed(this); }

  /** @private */
  hold(refed) {
    this.refed = refed;
    this.worker.changed();
  }
}

/**
 * @param {any} settings HOSTLER_WORKER
 * @param {() => boolean} begin makes this process the worker at the first server that could be taken over
 */
function install(settings, begin) {
  const worker = new Worker(settings);
  /** @type {boolean | undefined} */
  let begun;
  // Below a command the process that becomes the worker, and no other.
  const mayAwait = () => {
    if (settings.ready === 'message') worker.awaitReady();
    else if ((settings.ready ?? 'listen') !== 'listen') report({ step: 'warning', why: 'HOSTLER_READY must be listen or message: the worker is ready when it listens' });
  };
  if (settings.claim === undefined) mayAwait();
  worker.begin = () => {
    if (begun === undefined) {
      begun = begin();
      if (begun && settings.claim !== undefined) mayAwait();
    }
    worker.transport = settings.transport; // the self-test may have changed it
    return begun;
  };
  const listen = http.Server.prototype.listen;

  http.Server.prototype.listen = function(...args) {
    if (this._handle === null) {
      // Node calls `server._listen2` when the arguments are checked and the host is looked up; it
      // keeps that name "to avoid breaking code that wraps this method" (net.js).
      Object.defineProperty(this, '_listen2', {
        value: takeOver.bind(this, worker, requested(args)), writable: true, configurable: true, enumerable: false,
      });
    }
    return Reflect.apply(listen, this, args);
  };

  // Servers that are not http.Server never get there; Node tells about them.
  diagnostics.subscribe('tracing:net.server.listen:asyncStart', ({ server, options }) => {
    if (server._hostler !== true && !(server instanceof http.Server)) other(server, options);
  });
}

/** @param {any} server @param {any} options of its `listen` */
function other(server, options) {
  report({ step: 'other_listen', what: kind(server), requested: requested([options]) });
}

/**
 * In the place of setupListenHandle of net.js.
 * @this {any} the server
 */
function takeOver(worker, wanted, address, port, addressType, backlog, fd, flags) {
  delete this._listen2;
  const family = addressType === 6 || address === null ? 'IPv6' : 'IPv4';
  const local = port === -1 ? { path: address } : { address: address ?? '::', family, port };
  if (this._handle === null && isTwin(worker, address, port)) {
    this._handle = new VirtualHandle(NO_WORKER, this, local);
    bind.call(this, address, port, addressType, backlog, fd, flags);
    return;
  }
  // A handle or descriptor of the app's own is a real listener already; and one server is taken over.
  if (this._handle !== null || typeof fd === 'number' || worker.handle !== null || !worker.begin()) {
    other(this, wanted);
    bind.call(this, address, port, addressType, backlog, fd, flags);
    return;
  }
  const handle = new VirtualHandle(worker, this, local);
  this._handle = handle;
  worker.take(this, handle, wanted, new AsyncResource('HOSTLER'), () => {
    // Listening for the app: Node's own code emits it, numbers the handle, publishes diagnostics.
    if (this._handle === handle) bind.call(this, address, port, addressType, backlog, fd, flags);
  }, (error) => {
    if (this._handle !== handle) return;
    this._handle = null;
    this.emit('error', error);
  });
}

/**
 * Fastify's `listen({ host: 'localhost' })` opens a second server for the other loopback address of
 * the port. The proxy owns that port: in a second worker it would be in use, in the first one it
 * would be a way around the proxy. It listens for the app, and nothing is bound.
 */
function isTwin(worker, address, port) {
  return worker.handle !== null && (address === '::1' || address === '127.0.0.1') && port > 0 &&
    (port === worker.wanted.port || port === worker.handle.local.port);
}

/** What the app asked for, for people to read. @param {any[]} args of `listen` */
function requested(args) {
  const first = args[0];
  let { port = null, host = null, path = null } =
    first !== null && typeof first === 'object' ? first : {};
  if (typeof first === 'number' || (typeof first === 'string' && Number(first) >= 0)) {
    port = first;
    if (typeof args[1] === 'string') host = args[1];
  } else if (typeof first === 'string') {
    path = first;
  }
  // Node takes `path: false` for no path (SvelteKit passes it); the proxy must be told a text or nothing.
  return { port: port === null || port === '' ? null : Number(port), host: text(host), path: text(path) };
}

/** @param {unknown} value */
function text(value) {
  return typeof value === 'string' ? value : null;
}

/** @param {any} server */
function kind(server) {
  if (server instanceof http.Server) return 'http';
  const name = server.constructor.name;
  if (name === 'Http2Server' || name === 'Http2SecureServer') return 'http2';
  if (typeof server.setSecureContext !== 'function') return 'net';
  return server.requestTimeout === undefined ? 'tls' : 'https';
}

module.exports = { install };
