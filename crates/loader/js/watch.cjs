'use strict';

// Owns the servers of a process under `hostler exec`: the number and the way into each, the one channel, what keeps
// the process alive, the count of what Node read itself.
// Must never know: what becomes of an offer (offer.cjs), requests.

const http = require('http');
const C = require('./constants.cjs');
const { Channel } = require('./channel.cjs');
const connections = require('./connections.cjs');
const dump = require('./dump.cjs');
const { jsonFrame } = require('./frame.cjs');
const { outside, setTimeout } = require('./natives.cjs');
const { Offers } = require('./offer.cjs');
const { missing } = require('./selftest.cjs');

const { LISTEN, UNLISTEN, COUNT } = C.FRAMES_TO_PROXY;
const NODE_20 = process.versions.node.startsWith('20.');
const COUNT_MS = 100;
const NEWS_CHARS_MAX = 64 * 1024;

/** @typedef {import('./handover.cjs').Owner & {number: number, handle: any, open: boolean}} Watched */

/** @param {any} settings HOSTLER_EXEC */
function fits(settings) {
  return settings.protocol === C.PROTOCOL && missing() === '';
}

/** One connection to the proxy for the life of the process (or thread); when it ends, Node serves alone. */
class ExecChannel extends Channel {
  /** @override */
  again() {
    this.owner.lost();
  }
}

class Exec {
  /** @param {{channel: string}} settings HOSTLER_EXEC */
  constructor(settings) {
    const hello = {
      protocol: C.PROTOCOL, worker: 0, app: '', slot: 0, pid: process.pid, node: process.versions.node, exec: true,
    };
    this.channel = new ExecChannel(settings.channel, undefined, hello, this);
    this.channel.held = false;
    this.offers = this.channel.offers = new Offers(this.channel);
    this.connected = false;
    this.over = false;
    this.servers = 0;
    /** LISTEN and UNLISTEN from before the proxy's HELLO. */
    this.news = '';
    this.counted = 0;
    this.counting = false;
  }

  /** A server listens. @param {any} server @param {any[]} args of setupListenHandle in net.js */
  listens(server, args) {
    const { _handle: handle } = server;
    const { onconnection } = handle;
    if (this.over || typeof onconnection !== 'function') return;
    this.servers = (this.servers + 1) >>> 0;
    /** @type {Watched} */
    const watched = {
      number: this.servers, server, handle, onRequest: () => this.count(), open: true,
    };
    const exec = this;
    handle.onconnection = function(/** @type {any[]} */ ...accepted) {
      if (!exec.offer(watched, ...accepted)) return Reflect.apply(onconnection, this, accepted);
    };
    this.watchClose(watched);
    const [address, port] = args;
    const requested = port === -1 ? { port: null, host: null, path: address } : { port, host: address ?? null, path: null };
    this.tell(jsonFrame(LISTEN, { requested, server: watched.number }));
    if (!this.connected) this.connect();
  }

  /** @private @param {Watched} watched */
  watchClose(watched) {
    const { close } = watched.handle;
    watched.handle.close = (/** @type {any[]} */ ...args) => {
      if (watched.open) this.tell(jsonFrame(UNLISTEN, { server: watched.number }));
      watched.open = false;
      return Reflect.apply(close, watched.handle, args);
    };
  }

  /** @private @param {Watched} watched @param {number} error @param {any} client @returns {boolean} false: it is Node's */
  offer(watched, error, client) {
    const { server } = watched;
    if (error || this.over || !(client.fd >= 0) || !isTaken(server) || isFull(server) || !this.offers.hasRoom()) return false;
    connections.join(server, this);
    this.offers.accept(watched, client);
    return true;
  }

  /** @private */
  connect() {
    this.connected = true;
    dump.install(); // as in a worker, so that what is proved here holds there
    // Node writes an answer at once, so that `res.end(); process.exit()` still answers. Here the batch is written then.
    process.on('exit', () => {
      this.report();
      this.channel.flush();
    });
    outside(() => this.channel.connect());
  }

  // ---- for the channel ----

  ready() {
    this.channel.send(this.news);
    this.news = '';
    this.offers.ready();
  }

  failed() {}

  lost() {
    this.over = true;
    this.offers.lost();
  }

  changed() {
    this.channel.hold(this.channel.hanging > 0);
  }

  begins() {}

  batch() {
    this.report();
  }

  /** @private @param {string} frame of the channel itself */
  tell(frame) {
    if (this.over) return;
    if (this.channel.ready) this.channel.send(frame);
    else if (this.news.length < NEWS_CHARS_MAX) this.news += frame; // it only counts servers
  }

  // ---- for connections.cjs ----

  /** @param {any} server */
  virtual(server) {
    return this.channel.virtual(server);
  }

  get ownsTimeouts() {
    return true;
  }

  // ---- requests that Node's own parser reads ----

  /** @private */
  count() {
    this.counted++;
    if (this.counting) return;
    this.counting = true;
    setTimeout(() => this.report(), COUNT_MS).unref();
  }

  /** @private */
  report() {
    this.counting = false;
    if (this.counted === 0 || !this.channel.ready) return;
    this.channel.send(jsonFrame(COUNT, { http: this.counted }));
    this.counted = 0;
  }
}

/** Whether its connections are read by Node's http code, and by it alone. @param {any} server */
function isTaken(server) {
  return server.listeners('connection').includes(http._connectionListener) && !server.pauseOnConnect && !server.blockList;
}

/** As `onconnection` of net.js, which then drops the connection. @param {any} server */
function isFull({ maxConnections, _connections }) {
  const limited = NODE_20 ? Boolean(maxConnections) : maxConnections !== undefined && maxConnections !== null;
  return limited && _connections >= maxConnections;
}

module.exports = { Exec, fits };
