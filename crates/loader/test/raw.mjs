// Owns the other side of every comparison: the same app under Node alone, spoken to over TCP with raw
// bytes.
// Must never know: frames.

import { spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import net from 'node:net';
import path from 'node:path';
import { NODE } from './harness.mjs';

/** Starts `script`, which prints `port N` when it listens. */
export async function plainNode(script, { nodeArgs = [], env = {} } = {}) {
  const child = spawn(NODE, [...nodeArgs, script], {
    cwd: path.dirname(script), stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, NODE_TEST_CONTEXT: undefined, ...env },
  });
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
      await once(changed, 'change');
    }
    return app.stdout;
  };
  await app.line('port ');
  app.port = Number(/port (\d+)/.exec(app.stdout)[1]);
  app.stop = async () => {
    child.kill('SIGKILL');
    await app.exited;
  };
  return app;
}

/** A raw HTTP/1.1 connection. */
export class RawClient {
  /** @param {number | string} address port or path */
  constructor(address) {
    this.socket = typeof address === 'number' ? net.connect(address, '127.0.0.1') : net.connect(address);
    this.bytes = Buffer.alloc(0);
    this.ended = false;
    this.changed = new EventEmitter();
    this.socket.on('data', (chunk) => {
      this.bytes = Buffer.concat([this.bytes, chunk]);
      this.changed.emit('change');
    });
    const end = () => { this.ended = true; this.changed.emit('change'); };
    this.socket.on('end', end).on('error', end).on('close', end);
  }

  /** The same request description as `Client` of harness.mjs takes. */
  encode({ method = 'GET', target = '/', headers = [['Host', 'h']], body, http10 = false, trailers = '' }) {
    const lines = [`${method} ${target} HTTP/1.${http10 ? 0 : 1}`, ...headers.map(([name, value]) => `${name}: ${value}`)];
    let text = lines.join('\r\n') + '\r\n\r\n';
    if (body !== undefined) {
      const chunked = headers.some(([name]) => name.toLowerCase() === 'transfer-encoding');
      const latin1 = Buffer.from(body).toString('latin1');
      if (!chunked) {
        text += latin1;
      } else {
        const fields = trailers.split('\0').slice(0, -1);
        let lines = '';
        for (let i = 0; i < fields.length; i += 2) lines += `${fields[i]}: ${fields[i + 1]}\r\n`;
        text += (latin1 === '' ? '' : `${latin1.length.toString(16)}\r\n${latin1}\r\n`) + `0\r\n${lines}\r\n`;
      }
    }
    return Buffer.from(text, 'latin1');
  }

  async request(request) {
    this.socket.write(this.encode(request));
    return this.answer(request.method);
  }

  /** All bytes up to the end of the final response. */
  async answer(method = 'GET') {
    while (true) {
      const end = messageEnd(this.bytes.toString('latin1'), method, this.ended);
      if (end >= 0) {
        const text = this.bytes.toString('latin1', 0, end);
        this.bytes = this.bytes.subarray(end);
        return { text };
      }
      if (this.ended) return { text: this.bytes.toString('latin1') };
      await once(this.changed, 'change');
    }
  }

  async closed() {
    while (!this.ended) await once(this.changed, 'change');
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
