// The same requests to the same app under Node alone and over frames: bytes and events must be equal.

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { FakeProxy, mask } from './harness.mjs';
import { RawClient, plainNode } from './raw.mjs';

const SCRIPT = path.join(import.meta.dirname, 'fixtures/scenarios.cjs');
let proxy;
let channel;
let plain;

before(async () => {
  proxy = await FakeProxy.start();
  ({ channel } = await proxy.ready(SCRIPT));
  plain = await plainNode(SCRIPT);
});
after(async () => {
  await proxy.stop();
  await plain.stop();
});

const HOST = ['Host', 'h'];
const get = (target, headers = []) => ({ target, headers: [HOST, ...headers] });
const post = (target, body, headers = []) =>
  ({ method: 'POST', target, headers: [HOST, ['Content-Length', String(Buffer.byteLength(body))], ...headers], body });

const CASES = {
  'hello, twice on one connection': [get('/'), get('/')],
  'Buffer body': [get('/buffer')],
  'empty body': [get('/empty')],
  'JSON with non-ASCII text': [get('/json')],
  'chunked, strings, Buffers, non-ASCII': [get('/chunked'), get('/')],
  'trailers of the response': [get('/trailers'), get('/')],
  'HEAD': [{ ...get('/'), method: 'HEAD' }, { ...get('/chunked'), method: 'HEAD' }, get('/')],
  '204 and 304': [get('/204'), get('/304'), get('/')],
  'Content-Length and two writes': [get('/length')],
  'latin1 header and body': [get('/latin1')],
  'hex encoding': [get('/hex')],
  'large Buffer': [get('/large'), get('/')],
  'large string, two bytes per character': [get('/large-string'), get('/')],
  'mixed strings and Buffers': [get('/mixed'), get('/')],
  'early hints and 102': [get('/hints'), get('/')],
  'Connection: close by the app': [get('/close')],
  'Connection: close by the client': [{ ...get('/', [['Connection', 'close']]), keepAlive: false }],
  'HTTP/1.0': [{ ...get('/'), http10: true, keepAlive: false }],
  'HTTP/1.0 with keep-alive': [{ ...get('/', [['Connection', 'keep-alive']]), http10: true }],
  'HTTP/1.0, unknown length': [{ ...get('/chunked'), http10: true, keepAlive: false }],
  'no Host': [{ target: '/', headers: [] }],
  'writeHead with an array': [get('/raw-array')],
  'flushHeaders': [get('/flush'), get('/')],
  'write callbacks': [get('/callbacks'), get('/')],
  'write after end': [get('/after-end'), get('/')],
  'order of events, ticks and microtasks': [get('/order'), get('/')],
  'cork and uncork': [get('/cork'), get('/')],
  'drain': [get('/drain'), get('/')],
  'the socket': [get('/socket')],
  'socket.setTimeout': [get('/socket-timeout'), get('/')],
  'res.setTimeout': [get('/res-timeout'), get('/')],
  'stream.finished': [get('/finished'), get('/')],
  'body': [post('/body', 'hello body'), get('/')],
  'empty body with Content-Length: 0': [{ ...get('/body', [['Content-Length', '0']]), method: 'POST' }, get('/')],
  'body, async iterator': [post('/body-async', 'x'.repeat(1000)), get('/')],
  'body that nobody reads': [post('/unread', 'x'.repeat(1000)), get('/')],
  'body piped back': [post('/pipe', 'some bytes'), get('/')],
  'large body': [post('/body-async', 'y'.repeat(200000)), get('/')],
  'chunked body with trailers': [
    { method: 'POST', target: '/body', headers: [HOST, ['Transfer-Encoding', 'chunked']], body: 'chunks', trailers: 'X-T\0one\0x-u\0two\0' },
    get('/')],
  'Expect: 100-continue': [post('/body', 'expected', [['Expect', '100-continue']]), get('/')],
  'unknown expectation': [get('/', [['Expect', 'wonders']])],
  'Upgrade without a listener': [get('/echo-head', [['Connection', 'Upgrade'], ['Upgrade', 'websocket']])],
  'AsyncLocalStorage': [get('/als', [['X-Id', 'one']]), get('/als', [['X-Id', 'two']])],
  'AsyncLocalStorage and a body': [post('/als-run', 'abc', [['X-Id', 'three']])],
  'rejected promise': [get('/reject'), get('/')],
  'not found': [get('/nowhere')],
  'other methods': [{ ...get('/echo-head'), method: 'DELETE' }, { ...get('/echo-head'), method: 'PROPFIND' }, { ...get('/echo-head'), method: 'OPTIONS' }],
  'a long target': [get(`/echo-head?${'a'.repeat(3000)}`)],
};

const HEADERS = {
  'browser': [['Host', 'h'], ['Connection', 'keep-alive'], ['User-Agent', 'Mozilla/5.0'], ['Accept', '*/*'], ['Cookie', 'a=1; b=2'],
    ['Accept-Encoding', 'gzip'], ['X-Mine', 'v'], ['Referer', 'r'], ['If-None-Match', 'e']],
  'lower case': [['host', 'h'], ['user-agent', 'x'], ['accept', 'y'], ['cookie', 'z'], ['x-y', 'z']],
  'odd case': [['HOST', 'h'], ['uSeR-aGeNt', 'x'], ['COOKIE', 'z']],
  'repeated, joined': [['Host', 'h'], ['Accept', 'a'], ['Accept', 'b'], ['accept', 'c'], ['X-Multi', '1'], ['x-multi', '2']],
  'repeated, first wins': [['Host', 'h'], ['User-Agent', 'a'], ['User-Agent', 'b'], ['Authorization', 'a'], ['authorization', 'b'],
    ['Referer', 'a'], ['Referer', 'b'], ['Content-Type', 'a'], ['Content-Type', 'b']],
  'repeated cookies': [['Host', 'h'], ['Cookie', 'a=1'], ['cookie', 'b=2']],
  'set-cookie': [['Host', 'h'], ['Set-Cookie', 'a=1'], ['Set-Cookie', 'b=2'], ['Accept', 'x']],
  'set-cookie once': [['Host', 'h'], ['Accept', 'x'], ['set-cookie', 'a=1'], ['User-Agent', 'y']],
  'names of Object.prototype': [['Host', 'h'], ['constructor', 'a'], ['__proto__', 'b'], ['toString', 'c'], ['Accept', 'x']],
  'empty values': [['Host', 'h'], ['Accept', ''], ['X-Empty', ''], ['Accept', 'x'], ['Cookie', ''], ['Cookie', 'a']],
  'latin1 values': [['Host', 'h'], ['X-Name', 'Zoë'], ['Cookie', 'ü']],
  'many': [['Host', 'h'], ...Array.from({ length: 120 }, (_, i) => [`X-${i}`, String(i)])],
};
for (const [name, headers] of Object.entries(HEADERS)) CASES[`headers: ${name}`] = [{ target: '/echo-head', headers }];

for (const [name, requests] of Object.entries(CASES)) {
  test(name, async () => {
    const framed = await conversation(channel.client(), requests);
    const raw = await conversation(new RawClient(plain.port), requests);
    assert.deepEqual(framed, raw);
  });
  if (!name.startsWith('headers')) continue;
  test(`${name}, names as text`, async () => {
    const framed = await conversation(channel.client(), requests.map((request) => ({ ...request, numbers: false })));
    const raw = await conversation(new RawClient(plain.port), requests);
    assert.deepEqual(framed, raw);
  });
}

/** The answers, and what the app noted meanwhile. */
async function conversation(client, requests) {
  const texts = [];
  for (const request of requests) texts.push(mask((await client.request(request)).text));
  const eventsClient = client instanceof RawClient ? new RawClient(plain.port) : channel.client();
  const events = await eventsClient.request({ target: '/events', headers: [HOST] });
  client.close();
  eventsClient.close();
  return { texts, events: JSON.parse(events.text.slice(events.text.indexOf('\r\n\r\n') + 4)) };
}
