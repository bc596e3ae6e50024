// `hostler exec`: connections that go back to Node in the middle of an exchange. The same bytes go to Node alone; what the
// client gets, over frames and behind them, must be the same text, and the app must note the same.

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { GET, converse } from './conversation.mjs';
import { Front } from './front.mjs';
import { mask } from './harness.mjs';
import { plainNode } from './raw.mjs';

const SCRIPT = path.join(import.meta.dirname, 'fixtures/middle.cjs');
const HOST = ['Host', 'h'];
let front;
let ours;
let theirs;
before(async () => {
  front = await Front.start();
  ours = await front.app(SCRIPT);
  theirs = await plainNode(SCRIPT);
});
after(async () => {
  await theirs.stop();
  await front.stop();
});

const bodyOf = (text) => text.slice(text.indexOf('\r\n\r\n') + 4);
async function ask(port, target) {
  const talk = await converse(port, { pieces: [GET(target, 'Connection: close\r\n')] });
  await talk.closed;
  return bodyOf(talk.text());
}

/** Notes until one of them is `last`; those about the connections that asked are left out. */
async function notesUntil(port, last) {
  const all = [];
  while (!all.some((one) => one.startsWith(last))) all.push(...JSON.parse(await ask(port, '/notes')));
  const closes = all.filter((one) => one === 'close false').length;
  return { all: all.filter((one) => !/notes|release|close false/.test(one)), closes: closes > 0 };
}

const chunked = [HOST, ['Transfer-Encoding', 'chunked']];
const length = (bytes) => [HOST, ['Content-Length', String(bytes)]];
const text = ({ method = 'GET', target, headers = [HOST] }) =>
  `${method} ${target} HTTP/1.1\r\n${headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`;

/**
 * `request` goes over frames with `data` of its body; then the connection goes back with `read` (and `lead`), and `more` comes over it.
 * `wire` is what Node alone is sent for `data` and `read`; it gets `more` when it has `answered`. `worker`: it asks by itself. `then` is asked of the app on another connection.
 */
const CASES = {
  'nothing more': { request: { target: '/hold' }, then: '/release', until: /held$/, last: '/hold res close' },
  'requests before their turn': { request: { target: '/hold' }, read: GET('/echo') + GET('/hold'), then: '/release', until: /held.*\[\].*held$/s, last: '/hold res close' },
  'garbage before its turn': { request: { target: '/hold' }, read: 'NONSENSE\r\n\r\n', closes: true, last: 'close' },
  'a response that has begun': { request: { target: '/part' }, read: GET('/echo'), then: '/release', until: /one,.*held.*\[\]/s, last: '/echo res close' },
  'a corked response': { request: { target: '/cork' }, read: GET('/echo'), then: '/release', until: /\[\]/, last: '/echo res close' },
  'a response that waits for drain': { request: { target: '/drain' }, until: /end\r\n0\r\n\r\n$/, last: '/drain res close' },
  'chunks, none yet': { request: { method: 'POST', target: '/echo', headers: chunked, body: '', end: false }, lead: '1\r\nX\r\n', more: '3\r\nabc\r\n0\r\nA: b\r\n\r\n', until: /\[abc\] {"a":"b"}/, last: '/echo res close' },
  'chunks, in the middle of one': { request: { method: 'POST', target: '/echo', headers: chunked, body: 'hel', end: false }, wire: '5\r\nhel', lead: '1\r\nX\r\n2\r\n', read: 'l', more: 'o\r\n0\r\n\r\n', until: /\[hello\]/, last: '/echo res close' },
  'chunks, behind one': { request: { method: 'POST', target: '/echo', headers: chunked, body: 'hello', end: false }, wire: '5\r\nhello', lead: '1\r\nX', read: '\r\n', more: '0\r\n\r\n', until: /\[hello\]/, last: '/echo res close' },
  'chunks, the last line': { request: { method: 'POST', target: '/echo', headers: chunked, body: 'hello', end: false }, wire: '5\r\nhello\r\n0\r\n', lead: '1\r\nX\r\n0\r\n', read: '', more: '\r\n', until: /\[hello\]/, last: '/echo res close' },
  'chunks that break': { request: { method: 'POST', target: '/echo', headers: chunked, body: 'hello', end: false }, wire: '5\r\nhello\r\n', lead: '1\r\nX\r\n', read: 'nonsense\r\n', closes: true, last: 'close' },
  'a length': { request: { method: 'POST', target: '/echo', headers: length(10), body: 'hello', end: false }, wire: 'hello', read: 'wor', more: 'ld', until: /\[helloworld\]/, last: '/echo res close' },
  'a length, nothing yet': { request: { method: 'POST', target: '/echo', headers: length(5), body: '', end: false }, more: 'hello', until: /\[hello\]/, last: '/echo res close' },
  'a body, then the next request': { request: { method: 'POST', target: '/echo', headers: length(5), body: 'he', end: false }, wire: 'he', read: `llo${GET('/echo')}`, until: /\[hello\].*\[\]/s, last: '/echo res close' },
  'a body that is not read': { request: { method: 'POST', target: '/paused', headers: length(300_000), body: 'x'.repeat(100_000), end: false }, wire: 'x'.repeat(100_000), read: 'x'.repeat(1000), more: 'x'.repeat(199_000), then: '/release', until: /300000/, last: '/paused res close' },
  'the client leaves in a body': { request: { method: 'POST', target: '/echo', headers: length(5), body: 'he', end: false }, wire: 'he', more: null, closes: true, last: 'close' },
  'the app ends the socket meanwhile': { request: { target: '/end-socket' }, then: '/release', thenFirst: true, closes: true, last: 'close' },
  'the app destroys the socket': { request: { target: '/destroy' }, then: '/release', closes: true, last: 'close' },
  'a time-out': { request: { target: '/timeout' }, closes: true, last: 'close' },
  'the app reads behind its answer': { request: { target: '/raw' }, worker: true, more: 'hello', answered: /raw$/, closes: true, last: 'close' },
  'the app reads in the body': { request: { method: 'POST', target: '/raw-body', headers: chunked, body: '', end: false }, worker: true, lead: '1\r\nX\r\n', more: '3\r\nabc\r\n', answered: /\r\n\r\n$/, until: /seen/, last: '/raw-body finish' },
};

for (const [name, { request, wire = '', read = '', lead = '', more = '', then, thenFirst = false, until, closes = false, last, worker = false, answered }] of Object.entries(CASES)) {
  test(name, async () => {
    // Over frames, then back.
    const offered = front.offer();
    const back = await converse(ours.port, { pieces: [] });
    const offer = await offered;
    const client = offer.open(request);
    await (worker ? offer.held() : offer.hold());
    let asked = null;
    if (thenFirst) asked = await ask(ours.port, then);
    offer.giveBack(read, lead);
    if (more === null) back.socket.end();
    else back.socket.write(more, 'latin1');
    const alone = await converse(theirs.port, { pieces: [text(request) + wire + read] });
    if (answered) await alone.until(answered);
    if (more === null) alone.socket.end();
    else alone.socket.write(more, 'latin1');
    if (then) assert.deepEqual([asked ?? await ask(ours.port, then)], [await ask(theirs.port, then)]);
    if (until) await Promise.all([back.until(until, () => framed()), alone.until(until)]);
    if (closes) await Promise.all([back.closed, alone.closed]);
    else await Promise.all([back.end(), alone.end()]);
    /** What came over frames. */
    function framed() {
      return Buffer.concat(client.channel.frames
        .filter((one) => one.stream === client.stream && ['DATA', 'END', 'END_CLOSE'].includes(one.type)).map((one) => one.payload)).toString('latin1');
    }
    assert.equal(mask(framed()) + back.text(), alone.text());
    const held = client.channel.frames.findIndex((one) => one.type === 'HELD' && one.stream === client.stream);
    assert.ok(client.channel.frames.slice(held + 1).every((one) => one.stream !== client.stream || one.type === 'RESET' || one.type === 'HELD'), 'nothing after HELD');
    assert.deepEqual(await notesUntil(ours.port, last), await notesUntil(theirs.port, last));
  });
}

test('HOLD for a stream that the app destroyed', async () => {
  const { offer, socket, closed } = await front.connect(ours.port);
  const client = offer.open({ target: '/destroy' });
  await ask(ours.port, '/release');
  assert.equal((await client.answer()).end, 'RESET');
  client.write(client.frame('HOLD'));
  await closed;
  assert.equal(await ask(ours.port, '/echo'), '[] {}');
  socket.destroy();
});

test('a HEAD that crosses HELD is answered with HELD again', async () => {
  const { offer, until, socket } = await front.connect(ours.port);
  const client = offer.open({ target: '/raw' });
  client.write(...client.encode({ target: '/echo' }));
  const { generation } = client;
  await offer.channel.until((one) => one.type === 'HELD' && one.stream === client.stream && one.generation === generation);
  offer.giveBack();
  await until(/\[\] {}$/);
  socket.destroy();
});
