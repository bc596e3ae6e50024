// Owns the proxy of `hostler exec` as the tests play it: it cannot duplicate descriptors, so what it "reads" of a
// connection is what a test says, and the bytes of clients stay unread until a connection is given back.
// Must never know: what a single test wants to prove.

import { EventEmitter, once } from 'node:events';
import net from 'node:net';
import { FakeProxy, frame, next } from './harness.mjs';

export function u32(value) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

/** One connection that a process offered. */
export class Offer {
  constructor(channel, payload) {
    this.channel = channel;
    [this.number, this.server, this.fd, this.headerBytesMax] = [0, 4, 8, 12].map((at) => payload.readUInt32LE(at));
    this.client = null;
  }

  /** Serves it as a stream that begins with `request`. */
  open(request = {}) {
    const client = this.client = this.channel.client();
    client.fresh = false;
    client.seen = this.channel.frames.length;
    const frames = client.encode(request);
    this.channel.write(client.frame('OPEN', u32(this.number)), ...frames);
    return client;
  }

  /** Frames cannot carry on; the worker's HELD. */
  async hold() {
    this.client.write(this.client.frame('HOLD'));
    return this.held();
  }

  held() {
    return this.channel.until((one) => one.type === 'HELD' && one.stream === this.client.stream);
  }

  /** @param {string} text read from the connection @param {string} lead into a body */
  giveBack(text = '', lead = '') {
    const { client } = this;
    this.channel.write(frame('GIVE_BACK', client?.stream ?? 0, client?.generation ?? 0,
      Buffer.concat([u32(this.number), u32(lead.length), Buffer.from(lead + text, 'latin1')])));
  }
}

export class Front extends EventEmitter {
  static async start(options) {
    const front = new Front();
    front.proxy = await FakeProxy.start(options);
    front.offers = [];
    /** What happens to an offer that no test waits for. */
    front.otherwise = (offer) => offer.giveBack();
    front.waiting = [];
    front.proxy.on('channel', (channel) => channel.on('frame', (one) => {
      if (one.type !== 'OFFER') return;
      const offer = new Offer(channel, one.payload);
      front.offers.push(offer);
      const taker = front.waiting.shift();
      if (taker) taker(offer);
      else front.otherwise(offer);
    }));
    return front;
  }

  /** The next offer. */
  offer() {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('waited too long for an offer')), 10000);
      this.waiting.push((offer) => {
        clearTimeout(timer);
        resolve(offer);
      });
    });
  }

  /** Starts an app that prints `port N` or `path P`. */
  async app(script, options) {
    const worker = this.proxy.exec(script, options);
    const [, word, value] = await once_(worker, /^(port|path) (.+)$/m);
    worker.port = word === 'port' ? Number(value) : value;
    return worker;
  }

  /** A client's socket and the offer of it. */
  async connect(port, options = {}) {
    const offered = this.offer();
    const socket = typeof port === 'number' ? net.connect({ port, host: '127.0.0.1', ...options }) : net.connect(port);
    let failed;
    socket.on('error', (error) => { failed = error.code; });
    const closed = new Promise((resolve) => socket.on('close', () => resolve(failed)));
    let text = '';
    socket.setEncoding('latin1').on('data', (chunk) => { text += chunk; socket.emit('text'); });
    const until = async (pattern) => {
      while (!pattern.test(text)) await Promise.race([once(socket, 'text'), closed.then(() => { throw new Error(`closed before ${pattern}: ${text}`); })]);
    };
    return { socket, closed, until, offer: await offered };
  }

  /** The channel of a process. */
  channelOf(worker) {
    return this.proxy.channels.find((channel) => channel.hello?.pid === worker.child.pid);
  }

  stop() {
    return this.proxy.stop();
  }
}

async function once_(worker, pattern) {
  while (true) {
    const found = pattern.exec(worker.stdout);
    if (found) return found;
    if (worker.code !== undefined) throw new Error(`ended with ${worker.code}: ${worker.stdout}${worker.stderr}`);
    await next(worker, 'stdout', String(pattern));
  }
}
