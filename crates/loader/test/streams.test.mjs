// Virtual sockets over frames: windows, aborts, batches, exceptions, generations. Where Node alone has
// the same situation, what the app noticed is compared with it.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { C, FakeProxy, frame, mask } from './harness.mjs';
import { RawClient, plainNode } from './raw.mjs';

const SCRIPT = path.join(import.meta.dirname, 'fixtures/scenarios.cjs');
const WINDOW = C.WINDOW_BYTES;
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

const bodyOf = (text) => text.slice(text.indexOf('\r\n\r\n') + 4);
const post = (target, length, rest = {}) =>
  ({ method: 'POST', target, headers: [['Host', 'h'], ['Content-Length', String(length)]], body: '', end: false, ...rest });

async function events(client) {
  const answer = await client.request({ target: '/events' });
  client.close();
  return JSON.parse(bodyOf(answer.text));
}
const framedEvents = () => events(channel.client());
const plainEvents = () => events(new RawClient(plain.port));

/** Asks until the app has noted `text`; its notes are collected on the way. */
async function eventsUntil(ask, text) {
  const all = [];
  while (!all.some((event) => event.includes(text))) all.push(...await ask());
  return all;
}

function u32(value) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

// ---- windows ------------------------------------------------------------------------------------

test('a response stops at the end of the window and goes on with credit', async () => {
  const client = channel.client();
  client.send({ target: '/drain' });
  const frames = () => channel.frames.filter((one) => one.stream === client.stream);
  const sum = () => frames().reduce((bytes, one) => bytes + one.payload.length, 0);
  await channel.until(() => sum() >= WINDOW);
  // Another round trip on the channel: what could have come has come.
  await channel.client().request();
  assert.equal(sum(), WINDOW);
  let granted = WINDOW;
  while (frames().at(-1).type === 'DATA') {
    const before = frames().length;
    granted += 100000;
    client.write(client.frame('WINDOW', u32(100000)));
    await channel.until(() => frames().length > before);
    await channel.client().request();
    assert.ok(sum() <= granted, `${sum()} bytes of ${granted}`);
  }
  assert.equal(frames().at(-1).type, 'END');
  assert.ok(sum() > 1000000);
  assert.deepEqual(await framedEvents(), ['drain waited true']);
});

test('a large response in one write keeps to the window', async () => {
  const client = channel.client();
  const answer = await client.send({ target: '/large' }).answer();
  assert.equal(answer.end, 'END');
  assert.equal(bodyOf(answer.text), 'x'.repeat(100000));
});

test('credit for a response is no silence of its client', async () => {
  const client = channel.client();
  client.send({ target: '/slow-large' });
  for (let sent = 0, from = 0; ;) {
    const one = await channel.until(({ stream }) => stream === client.stream, from);
    from = channel.frames.indexOf(one) + 1;
    sent += one.payload.length;
    if (one.type === 'END') break;
    await new Promise((resolve) => setTimeout(resolve, 80));
    client.write(client.frame('WINDOW', u32(sent)));
    sent = 0;
  }
  assert.deepEqual(await framedEvents(), ['slow-large done']);
});

test('a request body that the app does not read stops the sender; credit comes back exactly', async () => {
  const { worker, channel: other } = await proxy.ready(path.join(import.meta.dirname, 'fixtures/slow-body.cjs'));
  const client = other.client();
  const total = 3 * WINDOW;
  client.send({ ...post('/', total), headers: [['Host', 'h'], ['Content-Length', String(total)]] });
  let credit = WINDOW;
  let sent = 0;
  let returned = 0;
  const credits = () => other.frames.filter((one) => one.type === 'WINDOW').reduce((bytes, one) => bytes + one.payload.readUInt32LE(0), 0);
  while (sent < total) {
    const piece = Math.min(20000, credit, total - sent);
    if (piece > 0) {
      client.write(client.frame('DATA', Buffer.alloc(piece, 'b')));
      sent += piece;
      credit -= piece;
      continue;
    }
    if (returned === 0) {
      // The window is used up and the app has not read: no credit yet.
      await worker.line('paused');
      assert.equal(credits(), 0);
      worker.child.kill('SIGUSR2'); // "read now"
    }
    await other.until(() => credits() > returned);
    credit += credits() - returned;
    returned = credits();
    assert.ok(returned <= sent, `${returned} returned of ${sent} sent`);
  }
  client.write(client.frame('END'));
  const answer = await client.answer();
  assert.equal(bodyOf(answer.text), `read ${total}`);
  assert.ok(total - credits() < WINDOW / 4 + 20000, `${total - credits()} bytes of credit never came back`);
  for (const one of other.frames.filter((one) => one.type === 'WINDOW')) assert.ok(one.payload.readUInt32LE(0) >= WINDOW / 4);
});

test('a body that is dumped gives its credit back', async () => {
  const client = channel.client();
  const total = 2 * WINDOW;
  client.send(post('/unread', total));
  const answer = await client.answer();
  assert.match(answer.text, /not read$/);
  let credit = WINDOW;
  for (let sent = 0; sent < total;) {
    const piece = Math.min(50000, credit, total - sent);
    const windows = () => channel.frames.filter((one) => one.type === 'WINDOW' && one.stream === client.stream);
    if (piece > 0) {
      client.write(client.frame('DATA', Buffer.alloc(piece)));
      sent += piece;
      credit -= piece;
    } else {
      const before = credit + windows().reduce((bytes, one) => bytes + one.payload.readUInt32LE(0), 0);
      assert.ok(before >= 0);
      await channel.until((one) => one.type === 'WINDOW' && one.stream === client.stream, client.seen);
      credit += windows().slice(client.counted ?? 0).reduce((bytes, one) => bytes + one.payload.readUInt32LE(0), 0);
      client.counted = windows().length;
      client.seen = channel.frames.length;
    }
  }
  client.write(client.frame('END'));
  assert.match((await client.request()).text, /root$/);
  await framedEvents();
});

// ---- aborts -------------------------------------------------------------------------------------

for (const target of ['/hang', '/partial', '/finished-hang']) {
  test(`the client leaves in the middle: ${target}`, async () => {
    const client = channel.client();
    client.send({ target });
    await (target === '/partial' ? channel.until((one) => one.stream === client.stream) : eventsUntil(framedEvents, 'started'));
    client.close();
    const raw = new RawClient(plain.port);
    raw.socket.write(raw.encode({ target }));
    await (target === '/partial' ? once(raw.changed, 'change') : eventsUntil(plainEvents, 'started'));
    raw.close();
    const last = target === '/finished-hang' ? 'finished req' : 'req close';
    assert.deepEqual(await eventsUntil(framedEvents, last), await eventsUntil(plainEvents, last));
    assert.ok(!channel.frames.some((one) => one.stream === client.stream && one.type === 'RESET'), 'no RESET after CLOSE');
  });
}

test('the client leaves in the middle of its body', async () => {
  const client = channel.client();
  client.send(post('/pipe', 100, { body: 'half' }));
  await channel.until((one) => one.stream === client.stream);
  client.close();
  assert.match((await channel.client().request()).text, /root$/);
  await framedEvents();
});

for (const target of ['/destroy', '/res-destroy', '/req-destroy']) {
  test(`the app destroys: ${target}`, async () => {
    const client = channel.client();
    const answer = await client.request({ target });
    assert.equal(answer.end, 'RESET');
    const raw = new RawClient(plain.port);
    const rawAnswer = await raw.request({ target });
    if (target !== '/res-destroy') assert.equal(answer.text, rawAnswer.text);
    assert.deepEqual(await eventsUntil(framedEvents, 'req close'), await eventsUntil(plainEvents, 'req close'));
  });
}

test('HEAD for a stream that the app destroyed is answered with RESET of its own generation', async () => {
  const client = channel.client();
  client.send({ target: '/destroy' });
  await client.answer();
  assert.equal((await client.request()).end, 'RESET');
  await framedEvents();
});

test('half close: Node decides', async () => {
  const client = channel.client();
  client.send({ target: '/hang' });
  await eventsUntil(framedEvents, 'started');
  client.write(client.frame('HALF_CLOSE'));
  const answer = await client.answer();
  assert.equal(answer.end, 'END_CLOSE');
  const raw = new RawClient(plain.port);
  raw.socket.end(raw.encode({ target: '/hang' }));
  const rawAnswer = await raw.answer();
  assert.equal(answer.text, rawAnswer.text);
  const strip = (list) => list.filter((event) => event !== 'hang started');
  assert.deepEqual(strip(await eventsUntil(framedEvents, 'res close')), strip(await eventsUntil(plainEvents, 'res close')));
});

test('half close of an idle connection', async () => {
  const client = channel.client();
  await client.request();
  client.write(client.frame('HALF_CLOSE'));
  assert.equal((await client.answer()).end, 'RESET');
});

test('socket.end in the middle of a response', async () => {
  const client = channel.client();
  const answer = await client.request({ target: '/end-socket' });
  assert.equal(answer.end, 'END_CLOSE');
  const raw = new RawClient(plain.port);
  raw.socket.write(raw.encode({ target: '/end-socket' }));
  await raw.closed();
  assert.equal(mask(answer.text), mask(raw.bytes.toString('latin1')));
  await framedEvents();
  await plainEvents();
});

// ---- batches ------------------------------------------------------------------------------------

test('an exception in one handler does not take the rest of the batch with it', async () => {
  const targets = ['/', '/throw', '/', '/throw-tick', '/', '/buffer'];
  const clients = targets.map((target) => [channel.client(), target]);
  channel.write(...clients.flatMap(([client, target]) => client.encode({ target })));
  for (const [client, target] of clients) {
    if (target.startsWith('/throw')) client.close();
    else assert.equal((await client.answer()).end, 'END');
  }
  assert.deepEqual(await framedEvents(), ['uncaught thrown in handler', 'uncaught thrown in tick']);
});

test('an exception in the middle of a batch that ends in half a frame', async () => {
  const first = channel.client();
  const second = channel.client();
  const third = channel.client();
  const bytes = Buffer.concat([...first.encode({ target: '/throw' }), ...second.encode(), ...third.encode()]);
  channel.write(bytes.subarray(0, bytes.length - 5));
  assert.equal((await second.answer()).end, 'END');
  channel.write(bytes.subarray(bytes.length - 5));
  assert.equal((await third.answer()).end, 'END');
  first.close();
  await framedEvents();
});

test('answers of one batch leave in one write', async () => {
  let best = Infinity;
  // A machine that is busy with something else may cut a batch: it is paced by time.
  for (let attempt = 0; attempt < 20 && best > 1; attempt++) {
    const clients = Array.from({ length: 32 }, () => channel.client());
    let reads = 0;
    const count = () => reads++;
    channel.socket.on('data', count);
    channel.write(...clients.flatMap((client) => client.encode()));
    await Promise.all(clients.map((client) => client.answer()));
    channel.socket.off('data', count);
    best = Math.min(best, reads);
  }
  assert.equal(best, 1);
});

/** When each of these requests, sent in one write, had its answer: milliseconds, in their order. */
async function answerTimes(targets) {
  const clients = targets.map((target) => [channel.client(), target]);
  const times = new Map();
  channel.on('frame', (one) => times.set(one.stream, performance.now()));
  channel.write(...clients.flatMap(([client, target]) => client.encode({ target })));
  await Promise.all(clients.map(([client]) => client.answer()));
  channel.removeAllListeners('frame');
  return clients.map(([client]) => times.get(client.stream));
}

test('a slow handler does not hold the answers of the ones before it', async () => {
  const at = await answerTimes(['/', '/', '/spin', '/spin', '/']);
  // Each spins for 50 ms; its answer and those before it leave before the next one spins.
  assert.ok(at[3] - at[2] > 25, `${at[3] - at[2]} ms`);
});

test('the first answers of a large batch leave while the rest is handled', async () => {
  const at = await answerTimes([...Array.from({ length: 19 }, () => '/'), '/spin']);
  assert.ok(at[19] - at[0] > 25, `${at[19] - at[0]} ms`);
});

test('AsyncLocalStorage does not leak between the clients of one batch', async () => {
  const clients = ['a', 'b', 'c'].map((id) => [channel.client(), id]);
  channel.write(...clients.flatMap(([client, id]) => client.encode({ target: '/als', headers: [['Host', 'h'], ['X-Id', id]] })));
  for (const [client, id] of clients) assert.equal(bodyOf((await client.answer()).text), `undefined ${id}`);
});

test('the bytes cut at every position give the same answers', async () => {
  const expected = [];
  const requests = [
    { target: '/' },
    { method: 'POST', target: '/body', headers: [['Host', 'h'], ['Content-Length', '5']], body: 'abcde' },
    { target: '/json' },
  ];
  const length = Buffer.concat(channel.client().encode(requests[1])).length;
  for (let cut = 0; cut <= length; cut++) {
    const client = channel.client();
    const answers = [];
    for (const request of requests) {
      const bytes = Buffer.concat(client.encode(request));
      client.seen = channel.frames.length;
      const at = Math.min(cut, bytes.length);
      channel.socket.write(bytes.subarray(0, at));
      // A round trip through the kernel, so that the worker reads the two pieces apart.
      await new Promise(setImmediate);
      channel.socket.write(bytes.subarray(at));
      answers.push(mask((await client.answer()).text));
    }
    if (expected.length === 0) expected.push(...answers);
    assert.deepEqual(answers, expected, `cut at ${cut}`);
    client.close();
  }
});

// ---- generations --------------------------------------------------------------------------------

test('late frames are dropped', async () => {
  const client = channel.client();
  await client.request({ target: '/' });
  const old = client.generation;
  client.send(post('/body', 3));
  client.write(
    frame('DATA', client.stream, old, Buffer.from('BAD')), frame('END', client.stream, old),
    frame('HALF_CLOSE', client.stream, old), frame('CLOSE', 99999, 3), frame('WINDOW', 99999, 3, u32(1)),
    client.frame('DATA', Buffer.from('abc')), client.frame('END'));
  assert.equal(JSON.parse(bodyOf((await client.answer()).text))[0], 'abc');
});

test('CLOSE counts whatever its generation: requests in between went to other workers', async () => {
  const client = channel.client();
  client.send({ target: '/hang' });
  await eventsUntil(framedEvents, 'started');
  client.write(frame('CLOSE', client.stream, client.generation + 3));
  await eventsUntil(framedEvents, 'req close');
});

test('a stream number is used again at once; generations wrap', async () => {
  const client = channel.client();
  for (let i = 0; i < 300; i++) assert.match((await client.request()).text, /root$/);
  client.send({ target: '/hang' });
  await eventsUntil(framedEvents, 'started');
  client.close();
  client.fresh = true;
  client.address = '10.1.2.3';
  assert.match((await client.request({ target: '/socket' })).text, /"string","number","IPv4"/);
  await eventsUntil(framedEvents, 'req close');
});

test('a broken frame closes the channel, the worker comes back', async () => {
  const other = await FakeProxy.start();
  const { worker, channel: first } = await other.ready(SCRIPT);
  first.write(frame('DATA', 0, 0, Buffer.from('x')));
  const again = await once(other, 'channel').then(([one]) => one);
  await again.until((one) => one.type === 'LISTEN');
  assert.match((await again.client().request()).text, /root$/);
  assert.equal(worker.reports.find((line) => line.step === 'channel').why, 'frame type 2 on stream 0');
  await other.stop();
});
