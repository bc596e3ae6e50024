'use strict';

// Owns the handle of a tunnel's socket: bytes from and to frames of a channel, credit in both directions, both ends.
// Must never know: HTTP, WebSocket, how frames are cut or a channel connects. (Its socket: tunnel.cjs.)

const { AsyncResource } = require('async_hooks');
const C = require('./constants.cjs');
const errors = require('./errors.cjs');
const { prefix, u24, u32 } = require('./frame.cjs');
const { setImmediate } = require('./natives.cjs');
const { sendPieces } = require('./response.cjs');

const { TUNNEL_DATA, TUNNEL_END, TUNNEL_WINDOW } = C.FRAMES_TO_PROXY;
const MANUAL = { requireManualDestroy: true };

/**
 * One write of the stream.
 * @typedef {object} Request
 * @property {(string | Buffer)[]} pieces what is not away
 * @property {number} bytes of it
 * @property {boolean} refers Buffers of the app's are among the pieces
 * @property {(error?: Error | null) => void} callback
 * @property {AsyncResource | null} scope of the write, if it had to wait
 */

/**
 * In the place of uv's handle of a connection. What net.js and _http_server.js ask of one is here, under their names.
 */
class TunnelHandle {
  /**
   * @param {import('./channel.cjs').Channel} channel @param {number} stream @param {number} generation
   * @param {{remote: object, local: object}} ends of the client's connection
   */
  constructor(channel, stream, generation, ends) {
    this.channel = channel;
    this.stream = stream;
    this.streamText = u24(stream);
    this.generation = generation;
    this.ends = ends;
    /** @type {any} the app's */
    this.socket = null;
    this.resource = new AsyncResource('TCPWRAP', MANUAL);

    this.reading = false;
    /** What came while nobody read. @type {Buffer[] | null} */
    this.unread = null;
    /** Bytes that were read and not given back as credit. */
    this.owed = 0;
    this.bytesRead = 0;
    /** FIN of the client: not yet, here, given to the socket. @type {'no' | 'came' | 'given'} */
    this.end = 'no';
    this.endTold = false;

    this.credit = channel.window;
    this.bytesWritten = 0;
    /** The write that is not away yet. @type {Request | null} */
    this.request = null;
    this.endSent = false;

    /** The proxy has ended it: nothing that is written arrives anywhere. */
    this.gone = false;
    this.closed = false;
    this.refed = true;
    this._hangs = false;
  }

  // ---- what Node asks of a handle ---------------------------------------------------------------

  getAsyncId() {
    return this.resource.asyncId();
  }

  getpeername(/** @type {object} */ out) {
    Object.assign(out, this.ends.remote);
    return 0;
  }

  getsockname(/** @type {object} */ out) {
    Object.assign(out, this.ends.local);
    return 0;
  }

  readStart() {
    this.reading = true;
    this.weigh();
    // As uv, which reads in a later turn.
    if (this.unread !== null || this.end === 'came') setImmediate(() => this.goOn());
    return 0;
  }

  readStop() {
    this.reading = false;
    this.weigh();
    return 0;
  }

  setNoDelay() {
    return 0;
  }

  setKeepAlive() {
    return 0;
  }

  get writeQueueSize() {
    return this.request === null ? 0 : this.request.bytes;
  }

  ref() {
    this.refed = true;
    this.weigh();
  }

  unref() {
    this.refed = false;
    this.weigh();
  }

  hasRef() {
    return this.refed;
  }

  /** Everything is written before Node asks for it. @param {any} request */
  shutdown(request) {
    this.sendEnd();
    const scope = new AsyncResource('SHUTDOWNWRAP', MANUAL);
    this.channel.afterBatch(() => {
      scope.runInAsyncScope(request.oncomplete, request, 0);
      scope.emitDestroy();
    });
    return 0;
  }

  /** @param {() => void} callback */
  close(callback) {
    if (this.closed) return;
    this.closed = true;
    this.reading = false;
    this.unread = null;
    this.sendEnd();
    this.channel.forgetTunnel(this);
    this.weigh();
    const { request } = this;
    this.request = null;
    setImmediate(() => {
      if (request !== null) finish(request, errors.canceledWrite());
      if (typeof callback === 'function') this.resource.runInAsyncScope(callback);
      this.resource.emitDestroy();
    });
  }

  // ---- bytes of the client ----------------------------------------------------------------------

  /** @param {Buffer} bytes that nobody else has */
  receive(bytes) {
    if (this.closed) return;
    if (this.reading && this.unread === null) this.push(bytes);
    else if (this.unread === null) this.unread = [bytes];
    else this.unread.push(bytes);
  }

  /** As onStreamRead of stream_base_commons.js. @private @param {Buffer} bytes */
  push(bytes) {
    const { socket } = this;
    this.bytesRead += bytes.length;
    this.owed += bytes.length;
    socket._unrefTimer();
    let goesOn = true; // also if a listener throws, as there
    try {
      goesOn = this.resource.runInAsyncScope(socket.push, socket, bytes);
    } finally {
      if (!goesOn && !this.closed) this.readStop();
      if (this.owed >= this.channel.window / 4) this.giveBack();
    }
  }

  /** @private */
  giveBack() {
    if (!this.gone && !this.closed) this.channel.sendLater(this.frame(TUNNEL_WINDOW, u32(this.owed)));
    this.owed = 0;
  }

  /** FIN of the client. */
  receiveEnd() {
    if (this.end !== 'no') return;
    this.end = 'came';
    this.goOn();
  }

  /** @private What came while nobody read. */
  goOn() {
    while (this.reading && this.unread !== null) {
      const [first] = this.unread;
      this.unread = this.unread.length === 1 ? null : this.unread.slice(1);
      this.push(first);
    }
    if (!this.reading || this.closed || this.end !== 'came' || this.unread !== null) return;
    this.end = 'given';
    const { socket } = this;
    this.resource.runInAsyncScope(() => {
      socket.push(null);
      socket.read(0);
    });
  }

  /** The proxy has ended the tunnel. @param {string} why the name of the client's error, empty for an orderly end */
  receiveClose(why) {
    this.gone = true;
    this.channel.forgetTunnel(this);
    if (this.closed) return;
    if (why !== '') this.resource.runInAsyncScope(this.socket.destroy, this.socket, errors.readError(why));
    else this.receiveEnd();
    if (this.request !== null) this.fail(this.request);
  }

  // ---- bytes of the app -------------------------------------------------------------------------

  /**
   * One write of the stream; the next one comes when it has called back.
   * @param {(string | Buffer)[]} pieces @param {(error?: Error | null) => void} callback
   */
  write(pieces, callback) {
    let bytes = 0;
    let text = '';
    let refers = false;
    for (const piece of pieces) {
      bytes += piece.length;
      if (typeof piece === 'string') text += piece;
      else refers = true;
    }
    this.bytesWritten += bytes;
    if (!refers && bytes <= this.credit && !this.gone) {
      this.credit -= bytes;
      this.channel.send(this.frame(TUNNEL_DATA, text));
      callback();
      return;
    }
    const request = this.request = { pieces, bytes, refers, callback, scope: null };
    if (this.gone) this.fail(request);
    else this.pump(request);
    // The stream may be at its next write already.
    if (this.request !== request) return;
    request.scope = new AsyncResource('WRITEWRAP', MANUAL);
    this.weigh();
  }

  /** @param {number} bytes of credit */
  receiveWindow(bytes) {
    this.credit += bytes;
    if (this.request !== null && this.request.bytes > 0) this.pump(this.request);
  }

  /** @private Writes as much as the credit allows. @param {Request} request */
  pump(request) {
    const { channel } = this;
    while (request.bytes > 0 && this.credit > 0) {
      const bytes = Math.min(request.bytes, this.credit, C.FRAME_PAYLOAD_BYTES_MAX);
      channel.send(prefix(bytes, TUNNEL_DATA, this.streamText, this.generation));
      sendPieces(channel, request, bytes);
      this.credit -= bytes;
    }
    this.socket._unrefTimer();
    if (request.bytes > 0) return;
    // The app may change its Buffers when it is called back.
    if (request.refers && !channel.flushed()) channel.afterAll(() => this.written(request, null));
    else this.written(request, null);
  }

  /** @private @param {Request} request */
  fail(request) {
    setImmediate(() => this.written(request, errors.writeError('EPIPE')));
  }

  /** @private @param {Request} request @param {Error | null} error */
  written(request, error) {
    if (this.request !== request) return; // the socket is closed
    this.request = null;
    this.weigh();
    finish(request, error);
  }

  /** @private */
  sendEnd() {
    if (this.endSent || this.gone) return;
    this.endSent = true;
    this.channel.send(this.frame(TUNNEL_END, ''));
  }

  /** @private @param {number} type @param {string} payload */
  frame(type, payload) {
    return prefix(payload.length, type, this.streamText, this.generation) + payload;
  }

  /** @private As Channel.weigh: it counts while it reads or writes. */
  weigh() {
    const hangs = !this.closed && this.refed && (this.reading || this.request !== null);
    if (this._hangs !== hangs) this.channel.hang(this, hangs);
  }
}

/** @param {Request} request @param {Error | null} error */
function finish({ callback, scope }, error) {
  if (scope === null) {
    callback(error);
    return;
  }
  scope.runInAsyncScope(callback, undefined, error);
  scope.emitDestroy();
}

module.exports = { TunnelHandle };
