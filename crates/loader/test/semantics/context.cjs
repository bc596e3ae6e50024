'use strict';
// What surrounds a handler: async contexts and hooks, diagnostics channels, performance entries, domains, uncaught errors.

const { AsyncLocalStorage, AsyncResource, createHook, executionAsyncId, executionAsyncResource, triggerAsyncId } = require('async_hooks');
const diagnostics = require('diagnostics_channel');
const domain = require('domain');
const os = require('os');
const path = require('path');
const { PerformanceObserver } = require('perf_hooks');

const HOST = ['Host', 'h'];
const GET = { target: '/', headers: [HOST] };
const post = (body) => ({ method: 'POST', target: '/', headers: [HOST, ['Content-Length', String(body.length)]], body });
const chunked = (body) => ({ method: 'POST', target: '/', headers: [HOST, ['Transfer-Encoding', 'chunked']], body });
const asks = (...requests) => async (side) => {
  const answers = [];
  for (const request of requests) answers.push(await side.request(request));
  return answers;
};

const als = new AsyncLocalStorage();
const cases = {};
const add = (name, app, more = {}) => { cases[name] = { app, client: asks(GET, post('some'), chunked('some'), GET), ...more }; };

/** Calls `look` in every callback of a request. */
function everywhere(req, res, look) {
  look('handler');
  for (const name of ['end', 'close', 'resume']) req.on(name, () => look(`req ${name}`));
  for (const name of ['prefinish', 'finish', 'close']) res.on(name, () => look(`res ${name}`));
  req.on('data', () => look('data'));
  process.nextTick(() => look('tick'));
  Promise.resolve().then(() => look('microtask'));
  setImmediate(() => look('immediate'));
  setTimeout(() => { look('timeout'); res.write('x', () => look('written')); res.end(() => look('ended')); }, 1);
}

// ---- AsyncLocalStorage --------------------------------------------------------------------------------------

let serial = 0;
add('run around everything', (req, res, { note }) => { serial = (serial + 1) % 100; als.run(`in ${req.method}`, () => everywhere(req, res, (where) => note(where, als.getStore() ?? 'nothing'))); });
add('outside of any run', (req, res, { note }) => everywhere(req, res, (where) => note(where, als.getStore() ?? 'nothing')));
add('enterWith leaks as far as it does', (req, res, { note }) => {
  note('before', als.getStore() ?? 'nothing');
  als.enterWith(req.url);
  everywhere(req, res, (where) => note(where, als.getStore() ?? 'nothing'));
}, { client: asks({ ...GET, target: '/1' }, { ...post('body'), target: '/2' }, { ...GET, target: '/3' }) });
add('enterWith and another connection', (req, res, { note }) => { note('before', als.getStore() ?? 'nothing'); als.enterWith(req.url); res.end('x'); }, {
  client: async (side) => [(await side.open().request({ ...GET, target: '/1' })).text, (await side.open().request({ ...GET, target: '/2' })).text] });
add('socket events', (req, res, { note }) => {
  if (req.url === '/1') {
    als.run('first', () => {
      for (const name of ['close', 'end', 'timeout', 'finish', 'error']) req.socket.on(name, () => note(name, als.getStore() ?? 'nothing'));
      res.end('x');
    });
  } else {
    als.run('second', () => setImmediate(() => req.socket.end()));
  }
}, { client: async (side) => { await side.request({ ...GET, target: '/1' }); side.client.send({ ...GET, target: '/2' }); await side.client.closed(); side.client.half(); await side.noted('close'); } });
add('server events', (req, res) => { res.end('x'); }, {
  server(server, { on, note }) { for (const name of ['connection', 'request']) on(server, name, () => note(name, als.getStore() ?? 'nothing')); },
});
add('drain and callbacks of large writes', (req, res, { note }) => als.run('store', () => {
  res.write(Buffer.alloc(300000), () => note('written', als.getStore() ?? 'nothing'));
  res.on('drain', () => { note('drain', als.getStore() ?? 'nothing'); res.end(); });
}), { client: async (side) => (await side.request(GET)).length });
add('finish of a large Buffer', (req, res, { note }) => als.run('store', () => {
  for (const name of ['prefinish', 'finish', 'close']) res.on(name, () => note(name, als.getStore() ?? 'nothing'));
  res.end(Buffer.alloc(5000), () => note('ended', als.getStore() ?? 'nothing'));
}));
add('a slow client', (req, res, { note }) => als.run('store', () => {
  for (const name of ['finish', 'close', 'drain']) res.on(name, () => note(name, als.getStore() ?? 'nothing'));
  res.write(Buffer.alloc(3000000), () => note('written', als.getStore() ?? 'nothing'));
  als.run('other', () => setImmediate(() => { res.write('more', () => note('more', als.getStore() ?? 'nothing')); res.end(() => note('ended', als.getStore() ?? 'nothing')); note('waiting'); }));
}), {
  group: 'unix',
  async client(side) {
    const client = side.open({ window: false });
    client.send(GET);
    await side.noted('waiting');
    await side.settle();
    client.readAll();
    await client.received(3000000);
    await client.answer();
    await side.noted('close');
  },
});
add('the client leaves', (req, res, { note }) => als.run('store', () => {
  req.on('aborted', () => note('aborted', als.getStore() ?? 'nothing')).on('close', () => note('req close', als.getStore() ?? 'nothing')).on('error', () => note('error', als.getStore() ?? 'nothing'));
  res.on('close', () => note('res close', als.getStore() ?? 'nothing'));
  note('started');
}), { client: async (side) => { side.client.send({ ...post('some'), headers: [HOST, ['Content-Length', '10']], end: false }); await side.noted('started'); side.client.reset(); await side.noted('req close'); } });
add('time-outs', (req, res, { note }) => als.run('store', () => {
  res.setTimeout(10, () => { note('timeout', als.getStore() ?? 'nothing'); req.socket.setTimeout(0); res.end('x'); });
}), { client: asks(GET) });
add('a store that listen was called in', (req, res, { note }) => everywhere(req, res, (where) => note(where, als.getStore() ?? 'nothing')), { group: 'listen' });
add('bind, snapshot, AsyncResource.bind', (req, res, { note }) => als.run('store', () => {
  req.on('end', AsyncResource.bind(() => note('bound', als.getStore() ?? 'nothing')));
  res.on('finish', AsyncLocalStorage.snapshot().bind(null, () => note('snapshot', als.getStore() ?? 'nothing')));
  req.resume();
  res.end('x');
}));
add('async functions', async (req, res, { note }) => {
  await als.run('store', async () => {
    let length = 0;
    for await (const chunk of req) { length += chunk.length; note('chunk', als.getStore() ?? 'nothing'); }
    await new Promise((resolve) => setTimeout(resolve, 1));
    note('after', als.getStore() ?? 'nothing');
    res.end(String(length));
  });
});

// ---- async_hooks ----------------------------------------------------------------------------------------------

const idOf = (object) => object[Object.getOwnPropertySymbols(object).find((key) => key.description === 'async_id_symbol')];
add('ids of one connection', (req, res, { note }) => {
  const { socket } = req;
  socket.seen ??= executionAsyncId();
  note('same id for all requests', socket.seen === executionAsyncId(), 'trigger is the socket', triggerAsyncId() === idOf(socket), 'ids differ', executionAsyncId() !== triggerAsyncId());
  const id = executionAsyncId();
  const look = (where) => note(where, executionAsyncId() === id, executionAsyncId() > 0);
  req.on('end', () => look('end')).resume();
  res.on('finish', () => look('finish')).on('close', () => look('close'));
  setImmediate(() => { note('immediate', triggerAsyncId() === id); res.end('x'); });
});
add('the resource', (req, res, { note }) => {
  const resource = executionAsyncResource();
  resource.mine = (resource.mine ?? 0) + 1;
  note(resource.type, resource.socket === req.socket, resource.constructor.name, resource.mine);
  req.on('data', () => note('data', executionAsyncResource() === resource)).on('end', () => res.end('x'));
  req.resume();
});
add('the resource of a closed connection is destroyed', (req, res, { note, later }) => {
  const seen = new Map();
  const hook = createHook({
    init(id, type) { seen.set(id, type); },
    destroy(id) { if (id === req.socket.id) note('destroyed'); },
  }).enable();
  later(() => hook.disable());
  req.socket.id = executionAsyncId();
  res.end('x');
}, { client: async (side) => { await side.request({ ...GET, headers: [HOST, ['Connection', 'close']] }); await side.noted('destroyed'); } });

// ---- diagnostics ------------------------------------------------------------------------------------------------

const CHANNELS = ['http.server.request.start', 'http.server.response.created', 'http.server.response.finish', 'net.server.socket'];
add('diagnostics channels', (req, res, { note, watch }) => { watch(req, res); note('handler'); req.resume(); res.end('x'); }, {
  server(server, { note, later }) {
    for (const name of CHANNELS) {
      const subscriber = (message) => note(name, Object.keys(message), message.request?.method, message.response?.writableEnded, message.server === server,
        message.socket !== undefined && (message.request === undefined || message.socket === message.request.socket), executionAsyncId() > 0);
      diagnostics.subscribe(name, subscriber);
      later(() => diagnostics.unsubscribe(name, subscriber));
    }
  },
});
add('performance entries', (req, res) => { res.setHeader('X-A', '1'); res.statusCode = 201; res.end('x'); }, {
  server(server, { note, later }) {
    const observer = new PerformanceObserver((list) => list.getEntries().forEach(({ name, entryType, duration, detail }) => {
      note(name, entryType, duration >= 0, detail.req.method, detail.req.url, detail.req.headers, detail.res.statusCode, detail.res.statusMessage, detail.res.headers);
    }));
    observer.observe({ entryTypes: ['http'] });
    later(() => observer.disconnect());
  },
  client: async (side) => { await side.request(GET); await side.request(post('x')); await side.noted('HttpRequest http', 2); },
});

cases['trace events'] = {
  group: 'trace',
  app(req, res) {
    if (req.url === '/exit') res.end('x', () => process.exit());
    else res.end(String(process.pid));
  },
  async client(side) {
    const pid = (await side.request(GET)).split('\r\n\r\n')[1];
    await side.request({ ...post('some'), target: '/2' });
    side.client.send({ ...GET, target: '/exit' });
    await side.exited();
    const file = path.join(os.tmpdir(), `hostler-trace-${pid}.json`);
    const { traceEvents } = JSON.parse(require('fs').readFileSync(file, 'utf8'));
    require('fs').rmSync(file);
    const all = traceEvents.filter(({ name }) => name.startsWith('http'));
    // The loader's self-test leaves two requests of its own in the file (README).
    const own = new Set(all.filter(({ args }) => ['/a?b', '/p'].includes(args.data?.url)).map(({ id }) => id));
    return all.filter(({ id }) => !own.has(id)).map(({ name, ph, cat, args, id }) => [name, ph, cat, JSON.stringify(args), Number(id) - own.size].join(' '));
  },
};

// ---- errors -------------------------------------------------------------------------------------------------------

const fails = (name, work) => add(`an error ${name}`, (req, res, tools) => {
  if (req.url !== '/') return void res.end('fine');
  tools.watch(req, res);
  return work(req, res, tools);
}, { client: async (side) => { side.client.send(GET); await side.client.connected; await side.noted('uncaught'); await side.settle(); return [await side.settled(), (await side.open().request({ ...GET, target: '/2' })).text]; } });
fails('in the handler', () => { throw new Error('mine'); });
fails('in a tick', () => { process.nextTick(() => { throw new Error('mine'); }); });
fails('in a microtask', () => { queueMicrotask(() => { throw new Error('mine'); }); });
fails('in a promise', () => { Promise.reject(new Error('mine')); });
fails('in an async handler', async () => { await null; throw new Error('mine'); });
fails('in an immediate', () => { setImmediate(() => { throw new Error('mine'); }); });
fails('in finish', (req, res) => { res.on('finish', () => { throw new Error('mine'); }); res.end('x'); });
fails('in close', (req, res) => { res.on('close', () => { throw new Error('mine'); }); res.end('x'); });
fails('in end', (req, res) => { req.on('end', () => { throw new Error('mine'); }).resume(); res.end('x'); });
fails('in a write callback', (req, res) => { res.write('x', () => { throw new Error('mine'); }); });
fails('that is no Error', () => { throw null; });
add('an error in data', (req, res, { watch }) => { watch(req, res); req.on('data', () => { throw new Error('mine'); }).on('end', () => res.end('fine')); }, {
  client: async (side) => { side.client.send(post('some')); await side.noted('uncaught'); await side.settle(); return (await side.open().request(GET)).text; },
  but: ({ notes }) => notes.splice(notes.findIndex((text) => text.startsWith('uncaught')) + 1), // Node's parser never goes on after it (README)
});
add("an error in 'connection'", (req, res) => res.end('x'), {
  server(server, { on, note }) { on(server, 'connection', () => { note('connection'); throw new Error('mine'); }); },
  client: async (side) => { const client = side.open(); client.send(GET); await side.noted('uncaught'); return (await client.answer()).text; },
});
add('captureRejections', async (req, res) => { if (req.url === '/late') res.write('part'); await null; res.setHeader?.('X', 'y'); throw new Error('mine'); }, {
  group: 'capture', client: async (side) => [await side.request(GET), await side.probe({ ...GET, target: '/late' })] });

// ---- domains ------------------------------------------------------------------------------------------------------

add('a domain in the handler', (req, res, { note }) => {
  const one = domain.create();
  one.on('error', (error) => { note('domain', error.message, error.domainThrown, process.domain === one); res.statusCode = 500; res.end('by the domain'); });
  one.add(req);
  one.add(res);
  one.run(() => {
    note(process.domain === one, req.domain === one, req.socket.domain === one);
    setImmediate(() => { throw new Error('mine'); });
  });
}, { client: asks(GET, GET) });
add('a domain around the server', (req, res, { note }) => {
  note(process.domain !== null && process.domain !== undefined, req.domain === process.domain, res.domain === process.domain, req.socket.domain === process.domain);
  if (req.method === 'GET') res.end('x');
  else setImmediate(() => { res.end('y'); throw new Error('mine'); });
}, { group: 'domain', client: asks(GET, post('x'), GET) });

const groups = {
  trace: { fresh: true, nodeArgs: ['--trace-event-categories=node.http', `--trace-event-file-pattern=${path.join(os.tmpdir(), 'hostler-trace-${pid}.json')}`] },
  unix: { unix: true },
  listen: { listen: (listen) => als.run('at listen', listen) },
  capture: { before() { require('events').captureRejections = true; } },
  domain: {
    create({ http, note }) {
      const one = domain.create();
      one.on('error', (error) => note('domain', error.message));
      return one.run(() => http.createServer());
    },
  },
};

module.exports = { cases, groups };
