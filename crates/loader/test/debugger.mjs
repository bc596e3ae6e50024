// Owns a debugger as DevTools are one: a WebSocket to an open inspector port. Node 20 has no client for it.
// Must never know: what is debugged.

import crypto from 'node:crypto';
import { EventEmitter } from 'node:events';
import http from 'node:http';
import { next } from './harness.mjs';

export class Debugger extends EventEmitter {
  /** @param {string} url ws://... */
  static connect(url) {
    return new Promise((resolve, reject) => {
      http.get(url.replace('ws:', 'http:'), {
        headers: {
          Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': crypto.randomBytes(16).toString('base64'),
        },
      }).on('upgrade', (_response, socket, head) => resolve(new Debugger(socket, head))).on('error', reject);
    });
  }

  constructor(socket, head) {
    super();
    this.socket = socket;
    this.rest = head;
    this.events = [];
    this.last = 0;
    socket.on('data', (bytes) => this.take(bytes)).on('error', () => {});
  }

  /** Frames of a server are not masked; of ours none needs more than 16 bits of length. */
  take(bytes) {
    this.rest = Buffer.concat([this.rest, bytes]);
    while (this.rest.length >= 2) {
      const short = this.rest[1] & 127;
      const start = { 126: 4, 127: 10 }[short] ?? 2;
      if (this.rest.length < start) return;
      const length = { 126: () => this.rest.readUInt16BE(2), 127: () => Number(this.rest.readBigUInt64BE(2)) }[short]?.() ?? short;
      if (this.rest.length < start + length) return;
      const message = JSON.parse(this.rest.subarray(start, start + length));
      this.rest = this.rest.subarray(start + length);
      if (message.method !== undefined) this.events.push(message.method);
      this.emit(message.method ?? `answer ${message.id}`, message);
    }
  }

  async post(method) {
    const id = ++this.last;
    const text = Buffer.from(JSON.stringify({ id, method }));
    const answer = next(this, `answer ${id}`);
    this.socket.write(Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), text])); // masked with zeros
    await answer;
  }

  async event(method) {
    if (!this.events.includes(method)) await next(this, method);
  }

  close() {
    this.socket.destroy();
  }
}
