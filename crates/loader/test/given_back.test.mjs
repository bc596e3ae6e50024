// `hostler exec`: connections that are given back to Node, at once or after requests, compared with Node alone.

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { CONVERSATIONS, GET, converse, settle } from './conversation.mjs';
import { Front } from './front.mjs';
import { plainNode } from './raw.mjs';

const fixture = (name) => path.join(import.meta.dirname, 'fixtures', name);
let front;
let given;
let alone;
before(async () => {
  front = await Front.start();
  given = await front.app(fixture('handover.cjs'));
  alone = await plainNode(fixture('handover.cjs'));
});
after(async () => {
  await alone.stop();
  await front.stop();
});

/** `first` goes to the app's process as bytes that the proxy read; the rest comes over the connection. */
async function givenBack(port, [first, ...pieces], before = null) {
  const read = typeof first === 'string' ? first : '';
  const offered = front.offer();
  const talking = converse(port, { pieces: before ?? (read === '' ? [first, ...pieces] : pieces) });
  const offer = await offered;
  return { offer, read, talking };
}

async function end(talk, closes) {
  if (closes) await talk.closed;
  else await talk.end();
}

for (const [name, { closes = false, pieces }] of Object.entries(CONVERSATIONS)) {
  test(`given back at once: ${name}`, async () => {
    const { offer, read, talking } = await givenBack(given.port, pieces);
    offer.giveBack(read);
    const ours = await talking;
    const theirs = await converse(alone.port, { pieces });
    await Promise.all([end(ours, closes), end(theirs, closes)]);
    assert.equal(ours.text(), theirs.text());
    assert.deepEqual(await settle(given.port), await settle(alone.port));
  });

  test(`given back after a request: ${name}`, async () => {
    // The first request of Node alone is served as a stream here; its answer is not on the connection.
    const { offer, read, talking } = await givenBack(given.port, pieces);
    const client = offer.open({ target: '/mark' });
    const answer = await client.answer();
    offer.giveBack(read);
    const ours = await talking;
    const theirs = await converse(alone.port, { pieces: [GET('/mark'), /GET \/mark$/, ...pieces] });
    await Promise.all([end(ours, closes), end(theirs, closes)]);
    // How many bytes the first request had is not told by frames.
    const text = (value) => value.replace(/"IPv4",\d+,/, '"IPv4",N,');
    const noted = (list) => list.map((one) => one.replace(/(upgrade \S+ \d+ Socket) \d+/, '$1 N'));
    assert.equal(text(answer.text.replace(/Date: [^\r\n]+/g, 'Date: X') + ours.text()), text(theirs.text()));
    assert.deepEqual(noted(await settle(given.port)), noted(await settle(alone.port)));
  });
}

for (const mode of ['data', 'readable', 'paused', 'throws', 'destroys', 'timeout']) {
  test(`given back to an app that at 'connection': ${mode}`, async () => {
    const [ours, theirs] = [await front.app(fixture('handover.cjs'), { env: { MODE: mode } }),
      await plainNode(fixture('handover.cjs'), { env: { MODE: mode } })];
    const closes = mode === 'destroys' || mode === 'timeout';
    const pieces = mode === 'readable' || mode === 'destroys' ? [GET('/a')] : [GET('/a'), /GET \/a$/];
    // What the app reads itself, or does not want, is never offered.
    const raw = mode === 'data' || mode === 'readable' || mode === 'destroys';
    const offers = front.offers.length;
    let talking = raw ? converse(ours.port, { pieces }) : null;
    if (!raw) {
      const { offer, read, talking: rest } = await givenBack(ours.port, pieces);
      offer.giveBack(read);
      talking = rest;
    }
    const [a, b] = [await talking, await converse(theirs.port, { pieces })];
    assert.equal(front.offers.length - offers, raw ? 0 : 1);
    await Promise.all([end(a, closes), end(b, closes)]);
    assert.equal(a.text(), b.text());
    if (mode !== 'readable') assert.deepEqual(await settle(ours.port), await settle(theirs.port));
    await theirs.stop();
  });
}
