// Owns the other side of every comparison: the same app under Node alone, spoken to over TCP with raw
// bytes.
// Must never know: frames.

import { spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import net from 'node:net';
import path from 'node:path';
import { after } from 'node:test';
import { NODE, next } from './harness.mjs';

/** A test that fails does not stop what it started, and a test file ends when its children have. */
const children = new Set();
// `hostler exec` ends its command when it is asked to; killed, it could not.
after(() => { for (const child of children) child.kill(child.spawnfile === NODE ? 'SIGKILL' : 'SIGTERM'); });

/** Starts `script`, which prints `port N` when it listens. */
export async function plainNode(script, { args = [], nodeArgs = [], env = {}, stdin = 'ignore', before = [] } = {}) {
  const [program, ...words] = [...before, NODE, ...nodeArgs, script, ...args];
  const child = spawn(program, words, {
    cwd: path.dirname(script), stdio: [stdin, 'pipe', 'pipe'], env: { ...process.env, NODE_TEST_CONTEXT: undefined, ...env },
  });
  children.add(child);
  const app = { child, stdout: '', stderr: '' };
  const changed = new EventEmitter();
  child.stdout.setEncoding('utf8').on('data', (text) => { app.stdout += text; changed.emit('change'); });
  child.stderr.setEncoding('utf8').on('data', (text) => { app.stderr += text; });
  app.exited = once(child, 'close').then(([code, signal]) => {
    app.code = code;
    changed.emit('change');
    return { code, signal };
  });
  app.line = async (text) => {
    while (!app.stdout.includes(text)) {
      if (app.code !== undefined) throw new Error(`ended with ${app.code}: ${app.stderr}`);
      await next(changed, 'change', `"${text}" in ${app.stdout}${app.stderr}`);
    }
    return app.stdout;
  };
  await app.line('port ');
  const [, where] = /port (\S+)/.exec(app.stdout);
  app.port = Number.isNaN(Number(where)) ? where : Number(where);
  app.stop = async () => {
    child.kill('SIGKILL');
    await app.exited;
  };
  return app;
}

/** A raw HTTP/1.1 connection. */
export class RawClient {
  /** @param {number | string} address port or path @param {{window?: boolean}} [options] `window: false`: reads nothing */
  constructor(address, { window = true, halfOpen = false } = {}) {
    const where = typeof address === 'number' ? { port: address, host: '127.0.0.1' } : { path: address };
    this.socket = net.connect({ ...where, allowHalfOpen: halfOpen });
    this.chunks = [];
    this.total = 0;
    this.ended = false;
    this.state = 'open';
    this.changed = new EventEmitter();
    this.connected = once(this.socket, 'connect');
    this.connected.catch(() => {});
    this.socket.on('data', (chunk) => {
      this.chunks.push(chunk);
      this.total += chunk.length;
      this.changed.emit('change');
    });
    if (!window) this.socket.pause();
    const end = () => {
      this.ended = true;
      if (this.state === 'open') this.state = 'closed';
      this.changed.emit('change');
    };
    this.socket.on('end', end).on('error', end).on('close', end);
  }

  get bytes() {
    if (this.chunks.length > 1) this.chunks = [Buffer.concat(this.chunks)];
    return this.chunks[0] ?? Buffer.alloc(0);
  }

  /** The same request description as `Client` of harness.mjs takes. */
  encode({ method = 'GET', target = '/', headers = [['Host', 'h']], body, end = true, http10 = false, trailers = '' }) {
    const lines = [`${method} ${target} HTTP/1.${http10 ? 0 : 1}`, ...headers.map(([name, value]) => `${name}: ${value}`)];
    this.chunked = headers.some(([name]) => name.toLowerCase() === 'transfer-encoding');
    let text = `${lines.join('\r\n')}\r\n\r\n`;
    if (body !== undefined) {
      text += this.piece(Buffer.from(body).toString('latin1'));
      if (end) text += this.lastPiece(trailers);
    }
    return Buffer.from(text, 'latin1');
  }

  piece(latin1) {
    return !this.chunked || latin1 === '' ? latin1 : `${latin1.length.toString(16)}\r\n${latin1}\r\n`;
  }

  lastPiece(trailers) {
    if (!this.chunked) return '';
    const fields = trailers.split('\0').slice(0, -1);
    let lines = '';
    for (let i = 0; i < fields.length; i += 2) lines += `${fields[i]}: ${fields[i + 1]}\r\n`;
    return `0\r\n${lines}\r\n`;
  }

  send(request = {}) {
    this.method = request.method;
    this.socket.write(this.encode(request));
    return this;
  }

  /** More of the request's body. @param {string} latin1 */
  body(latin1) {
    this.socket.write(this.piece(latin1), 'latin1');
    return this;
  }

  endBody(trailers = '') {
    this.socket.write(this.lastPiece(trailers), 'latin1');
    return this;
  }

  async request(request = {}) {
    return this.send(request).answer(request.method);
  }

  take(length = this.bytes.length) {
    const text = this.bytes.toString('latin1', 0, length);
    this.chunks = [this.bytes.subarray(length)];
    return { text };
  }

  /** All bytes up to the end of the final response. */
  async answer(method = this.method) {
    const end = () => messageEnd(this.bytes.toString('latin1'), method, this.ended);
    await this.settle(() => this.ended || end() >= 0, 'the answer');
    return this.take(end() < 0 ? undefined : end());
  }

  /** @param {number} bytes of all answers so far */
  async received(bytes) {
    await this.settle(() => this.ended || this.total >= bytes, `${bytes} bytes`);
  }

  /** Part of an answer, up to and with `text`. */
  async upTo(text) {
    const at = () => this.bytes.toString('latin1').indexOf(text);
    await this.settle(() => this.ended || at() >= 0, text);
    return this.take(at() < 0 ? undefined : at() + text.length).text;
  }

  /** All bytes until the server closes. */
  async closed() {
    await this.settle(() => this.ended, 'the end of the connection');
    return this.bytes.toString('latin1');
  }

  async settle(test, what) {
    const signal = AbortSignal.timeout(8000);
    while (!test()) {
      await once(this.changed, 'change', { signal }).catch((error) => {
        throw new Error(`waited too long for ${what} after ${JSON.stringify(this.bytes.toString('latin1').slice(-500))}`, { cause: error });
      });
    }
  }

  readAll() {
    this.socket.resume();
  }

  /** FIN. */
  half() {
    this.socket.end();
  }

  /** RST. */
  reset() {
    this.state = 'left';
    if (this.socket.remoteAddress === undefined) this.socket.destroy(); // a unix socket with unread bytes resets by itself
    else this.socket.resetAndDestroy();
  }

  drop() {
    this.socket.destroy();
  }

  close() {
    this.socket.destroy();
  }
}

/** Where the response ends in `text`; -1 while it has not. */
function messageEnd(text, method, ended) {
  let from = 0;
  while (true) {
    const headEnd = text.indexOf('\r\n\r\n', from);
    if (headEnd < 0) return -1;
    const head = text.slice(from, headEnd).toLowerCase();
    const status = Number(head.slice(9, 12));
    const body = headEnd + 4;
    if (status < 200) {
      from = body;
      continue;
    }
    if (method === 'HEAD' || status === 204 || status === 304) return body;
    if (head.includes('\r\ntransfer-encoding: chunked')) {
      let at = body;
      while (true) {
        const line = text.indexOf('\r\n', at);
        if (line < 0) return -1;
        const size = parseInt(text.slice(at, line), 16);
        if (Number.isNaN(size)) return -1;
        if (size === 0) {
          const end = text.indexOf('\r\n\r\n', line);
          return end < 0 ? -1 : end + 4;
        }
        at = line + 2 + size + 2;
        if (at > text.length) return -1;
      }
    }
    const length = /\r\ncontent-length: (\d+)/.exec(head);
    if (length) return text.length >= body + Number(length[1]) ? body + Number(length[1]) : -1;
    return ended ? text.length : -1;
  }
}
