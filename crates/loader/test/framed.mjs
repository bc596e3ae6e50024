// Owns a client connection over frames with the methods of `RawClient` (raw.mjs), so that one script drives both. It does what
// the proxy does: FIN becomes HALF_CLOSE, a reset CLOSE with its name, credit is given back.
// Must never know: what a case is about.

import { EventEmitter, once } from 'node:events';
import { C, Client } from './harness.mjs';

const CREDIT_BYTES = C.WINDOW_BYTES / 4;

export class FramedClient extends Client {
  /** @param {{address?: string, port?: number, window?: boolean}} [options] `window: false`: the client reads nothing */
  constructor(channel, options = {}) {
    super(channel, channel.nextStream++, options);
    this.readsAll = options.window !== false;
    this.chunks = [];
    this.total = 0;
    this.state = 'open';
    this.taken = 0;
    this.ends = []; // where responses end, counted from the first byte
    this.unacknowledged = 0;
    this.changed = new EventEmitter();
    this.listener = (one) => this.onFrame(one);
    channel.on(`frame ${this.stream}`, this.listener);
    // The worker is gone: the proxy sends what it has and closes.
    this.lost = () => {
      if (this.state === 'open') this.state = 'closed';
      this.changed.emit('change');
    };
    channel.on('close', this.lost);
  }

  onFrame(one) {
    if (one.type === 'WINDOW') {
      if (one.generation === this.generation) this.credit += one.payload.readUInt32LE(0);
    } else if (one.type === 'RESET') {
      this.state = 'closed';
    } else if (one.generation === this.generation) {
      this.chunks.push(one.payload);
      this.total += one.payload.length;
      this.acknowledge(one);
      if (one.type !== 'DATA') this.ends.push(this.total);
      if (one.type === 'END_CLOSE') this.state = 'closed';
    }
    this.changed.emit('change');
  }

  get bytes() {
    if (this.chunks.length > 1) this.chunks = [Buffer.concat(this.chunks)];
    return this.chunks[0] ?? Buffer.alloc(0);
  }

  acknowledge({ type, payload }) {
    this.unacknowledged += payload.length;
    if (type === 'DATA' && this.readsAll && this.unacknowledged >= CREDIT_BYTES) this.grant();
  }

  grant() {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(this.unacknowledged);
    this.unacknowledged = 0;
    this.write(this.frame('WINDOW', bytes));
  }

  /** The client reads on. */
  readAll() {
    this.readsAll = true;
    this.grant();
  }

  send(request = {}) {
    this.ends = [];
    this.unacknowledged = 0;
    this.credit = C.WINDOW_BYTES;
    this.write(...this.encode(request));
    return this;
  }

  /** More of the request's body; false when the worker gave no credit for it. */
  body(bytes) {
    const chunk = Buffer.from(bytes, 'latin1');
    this.credit -= chunk.length;
    this.write(this.frame('DATA', chunk));
    return this;
  }

  endBody(trailers = '') {
    this.write(this.frame('END', Buffer.from(trailers, 'latin1')));
    return this;
  }

  async settle(test, what) {
    const signal = AbortSignal.timeout(8000);
    while (!test()) {
      await once(this.changed, 'change', { signal }).catch((error) => {
        throw new Error(`waited too long for ${what} after ${JSON.stringify(this.bytes.toString('latin1').slice(-500))}`, { cause: error });
      });
    }
  }

  take(length = this.bytes.length) {
    const text = this.bytes.toString('latin1', 0, length);
    this.taken += text.length;
    this.chunks = [this.bytes.subarray(length)];
    return { text };
  }

  async answer() {
    await this.settle(() => this.ends.length > 0 || this.state !== 'open', 'the answer');
    return this.ends.length > 0 ? this.take(this.ends.shift() - this.taken) : this.take();
  }

  async request(request) {
    return this.send(request).answer();
  }

  async received(bytes) {
    await this.settle(() => this.total >= bytes || this.state !== 'open', `${bytes} bytes`);
  }

  /** Part of an answer, up to and with `text`. */
  async upTo(text) {
    const at = () => this.bytes.toString('latin1').indexOf(text);
    await this.settle(() => at() >= 0 || this.state !== 'open', text);
    return at() < 0 ? this.take().text : this.take(at() + text.length).text;
  }

  /** All bytes until the server closes. */
  async closed() {
    await this.settle(() => this.state !== 'open', 'the end of the connection');
    return this.take().text;
  }

  /** FIN. */
  half() {
    this.write(this.frame('HALF_CLOSE'));
  }

  /** RST. */
  reset() {
    this.write(this.frame('CLOSE', Buffer.from('ECONNRESET')));
    this.state = 'left';
  }

  drop() {
    if (this.state !== 'left') this.write(this.frame('CLOSE'));
    this.channel.off(`frame ${this.stream}`, this.listener);
    this.channel.off('close', this.lost);
  }
}
