'use strict';

// Owns what the taken-over server means outside: channels to all shards, the plain path, the reports
// "listen" and "ready", and whether all that keeps the process alive.
// Must never know: how `listen` was called, what is in a request.

const fs = require('fs');
const http = require('http');
const C = require('./constants.cjs');
const { Channel } = require('./channel.cjs');
const { ProtocolError, jsonFrame } = require('./frame.cjs');
const { Heartbeat } = require('./heartbeat.cjs');
const { tellExit } = require('./last_words.cjs');
const { outside, root } = require('./natives.cjs');
const { PlainPath } = require('./plain.cjs');
const { report } = require('./report.cjs');
const { Settings } = require('./settings.cjs');

const { LISTEN, UNLISTEN } = C.FRAMES_TO_PROXY;

class Worker {
  /** @param {any} settings HOSTLER_WORKER */
  constructor(settings) {
    this.settings = settings;
    this.transport = settings.transport;
    this.begin = () => true;
    const hello = {
      protocol: C.PROTOCOL, worker: settings.worker, app: settings.app, slot: settings.slot,
      pid: process.pid, node: process.versions.node,
    };
    const { channels, channel_fds: fds = [] } = settings;
    /** One for each shard; while one proxy follows another, two. @type {Channel[]} */
    this.channels = channels.map((/** @type {string} */ path, /** @type {number} */ i) => new Channel(path, fds[i], hello, this));
    this.watch = settings.hang_ms === undefined ? null : new (require('./hang.cjs').HangWatch)(settings.hang_ms);
    this.heartbeat = new Heartbeat(this.channels, this.watch);
    this.connected = false;
    this.exitIsWatched = false;
    this.lastSettings = new Settings();

    /** The server that is taken over, and its virtual handle. @type {any} */
    this.server = null;
    /** @type {any} */
    this.handle = null;
    this.scope = root;
    /** @type {PlainPath | null} */
    this.plain = null;
    this.plainOpen = false;
    this.wanted = null;
    /** The app believes that it listens. */
    this.listening = false;
    /** The proxy may send requests. */
    this.serving = false;
    /** False: the app is to say so first. */
    this.saidReady = true;
    this.onListening = () => {};
  }

  /**
   * @param {any} server @param {any} handle @param {object} wanted
   * @param {import('async_hooks').AsyncResource} scope in which the app called `listen`
   * @param {() => void} onListening when requests may come
   * @param {(error: Error) => void} onError
   */
  take(server, handle, wanted, scope, onListening, onError) {
    this.server = server;
    this.handle = handle;
    this.scope = scope;
    this.wanted = wanted;
    this.onListening = onListening;
    report({ step: 'listen', requested: wanted });
    this.frames = this.transport === 'frames' && readsByNode(server);
    this.watchExit();
    outside(() => {
      this.openPlainPath(server, handle, onError);
      startThreadPool();
      if (this.frames) this.connect();
    });
    this.changed();
  }

  /** @private @param {any} server @param {any} handle @param {(error: Error) => void} onError */
  openPlainPath(server, handle, onError) {
    const plain = this.plain = new PlainPath(this.settings.plain, server, this.scope, this.frames,
      () => this.channels[0].listeners);
    plain.open((error) => {
      if (this.plain !== plain) return;
      if (error !== null) {
        this.closed(handle);
        onError(error);
        return;
      }
      this.plainOpen = true;
      this.proceed();
    });
  }

  /** @private */
  watchExit() {
    if (this.exitIsWatched) return;
    this.exitIsWatched = true;
    process.on('exit', (code) => {
      let inFlight = 0;
      for (const channel of this.channels) {
        // Node writes an answer at once, so that `res.end(); process.exit()` and `server.close(exit)`
        // still answer. Here the batch is written then.
        channel.flush();
        inFlight += channel.inFlight;
      }
      tellExit(code, inFlight);
    });
  }

  /** @private */
  connect() {
    if (this.connected) return;
    this.connected = true;
    for (const channel of this.channels) channel.connect();
  }

  /** A channel got the proxy's HELLO. @param {Channel} channel */
  ready(channel) {
    if (this.serving) this.announce(channel);
    else this.proceed();
  }

  /**
   * Another proxy takes over. The streams of this one go on until it closes the channel.
   * @param {Channel} channel @param {string} path of the shard that takes its place
   */
  move(channel, path) {
    const { shard } = channel;
    if (typeof path !== 'string' || path === '') throw new ProtocolError('MOVE leads nowhere');
    const rivals = this.channels.filter((other) => other.shard === shard);
    if (!rivals.some((other) => other.path === path)) outside(() => this.follow(channel, path));
    for (const rival of rivals) rival.supersede(rival.path !== path);
    this.changed();
  }

  /** @private @param {Channel} channel @param {string} path */
  follow(channel, path) {
    const next = new Channel(path, undefined, channel.hello, this);
    next.shard = channel.shard;
    // Who asks for the address before the new proxy has told it.
    next.listeners = channel.listeners;
    this.channels.splice(this.channels.indexOf(channel), 0, next);
    next.connect();
  }

  /** A channel to an earlier proxy has ended. @param {Channel} channel */
  ended(channel) {
    this.channels.splice(this.channels.indexOf(channel), 1);
    this.changed();
  }

  /** Requests are held back until the app has called `process.send('ready')`. */
  awaitReady() {
    this.saidReady = false;
    require('./ready.cjs').install(() => {
      this.saidReady = true;
      outside(() => this.proceed());
    });
  }

  /** @private */
  proceed() {
    if (this.handle === null || this.serving || !this.plainOpen) return;
    if (this.frames && !this.channels.every((channel) => channel.ready)) return;
    if (this.saidReady) {
      this.serve();
    } else if (!this.listening) {
      report({ step: 'awaits_ready' });
      this.tellApp();
    }
  }

  /** @private */
  serve() {
    this.serving = true;
    // Now and not a moment later: then the supervisor pins this thread to a core, and its threads inherit that.
    if (this.watch !== null) this.watch.start();
    if (this.frames || this.watch !== null) this.heartbeat.start();
    report({ step: 'ready', transport: this.frames ? 'frames' : 'http' });
    if (!this.listening) this.tellApp();
    // Requests can only be read in a later turn: the app has seen 'listening' by then.
    if (this.frames) for (const channel of this.channels) this.announce(channel);
  }

  /** @private */
  tellApp() {
    this.listening = true;
    if (this.frames) this.handle.setLocal(this.channels[0].listeners[0]);
    this.scope.runInAsyncScope(this.onListening);
  }

  /** @private @param {Channel} channel */
  announce(channel) {
    channel.server = this.server;
    channel.scope = this.scope;
    this.lastSettings.changed(this.server);
    channel.send(jsonFrame(LISTEN, { requested: this.wanted }) + this.lastSettings.frame());
  }

  /** `server.close()`. @param {any} handle */
  closed(handle) {
    if (this.handle !== handle) return;
    for (const channel of this.channels) {
      if (channel.server === null) continue;
      channel.server = null;
      // In front of the RESETs of idle connections, so that the proxy knows what they mean.
      channel.sendFirst(jsonFrame(UNLISTEN, {}));
    }
    this.heartbeat.stop();
    if (this.plain !== null) this.plain.close();
    this.server = null;
    this.handle = null;
    this.scope = root;
    this.plain = null;
    this.plainOpen = false;
    this.listening = this.serving = false;
    this.changed();
  }

  /** @param {Channel} channel @param {Error} error */
  failed(channel, error) {
    report({ step: 'channel', path: channel.path, why: error.message });
  }

  /** Called once per batch, and when connections or handles come and go. */
  changed() {
    const handle = this.handle;
    const refed = handle !== null && handle.refed;
    for (const channel of this.channels) channel.hold(refed || channel.hanging > 0);
    if (this.plain !== null) refed ? this.plain.ref() : this.plain.unref();
  }

  // ---- for connections.cjs ----

  /** Virtual sockets of all shards. @param {any} server */
  virtual(server) {
    return this.channels.flatMap((channel) => channel.virtual(server));
  }

  /** The proxy keeps the time-outs, see SETTINGS. */
  get ownsTimeouts() {
    return false;
  }

  /** Called in front of each batch of frames. */
  begins() {
    this.heartbeat.work();
  }

  /** Called behind it. */
  batch() {
    if (this.serving && this.lastSettings.changed(this.server)) {
      for (const channel of this.channels) if (channel.ready) channel.send(this.lastSettings.frame());
    }
  }
}

/**
 * A server whose 'connection' listeners are not Node's (port sharing, own parsers) wants sockets.
 * @param {any} server
 */
function readsByNode(server) {
  return server.listeners('connection').includes(http._connectionListener);
}

/**
 * The supervisor pins this thread to a core once it is ready, and a thread inherits the pinning of the one that starts
 * it. libuv starts its pool with the first job (uv_queue_work in threadpool.c): this one, while all cores are allowed.
 */
function startThreadPool() {
  fs.stat('/', () => {});
}

module.exports = { Worker, readsByNode };
