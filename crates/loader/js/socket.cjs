'use strict';

// Owns the virtual socket: what one client connection looks like to Node's HTTP server and to the
// app. A light object with `net.Socket.prototype` in its chain; Node's own code runs on it unchanged.
// Must never know: how frames are cut or parsed, how a channel connects. (Bytes out: response.cjs.)
//
// Every member below is one that Node's http code, a framework or `stream.finished` was seen to use.

const EventEmitter = require('events');
const net = require('net');
const { AsyncResource, executionAsyncId } = require('async_hooks');
const accessors = require('./accessors.cjs');
const { setImmediate } = require('./natives.cjs');
const response = require('./response.cjs');
const written = require('./written.cjs');
const { ReadableStandIn, WritableStandIn } = require('./states.cjs');

const SocketPrototype = net.Socket.prototype;
/** To see whether somebody has put a function of his own there; then he is called as often as under Node alone. */
const setSocketTimeout = SocketPrototype.setTimeout;
/** Under which Node finds the id of a socket's handle (`getOrSetAsyncId` of internal/async_hooks.js), the trigger of all that follows. */
const asyncId = /** @type {symbol} */ (Object.getOwnPropertySymbols(new net.Socket())
  .find((symbol) => symbol.description === 'async_id_symbol'));
const MANUAL = { requireManualDestroy: true };

/**
 * One async resource per connection, as Node has (its parser). Without it `enterWith` in one client's request leaks into the
 * next client's request of the same batch.
 */
class HTTPServerAsyncResource extends AsyncResource {
  /** @param {any} socket */
  constructor(socket) {
    super('HTTPINCOMINGMESSAGE', MANUAL);
    this.type = 'HTTPINCOMINGMESSAGE';
    this.socket = socket;
  }
}

/**
 * @param {import('./channel.cjs').Channel} channel
 * @param {any} server the app's http.Server
 * @param {{address: string, port: number, listener: number}} from
 */
function VirtualSocket(channel, server, from) {
  EventEmitter.call(this);
  this._channel = channel;
  this._stream = 0; // of the channel; 0 while it has none
  this._streamText = '';
  this._generation = 0;
  this._address = from.address;
  this._port = from.port;
  this._local = from.listener === undefined ? undefined : channel.listeners[from.listener]; // what `address()` says
  this._offer = null; // under exec: the connection as Node accepted it (offer.cjs)
  this._unrefed = false; // by the app
  this._hangs = false; // keeps the process alive, see Channel.weigh

  this.server = server;
  this._server = server;
  this.parser = null;
  this._httpMessage = undefined;
  this._peername = undefined;
  this._paused = false;
  this.timeout = undefined;
  this._timed = false; // a timer of `setTimeout` runs

  // Response side, see response.cjs.
  this._corked = 0;
  this._credit = 0;
  this._text = ''; // written since the last flush: `_parts`, then `_text`; `_bytes` in all
  this._parts = null;
  this._bytes = 0;
  this._queue = null; // flushed, and waiting for credit
  this._length = 0; // what `writableLength` says
  this._needDrain = false;
  this._callback1 = null; // of the writes since the last flush
  this._callback2 = null;
  this._callbacks = null;
  this._done1 = null; // of the writes whose bytes are gone
  this._done2 = null;
  this._dones = null;
  this._doneTick = false;
  this._held = 0; // channel writes that still refer to Buffers of the app
  this._scope = null; // async context of the writes that are not away yet
  this._responseOpen = false;
  this._messageEnds = false;
  this._endedMessage = null;
  this._closeSent = false;
  this._ending = false;
  this._shutdown = 0; // everything is written after `end`: 'finish' comes behind the batch (1) or in an own turn (2)
  this._finished = false;
  this._endCallbacks = null;
  this._bytesOut = 0;
  this._outSeen = 0; // `_bytesOut` at the last time-out

  // Request side, see dispatch.cjs.
  this._birth = null;
  this._bodyOpen = false;
  this._bodyless = null; // the request, while it has no body and its response is not finished
  this._stopped = false; // Node asked to stop reading: request bytes are owed until it resumes
  this._owed = 0;
  this._since = 0; // when the request with a body began
  this._readEnded = false;
  this._bytesIn = 0;
  this._chunked = false;
  this._bodyBytes = 0; // of this request
  this._leaving = false; // nothing more goes over frames; output waits until this is a real socket

  this._destroyed = false;
  this._gone = false; // the proxy knows already that this stream is over
  this._error = null;
  this._readableState = new ReadableStandIn(this, server.highWaterMark);
  this._writableState = new WritableStandIn(this, server.highWaterMark);
  this._resource = null; // see `on`
  // There is no handle: the server's own is the one that it would come from.
  if (asyncId !== undefined) this[asyncId] = executionAsyncId();
  SocketPrototype.on.call(this, 'end', onReadableStreamEnd);
}
Object.setPrototypeOf(VirtualSocket.prototype, SocketPrototype);
Object.setPrototypeOf(VirtualSocket, net.Socket);
/** A listener of every net.Socket. */
const [onReadableStreamEnd] = new net.Socket().listeners('end');

const methods = {
  write: response.write,
  uncork: response.uncork,
  end: response.end,

  cork() {
    this._corked++;
  },

  /**
   * Until connectionListenerInternal puts its own `on` in the place of this one. There it is where Node's parser becomes an async
   * resource: in the domain of the server, with the socket as trigger.
   */
  on(event, listener) {
    if (event === 'data') this.hasResource();
    return SocketPrototype.on.call(this, event, listener);
  },

  hasResource() {
    this._resource ??= new HTTPServerAsyncResource(this);
  },

  /** As net.Socket.destroySoon. */
  destroySoon() {
    if (!this._ending) this.end();
    if (this._finished) this.destroy();
    else this.once('finish', this.destroy);
  },

  /**
   * The order of net.Socket._destroy: the server forgets the connection at once, 'error' comes with
   * the next tick, 'close' when the handle would be closed.
   */
  destroy(error, callback) {
    if (!this._destroyed) {
      if (this._timed) stopTimer(this);
      this._destroyed = true;
      if (error instanceof Error) this._error = error;
      this._channel.release(this);
      written.abandon(this);
      const server = this._server;
      server._connections--;
      server._emitCloseIfDrained();
      if (this._error !== null) process.nextTick(emitError, this);
      // uv closes handles behind the check phase, in which 'finish' is emitted here.
      if (this._finished && this._shutdown === 2) process.nextTick(emitClose, this);
      else setImmediate(emitClose, this);
    }
    if (typeof callback === 'function') callback(error);
    return this;
  },

  resetAndDestroy() {
    if (this._offer !== null) this._offer.reset = true;
    return this.destroy();
  },

  // Node calls these two through readStop and readStart of _http_incoming.js.
  pause() {
    if (this._stopped) return this;
    this._stopped = true;
    this._channel.weigh(this);
    this.emit('pause');
    return this;
  },

  resume() {
    if (this._stopped) {
      this._stopped = false;
      this._channel.weigh(this);
      process.nextTick(emitResume, this);
    }
    if (this._owed > 0) this._channel.giveBack(this);
    return this;
  },

  isPaused() {
    return this._stopped;
  },

  // The raw bytes of a request never exist here, so there is nothing to read.
  read() {
    return null;
  },

  // What the app itself puts in front of Node's parser; see Offer.used.
  push(chunk, encoding) {
    return this._offer !== null && this._offer.used() && this.push(chunk, encoding);
  },

  unshift(chunk, encoding) {
    return this._offer !== null && this._offer.used() && this.unshift(chunk, encoding);
  },

  /**
   * Node calls this after each answer with the keep-alive time (resOnFinish in _http_server.js).
   * Where the proxy owns that timer, exactly that call ends any timer and starts none.
   */
  setTimeout(ms, callback) {
    if (this._destroyed) return this;
    const asked = ms;
    if (callback === undefined && this._offer === null && !this._httpMessage && isKeepAlive(this.server, ms)) ms = 0;
    if (ms === 0 && callback === undefined && !this._timed && SocketPrototype.setTimeout === setSocketTimeout) {
      this.timeout = asked;
      return this;
    }
    this._timed = true; // it may throw with the timer set
    SocketPrototype.setTimeout.call(this, ms, callback);
    this._timed = ms !== 0;
    this.timeout = asked;
    return this;
  },

  /** As net.Socket._onTimeout: while a write makes progress the client is not silent. */
  _onTimeout() {
    if (this._queue !== null && this._outSeen !== this._bytesOut) {
      this._outSeen = this._bytesOut;
      this._unrefTimer();
    } else {
      this.emit('timeout');
    }
  },

  setNoDelay(enable) {
    if (this._offer !== null) this._offer.setNoDelay(enable);
    return this;
  },

  setKeepAlive(enable, initialDelay) {
    if (this._offer !== null) this._offer.setKeepAlive(enable, initialDelay);
    return this;
  },

  ref() {
    this._unrefed = false;
    this._channel.weigh(this);
    return this;
  },

  unref() {
    this._unrefed = true;
    this._channel.weigh(this);
    return this;
  },
};

for (const name of Object.keys(methods)) {
  Object.defineProperty(VirtualSocket.prototype, name,
    { value: methods[name], writable: true, configurable: true, enumerable: false });
}
accessors.install(VirtualSocket.prototype);

/** @param {any} server @param {number} ms */
function isKeepAlive(server, ms) {
  return ms > 0 && ms === server.keepAliveTimeout + (server.keepAliveTimeoutBuffer ?? 1000);
}

function stopTimer(socket) {
  const { timeout } = socket;
  SocketPrototype.setTimeout.call(socket, 0);
  socket.timeout = timeout; // net.Socket._destroy leaves it readable
  socket._timed = false;
}

function emitResume(socket) {
  socket.emit('resume');
}

function emitError(socket) {
  socket._resource.runInAsyncScope(socket.emit, socket, 'error', socket._error);
}

function emitClose(socket) {
  socket._resource.runInAsyncScope(socket.emit, socket, 'close', socket._error !== null);
  socket._resource.emitDestroy();
}

module.exports = { VirtualSocket };
