'use strict';

// Owns the proof, before app code runs, that this Node version still works as the loader needs it:
// synthetic requests go through the real dispatch path into a private http.Server, and bytes and
// order of events must be what Node gives on a TCP connection (test/selftest.test.mjs runs the same
// handler there). No socket, timer or listener stays behind.

const http = require('http');
const net = require('net');
const util = require('util');
const C = require('./constants.cjs');
const { Channel } = require('./channel.cjs');
const dispatch = require('./dispatch.cjs');
const { prefix, u24 } = require('./frame.cjs');

const TO_WORKER = C.FRAMES_TO_WORKER;
const TO_PROXY = C.FRAMES_TO_PROXY;
const { NO_BODY, KEEP_ALIVE, NEW_CONNECTION } = C.HEAD_FLAGS;

const STREAM = 7;
const KEPT = 'Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n';
const EVENTS = [
  'GET /a?b 1.1 host=h,x-one=1', 'tick', 'finish', 'res close', 'end', 'req close', 'microtask',
  'POST /p 1.1 host=h,content-length=3', 'tick', 'data abc', 'microtask', 'end', 'write true', 'finish',
  'res close', 'req close',
];
const ANSWERS = [
  frame(TO_PROXY.END, 1, `HTTP/1.1 200 OK\r\nX-A: 1\r\n${KEPT}Content-Length: 2\r\n\r\nok`),
  frame(TO_PROXY.END, 2, `HTTP/1.1 200 OK\r\n${KEPT}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`),
];

/** @returns {{step: 'self_test', ok: boolean, us: number, why?: string}} */
function run() {
  const start = process.hrtime.bigint();
  let why = '';
  try {
    const { events, bytes } = exercise();
    const at = EVENTS.findIndex((event, i) => event !== events[i]);
    if (at >= 0) why = `event ${at}: expected "${EVENTS[at]}", got "${events[at]}"`;
    else if (events.length !== EVENTS.length) why = `unexpected event "${events[EVENTS.length]}"`;
    else if (bytes !== ANSWERS.join('')) why = `unexpected bytes ${JSON.stringify(bytes)}`;
  } catch (error) {
    why = String(error?.stack ?? error);
  }
  const us = Number((process.hrtime.bigint() - start) / 1000n);
  return why === '' ? { step: 'self_test', ok: true, us } : { step: 'self_test', ok: false, us, why };
}

/**
 * The short form, for a process whose app code runs already: a request through a server would be seen by the app's diagnostics
 * and patches. It only looks whether the internals are where they are expected.
 * @returns {string} what is missing; empty if nothing is
 */
function missing() {
  const server = new http.Server();
  const symbol = (/** @type {object} */ of, /** @type {string} */ name) =>
    Object.getOwnPropertySymbols(of).some((key) => key.description === name);
  const { prototype } = http.IncomingMessage;
  const found = {
    'IncomingMessage symbol': symbol(server, 'IncomingMessage'),
    '_connectionListener': typeof http._connectionListener === 'function',
    '_addHeaderLines': typeof prototype._addHeaderLines === 'function' && typeof prototype._addHeaderLine === 'function',
    '_dump': typeof prototype._dump === 'function',
    '_emitCloseIfDrained': typeof server._emitCloseIfDrained === 'function' && typeof server._connections === 'number',
    '_unrefTimer': typeof net.Socket.prototype._unrefTimer === 'function',
    '_errnoException': typeof util._errnoException === 'function',
  };
  return Object.entries(found).filter(([, there]) => !there).map(([name]) => name).join(', ');
}

/** The app of the self-test. @param {string[]} events */
function listener(events) {
  return (/** @type {any} */ req, /** @type {any} */ res) => {
    events.push(`${req.method} ${req.url} ${req.httpVersion} ` +
      Object.entries(req.headers).map((header) => header.join('=')));
    process.nextTick(() => events.push('tick'));
    Promise.resolve().then(() => events.push('microtask'));
    res.sendDate = false;
    res.on('finish', () => events.push('finish')).on('close', () => events.push('res close'));
    req.on('close', () => events.push('req close'));
    if (req.method === 'GET') {
      req.on('end', () => events.push('end'));
      res.setHeader('X-A', '1');
      res.end('ok');
      return;
    }
    req.on('data', (/** @type {Buffer} */ chunk) => events.push(`data ${chunk}`));
    req.on('end', () => {
      events.push('end');
      events.push(`write ${res.write(Buffer.from('abc'))}`);
      res.end();
    });
  };
}

/** Two requests on one connection, without any I/O. */
function exercise() {
  /** @type {string[]} */
  const events = [];
  const server = new http.Server({ keepAliveTimeout: 5000 }, listener(events));
  const channel = new Channel('', undefined, {}, {
    ready() {}, changed() {}, begins() {}, batch() {}, virtual() { return []; }, ownsTimeouts: false,
    failed(_channel, error) { throw error; },
  });
  channel.server = server;
  channel.reading = true; // frames collect in `text`, nothing flushes
  channel.batchStart = Infinity;
  const push = (/** @type {string} */ text) => {
    channel.reader.push(channel.reader.room().latin1Write(text));
    dispatch.drain();
  };
  push(head(1, NO_BODY | KEEP_ALIVE | NEW_CONNECTION, 'GET', '/a?b', [['Host', 'h'], ['X-One', '1']]));
  push(head(2, KEEP_ALIVE, 'POST', '/p', [['Host', 'h'], ['Content-Length', '3']]) +
    frame(TO_WORKER.DATA, 2, 'abc') + frame(TO_WORKER.END, 2, ''));
  const socket = channel.streams[STREAM];
  if (socket._httpMessage !== null || channel.inFlight !== 0) throw new Error('a response did not finish');
  socket.emit('close', false); // frees Node's parser; nothing else is held
  return { events, bytes: channel.text };
}

/** @param {number} type @param {number} generation @param {string} payload */
function frame(type, generation, payload) {
  return prefix(payload.length, type, u24(STREAM), generation) + payload;
}

/** @param {number} generation @param {number} flags @param {string} method @param {string} target @param {string[][]} headers */
function head(generation, flags, method, target, headers) {
  const address = flags & NEW_CONNECTION ? '127.0.0.9' : '';
  const byte = (/** @type {number} */ value) => String.fromCharCode(value & 255);
  const u16 = (/** @type {number} */ value) => byte(value) + byte(value >> 8);
  let table = '';
  let text = method + target + address;
  for (const [name, value] of headers) {
    table += byte(0) + byte(name.length) + u16(value.length);
    text += name + value;
  }
  return frame(TO_WORKER.HEAD, generation, byte(0) + byte(flags) + byte(headers.length) + byte(method.length) +
    u16(target.length) + byte(address.length) + byte(0) + u16(0) + u16(0) + table + text);
}

module.exports = { missing, run, listener, EVENTS };
