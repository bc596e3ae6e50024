// Owns what the tests share: a proxy in JavaScript that speaks frames over unix sockets, and worker
// child processes started as the supervisor starts them.
// Must never know: what a single test wants to prove.

import { spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
export const C = require('../js/constants.cjs');
const HERE = path.dirname(fileURLToPath(import.meta.url));
const PRELOAD = path.join(HERE, '../js/preload.cjs');
/** Another Node version can be tested with HOSTLER_TEST_NODE=/path/to/node. */
export const NODE = process.env.HOSTLER_TEST_NODE ?? process.execPath;
const names = Object.fromEntries(Object.entries(C.FRAMES_TO_PROXY).map(([name, type]) => [type, name]));

/** Waits for an event, but not for ever: a test that hangs must say where. */
export function next(emitter, event, what = event) {
  return once(emitter, event, { signal: AbortSignal.timeout(10000) }).catch((error) => {
    throw new Error(`waited too long for ${what}`, { cause: error });
  });
}

/** Encodes one frame to the worker. */
export function frame(type, stream, generation, payload = Buffer.alloc(0)) {
  const bytes = Buffer.alloc(8 + payload.length);
  bytes.writeUIntLE(payload.length, 0, 3);
  bytes[3] = C.FRAMES_TO_WORKER[type];
  bytes.writeUIntLE(stream, 4, 3);
  bytes[7] = generation;
  Buffer.from(payload).copy(bytes, 8);
  return bytes;
}

/** Payload of a HEAD. `headers` is a list of pairs. */
export function headPayload({ method = 'GET', target = '/', flags = [], headers = [], client, listener = 0, numbers = true }) {
  const latin1 = (text) => Buffer.from(text, 'latin1');
  const number = numbers ? Math.max(0, C.METHODS.indexOf(method)) : 0;
  const address = client?.address ?? '';
  const fixed = Buffer.alloc(12 + 4 * headers.length);
  fixed[0] = number;
  fixed[1] = flags.reduce((bits, name) => bits | C.HEAD_FLAGS[name], 0);
  fixed[2] = headers.length;
  fixed[3] = number === 0 ? method.length : 0;
  fixed.writeUInt16LE(latin1(target).length, 4);
  fixed[6] = address.length;
  fixed[7] = listener;
  fixed.writeUInt16LE(client?.port ?? 0, 8);
  const texts = [number === 0 ? method : '', target, address];
  headers.forEach(([name, value], i) => {
    const nameNumber = numbers ? Math.max(0, C.NAMES.indexOf(name)) : 0;
    fixed[12 + 4 * i] = nameNumber;
    fixed[13 + 4 * i] = nameNumber === 0 ? name.length : 0;
    fixed.writeUInt16LE(latin1(value).length, 14 + 4 * i);
    texts.push(nameNumber === 0 ? name : '', value);
  });
  return Buffer.concat([fixed, latin1(texts.join(''))]);
}

/** Splits bytes of the worker into frames. */
export class FrameParser {
  constructor(onFrame) {
    this.rest = Buffer.alloc(0);
    this.onFrame = onFrame;
  }

  push(bytes) {
    let rest = Buffer.concat([this.rest, bytes]);
    while (rest.length >= 8 && rest.length >= 8 + rest.readUIntLE(0, 3)) {
      const length = rest.readUIntLE(0, 3);
      this.onFrame({
        type: names[rest[3]], stream: rest.readUIntLE(4, 3), generation: rest[7], payload: rest.subarray(8, 8 + length),
      });
      rest = rest.subarray(8 + length);
    }
    this.rest = rest;
  }
}

/** One channel of one worker, as the proxy sees it. Emits 'frame' and 'close'. */
export class ProxyChannel extends EventEmitter {
  constructor(proxy, socket) {
    super();
    this.setMaxListeners(0);
    this.proxy = proxy;
    this.socket = socket;
    this.frames = [];
    this.nextStream = 1;
    this.generations = new Map();
    const parser = new FrameParser((one) => {
      this.frames.push(one);
      if (one.type === 'HELLO') this.hello = JSON.parse(one.payload);
      this.emit('frame', one);
      this.emit(`frame ${one.stream}`, one);
    });
    socket.on('data', (bytes) => parser.push(bytes));
    socket.on('error', () => {});
    socket.on('close', () => this.emit('close'));
  }

  write(...frames) {
    this.socket.write(Buffer.concat(frames));
  }

  sayHello(extra = {}) {
    this.write(frame('HELLO', 0, 0, JSON.stringify({
      protocol: C.PROTOCOL, shard: 0, shards: this.proxy.shards, window: C.WINDOW_BYTES,
      listeners: [{ address: '127.0.0.1', port: 3000, family: 'IPv4' }], ...extra,
    })));
  }

  /** The first frame (from now on, or already here) that `test` accepts. */
  async until(test, from = 0) {
    const found = this.frames.slice(from).find(test);
    if (found) return found;
    return new Promise((resolve, reject) => {
      const settle = (settled, value) => {
        clearTimeout(timer);
        this.off('frame', look);
        this.off('close', closed);
        settled(value);
      };
      const look = (one) => {
        try {
          if (test(one)) settle(resolve, one);
        } catch (error) {
          settle(reject, error);
        }
      };
      const closed = () => settle(reject, new Error('the channel closed'));
      const timer = setTimeout(() => settle(reject, new Error(`waited too long for ${test}`)), 10000);
      this.on('frame', look);
      this.on('close', closed);
    });
  }

  /** A new client connection. */
  client(options = {}) {
    return new Client(this, this.nextStream++, options);
  }
}

/** What llhttp's `shouldKeepAlive` would be. */
function keepsAlive(headers, http10) {
  const options = headers.filter(([name]) => name.toLowerCase() === 'connection').map(([, value]) => value.toLowerCase()).join();
  return http10 ? /\bkeep-alive\b/.test(options) : !/\bclose\b/.test(options);
}

/** One client connection: requests, one after the other, and what comes back. */
export class Client {
  constructor(channel, stream, { address = '127.0.0.9', port = 4711 } = {}) {
    this.channel = channel;
    this.stream = stream;
    this.address = address;
    this.port = port;
    this.generation = channel.generations.get(stream) ?? 0;
    this.fresh = true;
    this.seen = channel.frames.length;
  }

  /** The frames of a request; `send` writes them. */
  encode({ method = 'GET', target = '/', headers = [['Host', 'h']], body, end = true, keepAlive, http10 = false, trailers = '', numbers = true } = {}) {
    this.generation = (this.generation + 1) & 255;
    this.channel.generations.set(this.stream, this.generation);
    const flags = [];
    if (body === undefined) flags.push('NO_BODY');
    if (keepAlive ?? keepsAlive(headers, http10)) flags.push('KEEP_ALIVE');
    if (http10) flags.push('HTTP_1_0');
    let client;
    if (this.fresh) {
      flags.push('NEW_CONNECTION');
      client = { address: this.address, port: this.port };
      this.fresh = false;
    }
    const frames = [this.frame('HEAD', headPayload({ method, target, flags, headers, client, numbers }))];
    if (body !== undefined) {
      if (body.length > 0) frames.push(this.frame('DATA', Buffer.from(body)));
      if (end) frames.push(this.frame('END', Buffer.from(trailers, 'latin1')));
    }
    return frames;
  }

  frame(type, payload) {
    return frame(type, this.stream, this.generation, payload);
  }

  write(...frames) {
    this.channel.write(...frames);
  }

  send(request = {}) {
    this.seen = this.channel.frames.length;
    this.write(...this.encode(request));
    return this;
  }

  /** All bytes of the answer, up to its END, END_CLOSE or RESET. */
  async answer({ window = true } = {}) {
    const chunks = [];
    let credited = 0;
    const mine = (one) => one.stream === this.stream && one.generation === this.generation;
    const take = (one) => {
      if (!mine(one) || one.type === 'WINDOW') return false;
      chunks.push(one.payload);
      credited += one.payload.length;
      if (one.type === 'DATA' && window && credited >= C.WINDOW_BYTES / 4) {
        const grant = Buffer.alloc(4);
        grant.writeUInt32LE(credited);
        credited = 0;
        this.write(this.frame('WINDOW', grant));
      }
      return one.type !== 'DATA';
    };
    const last = await this.channel.until(take, this.seen);
    this.seen = this.channel.frames.indexOf(last) + 1;
    return { end: last.type, text: Buffer.concat(chunks).toString('latin1'), bytes: Buffer.concat(chunks) };
  }

  async request(request) {
    return this.send(request).answer();
  }

  close() {
    this.write(this.frame('CLOSE'));
  }
}

export class FakeProxy extends EventEmitter {
  static async start({ shards = 1, hello = {}, auto = true } = {}) {
    const proxy = new FakeProxy();
    proxy.shards = shards;
    proxy.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'hostler-test-'));
    proxy.paths = [];
    proxy.channels = [];
    proxy.servers = [];
    proxy.workers = [];
    for (let shard = 0; shard < shards; shard++) {
      const file = path.join(proxy.folder, `shard.${shard}.sock`);
      proxy.paths.push(file);
      const server = net.createServer((socket) => {
        const channel = new ProxyChannel(proxy, socket);
        channel.shard = shard;
        proxy.channels.push(channel);
        channel.on('frame', (one) => {
          if (one.type === 'HELLO' && auto) channel.sayHello({ shard, ...hello });
        });
        proxy.emit('channel', channel);
      });
      server.listen(file);
      await once(server, 'listening');
      proxy.servers.push(server);
    }
    return proxy;
  }

  /** Starts `node --require preload SCRIPT`, as the supervisor does. */
  worker(script, { args = [], nodeArgs = [], env = {}, settings = {}, stdin = 'ignore' } = {}) {
    const plain = path.join(this.folder, `plain.${this.workers.length}.sock`);
    const worker = this.start(['--require', PRELOAD, ...nodeArgs, script, ...args], script, stdin, {
      ...env,
      HOSTLER_WORKER: JSON.stringify({
        protocol: C.PROTOCOL, parent_pid: process.pid, worker: this.workers.length, app: 'test', slot: 0, transport: 'frames',
        channels: this.paths, plain, report_fd: 3, ...settings,
      }),
    });
    worker.plain = plain;
    return worker;
  }

  /** Starts `node SCRIPT` in the environment that `hostler exec` makes. */
  exec(script, { args = [], nodeArgs = [], env = {}, settings = {}, nodeOptions = '' } = {}) {
    return this.start([...nodeArgs, script, ...args], script, 'ignore', {
      ...env,
      NODE_OPTIONS: `--require ${PRELOAD} ${nodeOptions}`.trim(),
      HOSTLER_EXEC: JSON.stringify({ protocol: C.PROTOCOL, channel: this.paths[0], ...settings }),
    });
  }

  /** @private */
  start(args, script, stdin, env) {
    const worker = new EventEmitter();
    worker.reports = [];
    worker.stderr = '';
    worker.stdout = '';
    worker.child = spawn(NODE, args, {
      cwd: path.dirname(script),
      stdio: [stdin, 'pipe', 'pipe', 'pipe'],
      env: { ...process.env, NODE_TEST_CONTEXT: undefined, ...env },
    });
    this.workers.push(worker);
    worker.child.stdout.setEncoding('utf8').on('data', (text) => { worker.stdout += text; worker.emit('stdout'); });
    worker.child.stderr.setEncoding('utf8').on('data', (text) => { worker.stderr += text; worker.emit('stderr'); });
    let rest = '';
    worker.child.stdio[3].setEncoding('utf8').on('data', (text) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop();
      for (const line of lines) {
        worker.reports.push(JSON.parse(line));
        worker.emit('report');
      }
    });
    worker.exited = once(worker.child, 'close').then(([code, signal]) => {
      worker.code = code;
      worker.signal = signal;
      worker.emit('report');
      worker.emit('stdout');
      return { code, signal };
    });
    worker.report = async (step) => {
      while (true) {
        const found = worker.reports.find((line) => line.step === step);
        if (found) return found;
        if (worker.code !== undefined || worker.signal) throw new Error(`worker ended (${worker.code}): ${worker.stderr}`);
        await next(worker, 'report', `report ${step}`);
      }
    };
    worker.line = async (text) => {
      while (!worker.stdout.includes(text)) {
        if (worker.code !== undefined) throw new Error(`worker ended: ${worker.stdout} ${worker.stderr}`);
        await next(worker, 'stdout', `"${text}" in ${worker.stdout}`);
      }
      return worker.stdout;
    };
    return worker;
  }

  /** A worker that is ready, and the channel of shard 0 to it. */
  async ready(script, options) {
    const worker = this.worker(script, options);
    await worker.report('ready');
    const channel = this.channels.filter((one) => one.hello?.pid === worker.child.pid).at(-1);
    if (channel) await channel.until((one) => one.type === 'LISTEN');
    return { worker, channel };
  }

  async stop() {
    for (const worker of this.workers) {
      worker.child.kill('SIGKILL');
      await worker.exited;
    }
    for (const server of this.servers) server.close();
    for (const channel of this.channels) channel.socket.destroy();
    fs.rmSync(this.folder, { recursive: true, force: true });
  }
}

export const mask = (text) => text.replace(/Date: [^\r\n]+/g, 'Date: X');
