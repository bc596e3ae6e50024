'use strict';

// Owns the connections that Node accepted and the proxy may take (`hostler exec`): the offer, the answer, and
// the handle, unread, until the connection is over.
// Must never know: how a server came to be watched, what is in a request.

const dispatch = require('./dispatch.cjs');
const handover = require('./handover.cjs');
const { clearTimeout, setImmediate, setTimeout } = require('./natives.cjs');
const { ProtocolError, offerFrame } = require('./frame.cjs');

// More at once are Node's own from the start.
const OFFERS_MAX = 4096;
// The proxy answers when a head is whole, or after 20 ms; at worst when it has a turn.
const ANSWER_MS_MAX = 10_000;
const NOTHING = Buffer.alloc(0);

/**
 * WAITING -> OFFERED -> OPEN -> OVER, or back to Node from each of the first three (also OVER).
 * DROPPED: the app destroyed it while it was offered. The handle stays until the proxy has answered: once it is closed, its
 * descriptor may mean another connection.
 */
const STATES = { WAITING: 'waiting', OFFERED: 'offered', DROPPED: 'dropped', OPEN: 'open', OVER: 'over' };

class Offer {
  /** @param {Offers} offers @param {number} number @param {import('./exec.cjs').Watched} watched @param {any} client handle */
  constructor(offers, number, watched, client) {
    this.offers = offers;
    this.number = number;
    this.watched = watched;
    this.client = client;
    this.state = STATES.WAITING;
    /** The connection is to end with RST. */
    this.reset = false;
  }

  /** What `onconnection` of net.js does with the handle. @param {any} socket */
  opened(socket) {
    const { client, watched: { server } } = this;
    this.state = STATES.OPEN;
    socket._offer = this;
    socket._local = undefined;
    if (typeof client.getsockname !== 'function') return;
    client.getsockname(socket._local = {});
    if (server.noDelay) this.setNoDelay(true);
    if (server.keepAlive) client.setKeepAlive(true, server.keepAliveInitialDelay);
  }

  /** A unix socket has neither. @param {boolean} [enable] as net.Socket.setNoDelay takes it */
  setNoDelay(enable) {
    this.client.setNoDelay?.(enable === undefined || Boolean(enable));
  }

  /** @param {boolean} [enable] @param {number} [initialDelayMs] as net.Socket.setKeepAlive takes them */
  setKeepAlive(enable, initialDelayMs) {
    this.client.setKeepAlive?.(Boolean(enable), ~~(/** @type {any} */ (initialDelayMs) / 1000));
  }

  /** The virtual socket is destroyed; what is left to send is the proxy's, whose descriptor is open still. */
  close() {
    this.state = STATES.OVER;
    // SO_LINGER belongs to the socket, not to the descriptor: the last one that is closed sends RST.
    if (this.reset && typeof this.client.reset === 'function' && this.client.reset() === 0) return;
    this.client.close();
  }

  /** `closeAllConnections` before the answer; `destroy` is what Node calls. */
  destroy() {
    if (this.state !== STATES.WAITING && this.state !== STATES.OFFERED) return;
    const { server } = this.watched;
    server._connections--;
    if (this.state === STATES.OFFERED) {
      this.state = STATES.DROPPED;
    } else {
      this.offers.remove(this);
      this.close();
    }
    server._emitCloseIfDrained();
  }
}

class Offers {
  /** @param {import('./channel.cjs').Channel} channel */
  constructor(channel) {
    this.channel = channel;
    /** Not answered yet. @type {Map<number, Offer>} */
    this.unanswered = new Map();
    this.next = 0;
    /** @type {any} */
    this.timer = null;
    this.oldest = -1;
  }

  get size() {
    return this.unanswered.size;
  }

  /** @param {any} server */
  of(server) {
    return [...this.unanswered.values()].filter((offer) => offer.watched.server === server && offer.state !== STATES.DROPPED);
  }

  /** @param {import('./exec.cjs').Watched} watched @param {any} client @returns {boolean} false: it is Node's */
  add(watched, client) {
    if (this.unanswered.size >= OFFERS_MAX) return false;
    this.next = (this.next + 1) >>> 0;
    const offer = new Offer(this, this.next, watched, client);
    this.unanswered.set(offer.number, offer);
    if (this.unanswered.size === 1) {
      this.channel.owner.changed();
      this.watch();
    }
    if (this.channel.ready) this.send(offer);
    return true;
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
    // The HEAD that follows finds no stream and is answered with RESET.
    if (offer.state === STATES.DROPPED) return offer.close();
    const { client, watched: { server, scope } } = offer;
    const peer = /** @type {any} */ ({});
    client.getpeername?.(peer);
    const from = { address: peer.address ?? '', port: peer.port ?? 0, listener: 0 };
    scope.runInAsyncScope(dispatch.connect, undefined, this.channel, server, stream, generation, from, offer);
  }

  /** GIVE_BACK. @param {number} number @param {number} stream @param {Buffer} bytes */
  giveBack(number, stream, bytes) {
    if (stream !== 0) {
      this.giveBackStream(number, stream, bytes);
      return;
    }
    const offer = this.answered(number);
    if (offer.state === STATES.DROPPED) offer.close();
    else toNode(offer, bytes);
  }

  /** @private @param {number} number @param {number} stream @param {Buffer} bytes */
  giveBackStream(number, stream, bytes) {
    const socket = this.channel.streams[stream];
    if (socket === undefined) return; // destroyed meanwhile, and its handle is closed
    const offer = socket._offer;
    if (offer.number !== number) throw new ProtocolError(`GIVE_BACK of offer ${number} on the stream of ${offer.number}`);
    if (socket._responseOpen || socket._bodyOpen) throw new ProtocolError(`GIVE_BACK of stream ${stream} in the middle of a request`);
    this.channel.forgetStream(socket);
    offer.state = STATES.OVER;
    socket._offer = null;
    handover.takeOver(offer.watched, offer.client, socket, bytes);
  }

  /** The channel is gone for good: what is not answered is Node's. */
  lost() {
    const offers = [...this.unanswered.values()];
    this.unanswered.clear();
    this.changed();
    for (const offer of offers) {
      if (offer.state === STATES.DROPPED) offer.close();
      else setImmediate(toNode, offer, NOTHING); // each in its own turn, as it would have been accepted
    }
  }

  /** @private @param {number} number */
  answered(number) {
    const offer = this.unanswered.get(number);
    if (offer === undefined) throw new ProtocolError(`no offer ${number}`);
    this.remove(offer);
    return offer;
  }

  /** @param {Offer} offer */
  remove(offer) {
    this.unanswered.delete(offer.number);
    this.changed();
  }

  /** @private */
  changed() {
    if (this.unanswered.size > 0) return;
    clearTimeout(this.timer);
    this.timer = null;
    this.channel.owner.changed();
  }

  /** @private Every wait has a deadline: a proxy that does not answer at all is as good as gone. */
  watch() {
    this.oldest = this.unanswered.keys().next().value ?? -1;
    this.timer = setTimeout(() => {
      // A process that was stopped finds its timers due first: what the proxy wrote meanwhile is read before the verdict.
      setImmediate(() => {
        if (this.unanswered.has(this.oldest)) this.channel.fail(new ProtocolError(`no answer to offer ${this.oldest}`));
        else if (this.unanswered.size > 0) this.watch();
      });
    }, ANSWER_MS_MAX);
    this.timer.unref();
  }
}

/** @param {Offer} offer @param {Buffer} bytes that were read from it */
function toNode(offer, bytes) {
  if (offer.state === STATES.OVER) return;
  offer.state = STATES.OVER;
  offer.watched.server._connections--; // Node's `onconnection` counts it
  handover.accept(offer.watched, offer.client, bytes);
}

module.exports = { Offer, Offers };
