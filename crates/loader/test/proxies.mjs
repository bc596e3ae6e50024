// Owns the proxies that a test file starts: they stop when its tests are done.
// Must never know: what they are started for.

import { after } from 'node:test';
import { FakeProxy } from './harness.mjs';

const proxies = [];
after(() => Promise.all(proxies.map((proxy) => proxy.stop())));

export async function startProxy(options) {
  const proxy = await FakeProxy.start(options);
  proxies.push(proxy);
  return proxy;
}
