'use strict';

// Owns one connection to a shard of the proxy: HELLO, reading into one buffer, the streams on it,
// re-connecting with back-off. (Writing: outbox.cjs.)
// Must never know: HTTP, what the app does with a request.

const C = require('./constants.cjs');
const dispatch = require('./dispatch.cjs');
const { FrameReader } = require('./reader.cjs');
const { clearTimeout, connectTo, connectedAs, drainTicks, now, root, setImmediate, setTimeout } = require('./natives.cjs');
const { ProtocolError, jsonFrame, prefix, u24, windowFrame } = require('./frame.cjs');
const { Outbox } = require('./outbox.cjs');

const TO_PROXY = C.FRAMES_TO_PROXY;
const RECONNECT_MS_MIN = 10;
const RECONNECT_MS_MAX = 1000;

class Channel extends Outbox {
  /**
   * @param {string} path of the shard's socket
   * @param {number | undefined} fd the first connection to it, where the supervisor made that
   * @param {object} hello what this worker says first
   * @param {{ready(channel: Channel): void, failed(channel: Channel, error: Error): void,
   *          move(channel: Channel, path: string): void, ended(channel: Channel): void,
   *          changed(): void, batch(): void, virtual(server: any): any[],
   *          ownsTimeouts: boolean}} owner
   */
  constructor(path, fd, hello, owner) {
    super();
    this.path = path;
    this.fd = fd;
    this.hello = hello;
    this.owner = owner;
    /** The http.Server that gets the requests; null while none listens. @type {any} */
    this.server = null;
    /** The async context in which it began to listen. */
    this.scope = root;
    /** Under exec. @type {import('./offer.cjs').Offers | null} */
    this.offers = null;
    /** @type {any[]} virtual sockets by stream number */
    this.streams = [];
    /** @type {any[]} handles of tunnels by stream number */
    this.tunnels = [];
    /** How many of both keep the process alive, as an open connection does. */
    this.hanging = 0;
    this.inFlight = 0;
    /** @type {(() => void)[]} see `afterBatch` */
    this.later = [];
    this.window = C.FRAME_PAYLOAD_BYTES_MAX;
    /** @type {{address?: string, port?: number, family?: string, path?: string}[]} */
    this.listeners = [];
    /** Which of the proxy's shards, by its own word. */
    this.shard = 0;
    /** HELLO of the proxy is here. */
    this.ready = false;
    /** Another proxy has taken over: when this connection ends, that is the end. */
    this.superseded = false;
    this.held = true;
    this.backoff = RECONNECT_MS_MIN;
    this.timer = null;

    this.reader = this.newReader();
  }

  // ---- connection -------------------------------------------------------------------------------

  connect() {
    this.timer = null;
    this.reader = this.newReader();
    const reader = this.reader;
    // `onread` reads without stream machinery and without an allocation per read.
    const options = {
      onread: {
        buffer: () => reader.room(),
        callback: (length) => this.onRead(reader, length),
      },
    };
    const { fd } = this;
    const socket = fd === undefined ? connectTo(this.path, options) : connectedAs(fd, options);
    this.fd = undefined;
    this.socket = socket;
    if (!this.held) socket.unref();
    const hello = () => socket.write(jsonFrame(TO_PROXY.HELLO, this.hello), 'latin1');
    if (fd === undefined) socket.on('connect', hello);
    else hello();
    socket.on('error', () => {});
    socket.on('close', () => this.lost(socket));
  }

  /** The proxy closed, or restarts: its streams are gone with it. @param {any} socket */
  lost(socket) {
    if (this.socket !== socket) return;
    this.socket = null;
    this.ready = false;
    this.reader.stopped = true;
    this.forget();
    const { streams, tunnels } = this;
    this.streams = [];
    this.tunnels = [];
    for (const stream of streams) {
      if (stream === undefined) continue;
      stream._gone = true;
      stream.destroy();
    }
    for (const tunnel of tunnels) tunnel?.receiveClose('');
    if (this.superseded) this.owner.ended(this);
    else this.again();
  }

  /** There is another proxy. @param {boolean} superseded */
  supersede(superseded) {
    this.superseded = superseded;
    if (!superseded || this.timer === null) return;
    // It was about to connect once more.
    clearTimeout(this.timer);
    this.timer = null;
    this.owner.ended(this);
  }

  /** @protected */
  again() {
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
    this.shard = hello.shard;
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
  onRead(reader, length) {
    this.batch(reader, length);
    return true;
  }

  /** @param {FrameReader} reader @param {number} length of the read; 0 to go on with what an exception left */
  batch(reader, length) {
    this.reading = true;
    this.batchStart = now();
    this.owner.begins();
    let done = false;
    try {
      if (length === 0) reader.resume();
      else reader.push(length);
      dispatch.drain();
      while (this.later.length > 0) {
        this.later.shift()();
        drainTicks();
      }
      done = true;
    } finally {
      // A handler threw. The error stays an ordinary uncaught exception; the rest of the batch
      // belongs to other clients and runs in the next turn.
      this.reading = false;
      if (!done) this.interrupted(reader);
      this.owner.batch();
      if (this.urgent) this.flush();
    }
  }

  /** @param {FrameReader} reader */
  interrupted(reader) {
    // Node asks for new memory only behind a call that returns; the app has the old.
    if (reader.direct) this.socket?._handle?.useUserBuffer(reader.room());
    setImmediate(() => this.batch(reader, 0));
  }

  /**
   * What uv would do behind the reads of a turn and in front of its immediates; outside of a batch, in the next turn.
   * @param {() => void} action @returns {boolean} whether it comes behind the batch
   */
  afterBatch(action) {
    if (this.reading) this.later.push(action);
    else setImmediate(action);
    return this.reading;
  }

  // ---- streams ----------------------------------------------------------------------------------

  /**
   * A socket keeps the process alive as uv's handle would, which counts only while it reads or writes: who was asked to stop reading and
   * has nothing to write does not.
   * @param {any} socket
   */
  weigh(socket) {
    const hangs = !socket._destroyed && !socket._unrefed && (!socket._stopped || socket._queue !== null);
    if (socket._hangs !== hangs) this.hang(socket, hangs);
  }

  /** @param {any} socket or the handle of a tunnel @param {boolean} hangs */
  hang(socket, hangs) {
    socket._hangs = hangs;
    const before = this.hanging;
    this.hanging += hangs ? 1 : -1;
    if (before === 0 || this.hanging === 0) this.owner.changed();
  }

  /** A virtual socket is destroyed. @param {any} socket */
  release(socket) {
    // END_CLOSE is our FIN, and the end of it all where the proxy owns the connection. Under exec it is Node that decides how long
    // a client may go on sending: RESET says that nobody reads any more.
    const known = socket._gone || (socket._closeSent && this.offers === null);
    if (socket._stream !== 0 && !known) this.reset(socket._stream, socket._generation);
    this.forgetStream(socket);
    if (socket._offer !== null) socket._offer.close();
  }

  /** @param {any} socket */
  forgetStream(socket) {
    if (socket._responseOpen) this.inFlight--;
    socket._responseOpen = false;
    if (this.streams[socket._stream] === socket) this.streams[socket._stream] = undefined;
    if (socket._hangs) this.hang(socket, false);
  }

  /** @param {any} tunnel */
  forgetTunnel(tunnel) {
    if (this.tunnels[tunnel.stream] === tunnel) this.tunnels[tunnel.stream] = undefined;
  }

  /** @param {any} server */
  virtual(server) {
    return this.streams.filter((socket) => socket !== undefined && socket.server === server);
  }

  /** @param {number} stream @param {number} generation */
  reset(stream, generation) {
    this.send(prefix(0, TO_PROXY.RESET, u24(stream), generation));
  }

  /** The connection ends with its open response, because nobody else would end it after `server.close()`. @param {any} server */
  isOver(server) {
    return this.offers === null && this.server !== server;
  }

  /** A response is complete. @param {any} socket */
  idle(socket) {
    if (this.isOver(socket.server) && !socket._bodyOpen && !socket._responseOpen) socket.destroy();
  }

  /** Request bytes are consumed: more may come, in steps that are worth a frame. @param {any} socket */
  giveBack(socket) {
    if (!socket._bodyOpen || socket._destroyed || socket._owed < this.window / 4) return;
    this.sendLater(windowFrame(socket._stream, socket._generation, socket._owed));
    socket._owed = 0;
  }
}

module.exports = { Channel };
