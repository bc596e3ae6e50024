'use strict';

// Owns the plain path: a unix socket on which Node's own parser reads real `net.Socket`s for the
// app's server (upgrades, CONNECT, whatever frames cannot carry). Where the transport is frames, each connection
// begins with one line of the proxy that says who the client is (docs/worker-protocol.md, "The plain path").
// Must never know: frames, channels.

const fs = require('fs');
const net = require('net');
const face = require('./face.cjs');
const handover = require('./handover.cjs');
const { nextTick } = require('./natives.cjs');
const refusal = require('./refusal.cjs');

// "HOSTLER ", an IPv6 address with a zone, a port, an index.
const LINE_BYTES_MAX = 128;
// The proxy writes the line when it connects.
const LINE_MS_MAX = 10_000;
const LINE = /^HOSTLER (-|[0-9A-Za-z.:%_-]{2,64}) (\d{1,5}) (\d{1,3})(?: (\d{3}))?$/;
const NOTHING = Buffer.alloc(0);
const NOBODY = {};
/** @type {WeakMap<object, object>} */
const ownEnds = new WeakMap();

class PlainPath {
  /**
   * @param {string} path @param {any} server the app's http.Server
   * @param {import('async_hooks').AsyncResource} scope of the server
   * @param {boolean} announced each connection begins with a line
   * @param {() => any[]} listeners of the proxy, for the line's index
   */
  constructor(path, server, scope, announced, listeners) {
    this.path = path;
    this.server = server;
    this.scope = scope;
    this.announced = announced;
    this.listeners = listeners;
    this.acceptor = net.createServer();
    this.acceptor._hostler = true; // not a server of the app, see listen.cjs
    /** @type {import('./handover.cjs').Entrance | null} */
    this.entrance = null;
    /** Connections whose line is not whole yet. @type {Set<any>} */
    this.readers = new Set();
  }

  /** @param {(error: Error | null) => void} callback */
  open(callback) {
    const { acceptor } = this;
    let retried = false;
    const failed = (/** @type {any} */ error) => {
      if (error.code !== 'EADDRINUSE' || retried) {
        callback(error);
        return;
      }
      retried = true; // a socket file that an earlier process left behind
      fs.rmSync(this.path, { force: true });
      acceptor.listen(this.path);
    };
    acceptor.on('error', failed);
    acceptor.once('listening', () => {
      acceptor.removeListener('error', failed);
      acceptor.on('error', () => {}); // accept failed (EMFILE): the connection waits in the backlog
      this.enter(acceptor._handle);
      callback(null);
    });
    acceptor.listen(this.path);
  }

  /**
   * What the acceptor accepts is the app's server's: Node's own `onconnection` is told so.
   * @private @param {any} handle of the acceptor
   */
  enter(handle) {
    const { onconnection } = handle;
    const owner = /** @type {any} */ (handover.ownerKey(handle, this.acceptor));
    this.entrance = {
      server: this.server, handle: { [owner]: this.server }, onconnection, owner, scope: this.scope, onRequest: null,
    };
    handle.onconnection = (/** @type {number} */ error, /** @type {any} */ client) => {
      if (error) onconnection.call(handle, error, client);
      else if (this.announced) this.read(client);
      else handover.accept(/** @type {any} */ (this.entrance), client, NOTHING);
    };
  }

  /** Reads the line, with a socket that nobody else ever sees. @private @param {any} client handle */
  read(client) {
    const reader = new net.Socket(/** @type {any} */ ({ handle: client, readable: true, writable: true, allowHalfOpen: true }));
    let bytes = NOTHING;
    this.readers.add(reader);
    reader.setTimeout(LINE_MS_MAX, () => reader.destroy());
    reader.on('error', () => {});
    reader.on('close', () => this.readers.delete(reader));
    reader.on('end', () => reader.destroy());
    reader.on('data', (chunk) => {
      bytes = Buffer.concat([bytes, chunk]);
      const end = bytes.indexOf(10);
      if (end < 0 && bytes.length <= LINE_BYTES_MAX) return;
      const line = LINE.exec(bytes.latin1Slice(0, Math.max(0, end)));
      if (line === null) {
        reader.destroy();
        return;
      }
      reader.removeAllListeners('data').removeAllListeners('end');
      const rest = bytes.subarray(end + 1);
      const pass = (/** @type {Buffer} */ read, /** @type {boolean} */ ended) => this.pass(reader, client, line, read, end + 1, ended);
      if (refusal.isRefused(line[4])) refusal.judge(this.server, reader, rest, pass);
      // Not inside the read of a socket that is about to lose its handle.
      else nextTick(pass, rest, false);
    });
  }

  /**
   * @private @param {any} reader @param {any} client @param {RegExpExecArray} line
   * @param {Buffer} rest what came behind the line @param {number} lineBytes @param {boolean} ended whether FIN came behind it
   */
  pass(reader, client, line, rest, lineBytes, ended) {
    if (reader.destroyed) return;
    reader.setTimeout(0);
    reader.removeAllListeners();
    reader._handle = null;
    client[/** @type {any} */ (this.entrance).owner] = null;
    this.readers.delete(reader);
    name(client, line, this.listeners()[Number(line[3])]);
    face.count(client, 'bytesRead', -lineBytes - rest.length);
    const entrance = /** @type {any} */ (this.entrance);
    const status = line[4];
    handover.accept(status === undefined ? entrance : refusal.closed(entrance), client, rest);
    const socket = client[entrance.owner];
    if (status !== undefined && socket instanceof net.Socket) refusal.follow(socket, status, ended);
  }

  close() {
    this.acceptor.close();
    for (const reader of this.readers) reader.destroy();
  }

  ref() {
    this.acceptor.ref();
  }

  unref() {
    this.acceptor.unref();
  }
}

/** @param {any} client @param {RegExpExecArray} line @param {any} local one of the proxy's listeners */
function name(client, line, local) {
  const address = line[1];
  const remote = address === '-' ? NOBODY : { address, family: family(address), port: Number(line[2]) };
  face.name(client, remote, local === undefined || local.port === undefined ? NOBODY : ownEnd(local));
}

/** The same object for all connections of a listener. @param {any} local */
function ownEnd(local) {
  let end = ownEnds.get(local);
  if (end === undefined) {
    end = { address: local.address, family: local.family ?? family(local.address), port: local.port };
    ownEnds.set(local, end);
  }
  return end;
}

/** @param {string} address */
function family(address) {
  return address.includes(':') ? 'IPv6' : 'IPv4';
}

module.exports = { PlainPath };
