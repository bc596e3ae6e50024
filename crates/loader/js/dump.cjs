'use strict';

// Owns one short cut: a request that had no body and that nobody listens to is closed at once when
// its response is finished, instead of being "dumped" through the whole life of a readable stream
// (0.9 us of 4). It is what Node does itself under `optimizeEmptyRequests` (24 and later,
// `_dumpAndCloseReadable` in _http_incoming.js).
// Must never know: anything but IncomingMessage and the virtual socket's `_bodyless`.
// Off switch: "short_dump": false in HOSTLER_WORKER.
//
// Differs from Node in one way: a listener for 'close' or 'end' that is added to such a request
// after its response has finished is not called.

const { IncomingMessage } = require('http');

function install() {
  const dump = IncomingMessage.prototype._dump;
  IncomingMessage.prototype._dump = function _dump() {
    const socket = this.socket;
    if (socket === null || socket === undefined || socket._bodyless !== this) return dump.call(this);
    socket._bodyless = null;
    if (this._eventsCount !== 0 || this._dumped || this.destroyed || !this.complete) return dump.call(this);
    this._dumped = true;
    const state = this._readableState;
    state.ended = true;
    state.endEmitted = true;
    state.destroyed = true;
    state.closed = true;
    state.closeEmitted = true;
  };
}

module.exports = { install };
