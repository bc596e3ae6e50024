'use strict';

// Owns the socket of a tunnel: a connection of the app's server whose bytes come and go in frames of a channel, for requests that ask
// for another protocol (docs/worker-protocol.md). It is a `net.Socket` with Node's own stream machinery, from which Node's own
// parser reads the request; only its handle is ours (tunnel_handle.cjs).
// Must never know: HTTP, WebSocket, frames.

const net = require('net');
const { toBytes } = require('./response.cjs');
const { TunnelHandle } = require('./tunnel_handle.cjs');

const SocketPrototype = net.Socket.prototype;
const NOBODY = {};

/** As `onconnection` of net.js makes one. Its name is what stacks of the app's errors show. @this {any} */
const TunnelSocket = function Socket(/** @type {import('./tunnel_handle.cjs').TunnelHandle} */ handle, /** @type {any} */ server) {
  handle.socket = this;
  net.Socket.call(this, {
    handle, allowHalfOpen: server.allowHalfOpen, pauseOnCreate: server.pauseOnConnect, readable: true, writable: true,
    readableHighWaterMark: server.highWaterMark, writableHighWaterMark: server.highWaterMark,
  });
  this.server = server;
  this._server = server;
};
Object.setPrototypeOf(TunnelSocket, net.Socket);
TunnelSocket.prototype = Object.create(SocketPrototype);

const methods = {
  /** Node's own asks the binding of uv's streams whether a write is complete. */
  _writeGeneric(writev, data, encoding, callback) {
    const handle = this._handle;
    if (!handle) {
      SocketPrototype._writeGeneric.call(this, writev, data, encoding, callback);
      return;
    }
    this._unrefTimer();
    if (writev) handle.write(data.map(chunkBytes), callback);
    else handle.write([toBytes(data, encoding)], callback);
  },

  /** As net.Socket._onTimeout: while a write makes progress (TunnelHandle.pump) the timer begins anew. */
  _onTimeout() {
    this.emit('timeout');
  },

  /** There is no reset in frames. */
  resetAndDestroy() {
    return this.destroy();
  },
};
for (const [name, value] of Object.entries(methods)) {
  Object.defineProperty(TunnelSocket.prototype, name, { value, writable: true, configurable: true, enumerable: false });
}

/** @param {{chunk: any, encoding: any}} write */
function chunkBytes({ chunk, encoding }) {
  return toBytes(chunk, encoding);
}

/**
 * A tunnel begins.
 * @param {import('./channel.cjs').Channel} channel @param {any} server @param {number} stream @param {number} generation
 * @param {{address: string, port: number, listener: number}} from
 */
function connect(channel, server, stream, generation, from) {
  const local = channel.listeners[from.listener];
  const ends = {
    remote: from.address === '' ? NOBODY : { address: from.address, family: family(from.address), port: from.port },
    local: local === undefined || local.port === undefined ? NOBODY
      : { address: local.address, family: local.family ?? family(/** @type {string} */ (local.address)), port: local.port },
  };
  const handle = new TunnelHandle(channel, stream, generation, ends);
  channel.tunnels[stream] = handle;
  return new (/** @type {any} */ (TunnelSocket))(handle, server);
}

/** @param {string} address */
function family(address) {
  return address.includes(':') ? 'IPv6' : 'IPv4';
}

module.exports = { connect };
