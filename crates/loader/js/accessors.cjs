'use strict';

// Owns what can be read off a virtual socket: the accessors of net.Socket, Readable and Writable that would look for a handle or
// a real stream.
// Must never know: what changes it.

const net = require('net');

const accessors = {
  destroyed() { return this._destroyed; },
  closed() { return this._destroyed; },
  errored() { return this._error; },
  readable() { return !this._destroyed && !this._readEnded; },
  readableEnded() { return this._readEnded; },
  readableAborted() { return this._destroyed && !this._readEnded; },
  readableFlowing() { return !this._stopped; },
  readableLength() { return 0; },
  readableHighWaterMark() { return this._readableState.highWaterMark; },
  writable() { return !this._ending && !this._destroyed; },
  writableEnded() { return this._ending; },
  writableFinished() { return this._finished; },
  writableLength() { return this._length; },
  writableCorked() { return this._corked; },
  writableNeedDrain() { return this._needDrain && !this._ending && !this._destroyed; },
  writableHighWaterMark() { return this._writableState.highWaterMark; },
  /** What the client sent, as far as frames tell: a chunk of a chunked body counts as one chunk, whatever the client made of it. */
  bytesRead() { return this._bytesIn; },
  bytesWritten() { return this._bytesOut + this._bytes + (this._queue === null ? 0 : this._queue.bytes); },
  _bytesDispatched() { return this._bytesOut; },
  bufferSize() { return this._destroyed ? undefined : this._length; },
  pending() { return this._destroyed; },
};

/** net.Socket asks its handle once; without a handle it knows what it was asked before (`_getpeername` of net.js). */
function peerName() {
  if (this._offer !== null) return this._offer.name('peername');
  if (this._peername === undefined) {
    if (this._destroyed || this._address === '') return {};
    this._peername = { address: this._address, family: family(this._address), port: this._port };
  }
  return this._peername;
}

function sockName() {
  if (this._destroyed) return {};
  if (this._offer !== null) return this._offer.name('sockname');
  const local = this._local;
  if (local === undefined || local.port === undefined) return {};
  return { address: local.address, family: local.family || family(local.address), port: local.port };
}

/** @param {string} address */
function family(address) {
  return address.includes(':') ? 'IPv6' : 'IPv4';
}

/** @param {any} prototype */
function install(prototype) {
  for (const [name, get] of Object.entries(accessors)) {
    Object.defineProperty(prototype, name, { get, set() {}, configurable: true, enumerable: false });
  }
  for (const [name, value] of Object.entries({
    // A handle would make Node consume it (connectionListenerInternal).
    _handle: null, _parent: null, _host: null, connecting: false, _hadError: false, allowHalfOpen: true,
    _peername: undefined, _httpMessage: undefined, constructor: net.Socket,
  })) {
    Object.defineProperty(prototype, name, { value, writable: true, configurable: true, enumerable: false });
  }
  Object.defineProperty(prototype, '_getpeername', { value: peerName, writable: true, configurable: true, enumerable: false });
  Object.defineProperty(prototype, '_getsockname', { value: sockName, writable: true, configurable: true, enumerable: false });
}

module.exports = { install };
