'use strict';

// Owns one connection to a shard of the proxy: HELLO, reading into one buffer, writing once per
// batch, the streams on it, re-connecting with back-off.
// Must never know: HTTP, what the app does with a request.

const net = require('net');
const C = require('./constants.cjs');
const dispatch = require('./dispatch.cjs');
const { FrameReader } = require('./reader.cjs');
const { ProtocolError, jsonFrame, prefix, u24, windowFrame } = require('./frame.cjs');
const response = require('./response.cjs');

const TO_PROXY = C.FRAMES_TO_PROXY;
const READ_BUFFER_BYTES = 64 * 1024;
// A batch leaves early when it is this large, so that the proxy can work on it.
const BATCH_CHARS_MAX = 256 * 1024;
const RECONNECT_MS_MIN = 10;
const RECONNECT_MS_MAX = 1000;

class Channel {
  /**
   * @param {string} path of the shard's socket
   * @param {object} hello what this worker says first
   * @param {{ready(channel: Channel): void, failed(channel: Channel, error: Error): void,
   *          changed(): void, batch(): void}} owner
   */
  constructor(path, hello, owner) {
    this.path = path;
    this.hello = hello;
    this.owner = owner;
    /** The http.Server that gets the requests; null while none listens. @type {any} */
    this.server = null;
    /** @type {any[]} virtual sockets by stream number */
    this.streams = [];
    this.streamCount = 0;
    this.inFlight = 0;
    this.window = C.FRAME_PAYLOAD_BYTES_MAX;
    /** @type {{address?: string, port?: number, family?: string, path?: string}[]} */
    this.listeners = [];
    /** HELLO of the proxy is here. */
    this.ready = false;
    this.draining = false;
    /** @type {any} */
    this.socket = null;
    this.held = true;
    this.backoff = RECONNECT_MS_MIN;
    this.timer = null;

    // The batch: everything since the last write, as one latin1 string; large Buffers close the
    // string and stand between.
    this.text = '';
    /** @type {(string | Buffer)[] | null} */
    this.parts = null;
    /** @type {any[]} sockets whose Buffers are in `parts` */
    this.referring = [];
    this.reading = false;
    this.flushScheduled = false;
    this.reader = this.newReader();
    this.onFlushTurn = () => {
      this.flushScheduled = false;
      this.flush();
    };
  }

  // ---- connection -------------------------------------------------------------------------------

  connect() {
    this.timer = null;
    this.reader = this.newReader();
    const reader = this.reader;
    // `onread` reads without stream machinery and without an allocation per read.
    const socket = net.connect({
      path: this.path,
      onread: { buffer: Buffer.allocUnsafeSlow(READ_BUFFER_BYTES), callback: (n, buffer) => this.onRead(reader, n, buffer) },
    });
    this.socket = socket;
    if (!this.held) socket.unref();
    socket.on('connect', () => socket.write(jsonFrame(TO_PROXY.HELLO, this.hello), 'latin1'));
    socket.on('error', () => {});
    socket.on('close', () => this.lost(socket));
  }

  /** The proxy closed, or restarts: its streams are gone with it. @param {any} socket */
  lost(socket) {
    if (this.socket !== socket) return;
    this.socket = null;
    this.ready = false;
    this.draining = false;
    this.text = '';
    this.parts = null;
    this.referring = [];
    const streams = this.streams;
    this.streams = [];
    for (const stream of streams) {
      if (stream === undefined) continue;
      stream._gone = true;
      stream.destroy();
    }
    this.timer = setTimeout(() => this.connect(), this.backoff);
    if (!this.held) this.timer.unref();
    this.backoff = Math.min(2 * this.backoff, RECONNECT_MS_MAX);
  }

  /** @param {any} hello of the proxy */
  welcome(hello) {
    if (hello.protocol !== C.PROTOCOL) {
      throw new ProtocolError(`the proxy speaks protocol ${hello.protocol}, this worker ${C.PROTOCOL}`);
    }
    if (Number.isInteger(hello.window) && hello.window > 0) this.window = hello.window;
    if (Array.isArray(hello.listeners)) this.listeners = hello.listeners;
    this.ready = true;
    this.backoff = RECONNECT_MS_MIN;
    this.owner.ready(this);
  }

  /** The proxy broke a rule: nothing on this connection can be trusted. @param {Error} error */
  fail(error) {
    this.reader.stopped = true;
    this.owner.failed(this, error);
    if (this.socket !== null) this.socket.destroy();
  }

  /** Whether this connection keeps the process alive. @param {boolean} hold */
  hold(hold) {
    if (this.held === hold) return;
    this.held = hold;
    const subject = this.socket ?? this.timer;
    if (subject !== null) hold ? subject.ref() : subject.unref();
  }

  // ---- reading ----------------------------------------------------------------------------------

  newReader() {
    return new FrameReader(
      (type, stream, generation, buffer, start, end, owned) =>
        dispatch.onFrame(this, type, stream, generation, buffer, start, end, owned),
      (error) => this.fail(error),
    );
  }

  /** One read is one batch: its answers leave in one write. */
  onRead(reader, length, buffer) {
    this.batch(reader, buffer, length);
    return true;
  }

  batch(reader, buffer, length) {
    this.reading = true;
    let done = false;
    try {
      if (buffer === null) reader.resume();
      else reader.push(buffer, length);
      dispatch.drain();
      done = true;
    } finally {
      // A handler threw. The error stays an ordinary uncaught exception; the rest of the batch
      // belongs to other clients and runs in the next turn.
      this.reading = false;
      if (!done) setImmediate(() => this.batch(reader, null, 0));
      this.owner.batch();
      this.flush();
    }
  }

  // ---- streams ----------------------------------------------------------------------------------

  opened() {
    if (this.streamCount++ === 0) this.owner.changed();
  }

  /** A virtual socket is destroyed. @param {any} socket */
  release(socket) {
    if (socket._responseOpen) this.inFlight--;
    socket._responseOpen = false;
    if (this.streams[socket._stream] === socket) this.streams[socket._stream] = undefined;
    if (!socket._gone && !socket._closeSent) this.reset(socket._stream, socket._generation);
    if (--this.streamCount === 0) this.owner.changed();
  }

  /** @param {number} stream @param {number} generation */
  reset(stream, generation) {
    this.send(prefix(0, TO_PROXY.RESET, u24(stream), generation));
  }

  /** A response is complete. After `server.close()` nobody else would end the connection. @param {any} socket */
  idle(socket) {
    if (this.server !== socket.server && !socket._bodyOpen && !socket._responseOpen) socket.destroy();
  }

  /** Request bytes are consumed: more may come, in steps that are worth a frame. @param {any} socket */
  giveBack(socket) {
    if (!socket._bodyOpen || socket._destroyed || socket._owed < this.window / 4) return;
    this.send(windowFrame(socket._stream, socket._generation, socket._owed));
    socket._owed = 0;
  }

  // ---- writing ----------------------------------------------------------------------------------

  /** @param {string} text latin1 */
  send(text) {
    this.text += text;
    if (!this.reading) this.schedule();
    else if (this.text.length > BATCH_CHARS_MAX) this.flush();
  }

  /** In front of what waits. @param {string} text latin1, a frame of the channel itself */
  sendFirst(text) {
    if (this.parts !== null) this.parts.unshift(text);
    else this.text = text + this.text;
    this.schedule();
  }

  /** @param {Buffer} buffer not copied; see `whenWritten` */
  sendBuffer(buffer) {
    const parts = this.parts ?? (this.parts = []);
    if (this.text !== '') parts.push(this.text);
    this.text = '';
    parts.push(buffer);
    if (!this.reading) this.schedule();
  }

  /** Tells `socket` when the batch that holds its Buffers is written. @param {any} socket */
  whenWritten(socket) {
    this.referring.push(socket);
  }

  schedule() {
    if (this.flushScheduled) return;
    this.flushScheduled = true;
    setImmediate(this.onFlushTurn);
  }

  flush() {
    const socket = this.socket;
    const { text, parts, referring } = this;
    if (text === '' && parts === null) return;
    this.text = '';
    this.parts = null;
    if (socket === null) return;
    if (parts === null) {
      socket.write(text, 'latin1');
      return;
    }
    if (text !== '') parts.push(text);
    this.referring = [];
    const last = parts.length - 1;
    socket.cork();
    for (let i = 0; i < last; i++) socket.write(parts[i], 'latin1');
    socket.write(parts[last], 'latin1', () => {
      for (const waiting of referring) {
        waiting._resource.runInAsyncScope(response.release, undefined, waiting);
      }
    });
    socket.uncork();
  }
}

module.exports = { Channel };
