'use strict';

// Owns the connections that Node accepted and the proxy may take (`hostler exec`): the offer, the answer, and
// the handle, unread, until the connection is over. The app knows the connection from the moment of its acceptance, as
// a virtual socket.
// Must never know: how a server came to be watched, what is in a request.

const dispatch = require('./dispatch.cjs');
const handover = require('./handover.cjs');
const { clearTimeout, setImmediate, setTimeout } = require('./natives.cjs');
const C = require('./constants.cjs');
const { ProtocolError, offerFrame, prefix, u24 } = require('./frame.cjs');

const { HELD } = C.FRAMES_TO_PROXY;

// More at once are Node's own from the start.
const OFFERS_MAX = 4096;
// The proxy answers when a head is whole, or after 20 ms; at worst when it has a turn.
const ANSWER_MS_MAX = 10_000;
const NOTHING = Buffer.alloc(0);
const FROM = { address: '', port: 0, listener: 0 }; // the handle knows, see `name`

/**
 * NEW -> WAITING (for the channel) -> OFFERED -> OPEN -> OVER. Back to Node, and so OVER, from each of them.
 * LEAVING: from OPEN, in the middle of an exchange: HELD is sent, output waits.
 * NEW: the app hears of the connection. DROPPED: the app destroyed it while it was offered; the handle stays until the
 * proxy has answered, because once it is closed its descriptor may mean another connection.
 */
const STATES = { NEW: 'new', WAITING: 'waiting', OFFERED: 'offered', DROPPED: 'dropped', OPEN: 'open', LEAVING: 'leaving', OVER: 'over' };

class Offer {
  /** @param {Offers} offers @param {import('./watch.cjs').Watched} watched @param {any} client handle */
  constructor(offers, watched, client) {
    this.offers = offers;
    this.watched = watched;
    this.client = client;
    this.number = 0;
    this.state = STATES.NEW;
    /** The virtual socket. @type {any} */
    this.socket = null;
    /** The connection is to end with RST. */
    this.reset = false;
    this.peername = this.sockname = null;
  }

  /** What `onconnection` of net.js does with the handle. @param {any} socket */
  begin(socket) {
    const { watched: { server }, client } = this;
    this.socket = socket;
    socket._offer = this;
    if (server.noDelay) this.setNoDelay(true);
    if (server.keepAlive) client.setKeepAlive?.(true, server.keepAliveInitialDelay);
  }

  /**
   * As _getpeername and _getsockname of net.Socket, which ask once.
   * @param {'peername' | 'sockname'} which
   */
  name(which) {
    if (this[which] !== null) return this[which];
    const out = {};
    const failed = this.client[`get${which}`]?.(out);
    if (failed === 0) this[which] = out;
    return out;
  }

  /** A unix socket has neither. @param {boolean} [enable] as net.Socket.setNoDelay takes it */
  setNoDelay(enable) {
    this.client.setNoDelay?.(enable === undefined || Boolean(enable));
  }

  /** @param {boolean} [enable] @param {number} [initialDelayMs] as net.Socket.setKeepAlive takes them */
  setKeepAlive(enable, initialDelayMs) {
    this.client.setKeepAlive?.(Boolean(enable), ~~(/** @type {any} */ (initialDelayMs) / 1000));
  }

  /**
   * The app uses the socket itself, not only through Node's http code. Before the connection is offered it can simply
   * become the real socket.
   * @returns {boolean} whether it has
   */
  used() {
    if (this.state !== STATES.NEW) return false;
    this.toNode(NOTHING, NOTHING);
    return true;
  }

  /** The handlers of a request have run. */
  requestBegan() {
    // What the app reads itself frames cannot bring.
    if (this.state === STATES.OPEN && handover.isRaw(this.socket)) this.leave();
    else if (this.state === STATES.LEAVING) this.held(); // its HEAD crossed the last one
  }

  /** Output waits from now on. */
  leave() {
    if (this.state !== STATES.OPEN) return;
    this.state = STATES.LEAVING;
    this.socket._leaving = true;
    this.held();
  }

  /** @private */
  held() {
    const { _channel: channel, _streamText, _generation } = this.socket;
    channel.send(prefix(0, HELD, _streamText, _generation));
  }

  /** The virtual socket is destroyed. What is left to send is the proxy's, whose descriptor is open still. */
  close() {
    if (this.state === STATES.OFFERED) {
      this.state = STATES.DROPPED;
      return;
    }
    if (this.state === STATES.WAITING) this.offers.remove(this);
    this.state = STATES.OVER;
    // SO_LINGER belongs to the socket, not to the descriptor: the last one that is closed sends RST.
    if (this.reset && typeof this.client.reset === 'function' && this.client.reset() === 0) return;
    this.client.close();
  }

  /** @param {Buffer} lead into a request @param {Buffer} bytes that were read from it */
  toNode(lead, bytes) {
    const { socket } = this;
    this.state = STATES.OVER;
    socket._channel.forgetStream(socket);
    socket._offer = null;
    socket._leaving = false;
    handover.takeOver(this.watched, this.client, socket, lead, bytes);
  }
}

class Offers {
  /** @param {import('./channel.cjs').Channel} channel */
  constructor(channel) {
    this.channel = channel;
    /** @type {Map<number, Offer>} */
    this.unanswered = new Map();
    this.next = 0;
    /** @type {any} */
    this.timer = null;
    this.oldest = -1;
  }

  /** @returns {boolean} false: too many, it is Node's */
  hasRoom() {
    return this.unanswered.size < OFFERS_MAX;
  }

  /** Called by Node, in the server's async context. @param {import('./watch.cjs').Watched} watched @param {any} client */
  accept(watched, client) {
    const offer = new Offer(this, watched, client);
    watched.server._connections++;
    try {
      dispatch.connect(this.channel, watched.server, FROM, (/** @type {any} */ socket) => offer.begin(socket));
    } finally {
      // What a listener of 'connection' throws is the app's; the connection goes on.
      this.make(offer);
    }
  }

  /** @private @param {Offer} offer */
  make(offer) {
    const { socket } = offer;
    if (offer.state !== STATES.NEW) return;
    if (handover.isRaw(socket)) {
      offer.used();
      return;
    }
    this.next = (this.next + 1) >>> 0;
    offer.number = this.next;
    offer.state = STATES.WAITING;
    this.unanswered.set(offer.number, offer);
    if (this.timer === null) this.watch();
    if (this.channel.ready) this.send(offer);
  }

  /** The proxy's HELLO is here. */
  ready() {
    for (const offer of this.unanswered.values()) this.send(offer);
  }

  /** @private @param {Offer} offer */
  send(offer) {
    const { watched: { number, server }, client } = offer;
    offer.state = STATES.OFFERED;
    this.channel.send(offerFrame(offer.number, number, client.fd, server.maxHeaderSize || require('http').maxHeaderSize));
  }

  /** OPEN. @param {number} number @param {number} stream @param {number} generation */
  open(number, stream, generation) {
    if (stream === 0 || this.channel.streams[stream] !== undefined) throw new ProtocolError(`OPEN on stream ${stream}`);
    const offer = this.answered(number);
    // If it was dropped, the HEAD that follows finds no stream and is answered with RESET.
    if (offer === null) return;
    const { socket } = offer;
    offer.state = STATES.OPEN;
    socket._stream = stream;
    socket._streamText = u24(stream);
    socket._generation = generation;
    this.channel.streams[stream] = socket;
  }

  /** HOLD. @param {number} stream */
  hold(stream) {
    const socket = this.channel.streams[stream];
    if (socket !== undefined) socket._offer.leave();
  }

  /** GIVE_BACK. @param {number} number @param {number} stream @param {Buffer} lead @param {Buffer} bytes */
  giveBack(number, stream, lead, bytes) {
    const offer = stream === 0 ? this.answered(number) : this.opened(number, stream);
    if (offer !== null) offer.toNode(lead, bytes);
  }

  /** @private @param {number} number @param {number} stream @returns {Offer | null} */
  opened(number, stream) {
    const socket = this.channel.streams[stream];
    if (socket === undefined) return null; // destroyed meanwhile, and its handle is closed
    const offer = socket._offer;
    if (offer.number !== number) throw new ProtocolError(`GIVE_BACK of offer ${number} on the stream of ${offer.number}`);
    if (offer.state === STATES.OPEN && (socket._responseOpen || socket._bodyOpen)) throw new ProtocolError(`GIVE_BACK of stream ${stream} in the middle of a request`);
    return offer;
  }

  /** The channel is gone for good: what is not answered is Node's. */
  lost() {
    const offers = [...this.unanswered.values()];
    for (const offer of offers) {
      if (this.answered(offer.number) === null) continue;
      offer.state = STATES.NEW; // not offered any more
      setImmediate(() => offer.used()); // each in its own turn, as it would have been accepted
    }
  }

  /** @private @param {number} number @returns {Offer | null} null if the app dropped it */
  answered(number) {
    const offer = this.unanswered.get(number);
    if (offer === undefined) throw new ProtocolError(`no offer ${number}`);
    this.remove(offer);
    if (offer.state !== STATES.DROPPED) return offer;
    offer.close();
    return null;
  }

  /** @param {Offer} offer */
  remove(offer) {
    this.unanswered.delete(offer.number);
    if (this.unanswered.size > 0 || this.timer === null) return;
    clearTimeout(this.timer);
    this.timer = null;
  }

  /** @private Every wait has a deadline: a proxy that does not answer at all is as good as gone. */
  watch() {
    this.oldest = this.unanswered.keys().next().value ?? -1;
    this.timer = setTimeout(() => {
      // A process that was stopped finds its timers due first: what the proxy wrote meanwhile is read before the verdict.
      setImmediate(() => {
        this.timer = null;
        if (this.unanswered.has(this.oldest)) this.channel.fail(new ProtocolError(`no answer to offer ${this.oldest}`));
        else if (this.unanswered.size > 0) this.watch();
      });
    }, ANSWER_MS_MAX);
    this.timer.unref();
  }
}

module.exports = { Offer, Offers };
