// Requests that are born with an app's prototypes: when, and when not.

import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { startProxy } from './proxies.mjs';

const FIXTURE = path.join(import.meta.dirname, 'fixtures/born.cjs');
const WATCHED = 16;

/** An app, and how to ask it. */
async function start(options) {
  const proxy = await startProxy();
  const { channel } = await proxy.ready(FIXTURE, options);
  const client = channel.client();
  const ask = async (target = '/') => {
    const { text } = await client.request({ target });
    return JSON.parse(text.slice(text.indexOf('\r\n\r\n') + 4));
  };
  const warm = async () => {
    for (let i = 0; i < 2 * WATCHED; i++) await ask();
  };
  return { ask, warm };
}

const BORN = [true, true];
const NOT = [false, false];

test('after the first requests, and nothing else differs', async () => {
  const { ask } = await start();
  const answers = [];
  for (let i = 0; i < 2 * WATCHED; i++) answers.push(await ask());
  assert.deepEqual(answers.map((answer) => answer.born), Array.from(answers, (_, i) => (i < WATCHED ? NOT : BORN)));
  const [first] = answers;
  for (const { born: _born, plain: _plain, ...rest } of answers) {
    assert.deepEqual(rest, { hello: 'from the app', url: '/', isRequest: true, own: first.own });
  }
});

test('the app has another prototype now: from then on as Node makes them', async () => {
  const { ask, warm } = await start();
  await warm();
  assert.deepEqual((await ask('/other-prototype')).born, BORN);
  for (let i = 0; i < 3 * WATCHED; i++) assert.deepEqual((await ask()).plain, BORN);
});

for (const change of ['/other-listener', '/second-listener']) {
  test(`${change.slice(1).replace('-', ' ')}: it finds what Node makes`, async () => {
    const { ask, warm } = await start();
    await warm();
    assert.deepEqual((await ask(change)).born, BORN);
    for (let i = 0; i < 3; i++) assert.deepEqual((await ask()).plain, BORN);
  });
}

test('an app that does not do it with each of the first requests is not believed', async () => {
  const { ask, warm } = await start();
  await ask();
  await ask('/leave-alone');
  await warm();
  assert.deepEqual((await ask()).born, NOT);
});

test('an accessor in the place of a field, a class of its own, the off switch: as Node makes them', async () => {
  for (const options of [{ args: ['accessor'] }, { args: ['class'] }, { settings: { born: false } }]) {
    const { ask, warm } = await start(options);
    await warm();
    const { born, url } = await ask();
    assert.deepEqual([born, url], [NOT, '/'], JSON.stringify(options));
  }
});
