'use strict';

// Owns the stand-ins for `socket._readableState` and `socket._writableState`: what Node's http code,
// `stream.finished` and frameworks read there, answered from the virtual socket.
// Must never know: frames, channels.

const { Readable, Writable } = require('stream');

/** What `stream.finished` (end-of-stream.js) and Readable.prototype.on look at. */
class ReadableStandIn {
  /** @param {any} socket @param {number} highWaterMark */
  constructor(socket, highWaterMark) {
    this.socket = socket;
    this.highWaterMark = highWaterMark;
  }

  get flowing() { return !this.socket._stopped; }
  set flowing(_value) {}
  get ended() { return this.socket._readEnded; }
  get endEmitted() { return this.socket._readEnded; }
  get destroyed() { return this.socket._destroyed; }
  get closed() { return this.socket._destroyed; }
  get errored() { return this.socket._error; }
  get errorEmitted() { return this.socket._error !== null; }
}

class WritableStandIn {
  /** @param {any} socket @param {number} highWaterMark */
  constructor(socket, highWaterMark) {
    this.socket = socket;
    this.highWaterMark = highWaterMark;
  }

  get corked() { return this.socket._corked; }
  /**
   * The end of a response without parsing its bytes: in all of Node only `OutgoingMessage.end`
   * assigns this (_http_outgoing.js: "Fully uncork connection on end()"), just before `uncork`.
   */
  set corked(value) {
    this.socket._corked = value;
    this.socket._messageEnds = true;
  }
  get needDrain() { return this.socket._needDrain; }
  get length() { return this.socket._length; }
  get ending() { return this.socket._ending; }
  get ended() { return this.socket._ending; }
  get finished() { return this.socket._finished; }
  get destroyed() { return this.socket._destroyed; }
  get closed() { return this.socket._destroyed; }
  get errored() { return this.socket._error; }
  get errorEmitted() { return this.socket._error !== null; }
  getBuffer() { return []; }
}

// As net.Socket configures its streams; constant, so they need no field per connection.
const both = { objectMode: false, emitClose: false, autoDestroy: true, constructed: true };
const readable = {
  ...both, readable: true, length: 0, buffer: [], pipes: [], reading: false, sync: false, decoder: null,
  encoding: null, resumeScheduled: false, readableListening: false, needReadable: false,
  emittedReadable: false, dataEmitted: false,
};
const writable = {
  ...both, writable: true, decodeStrings: false, defaultEncoding: 'utf8', pendingcb: 0, writing: false,
  bufferProcessing: false, finalCalled: false, prefinished: false,
};
for (const [type, constants] of [[ReadableStandIn, readable], [WritableStandIn, writable]]) {
  for (const [name, value] of Object.entries(constants)) {
    Object.defineProperty(type.prototype, name, { value, writable: true, configurable: true });
  }
}

// `instanceof Writable` looks for the state (Symbol.hasInstance in writable.js).
Object.setPrototypeOf(ReadableStandIn.prototype, /** @type {any} */ (Readable).ReadableState.prototype);
Object.setPrototypeOf(WritableStandIn.prototype, /** @type {any} */ (Writable).WritableState.prototype);

module.exports = { ReadableStandIn, WritableStandIn };
