'use strict';
// Writing a response: return values, back-pressure, callbacks, corks, ends, and the order of all of it.

const stream = require('stream');

const HOST = ['Host', 'h'];
const GET = { target: '/', headers: [HOST] };
const HEAD = { ...GET, method: 'HEAD' };
const MB = 1024 * 1024;
const asks = (...requests) => async (side) => {
  const answers = [];
  for (const request of requests) answers.push(await side.request(request));
  return answers;
};
const brief = (text) => `${text.length} ${text.slice(0, 300)}`;

const cases = {};
const add = (name, app, more = {}) => { cases[name] = { app, client: asks(GET, HEAD, GET), ...more }; };

const of = (res) => [res.writableLength, res.writableNeedDrain, res.writableCorked, res.outputSize, res.socket?.writableLength, res.socket?.writableNeedDrain,
  res.socket?.writableCorked, res.socket?._writableState.length, res.socket?._writableState.needDrain, res.socket?._writableState.corked,
  res.writableEnded, res.writableFinished, res.socket?.bytesWritten > 0];
/** Notes the order of everything that follows. */
function traced(res, note) {
  process.nextTick(() => note('tick', of(res)));
  Promise.resolve().then(() => note('microtask', of(res)));
  setImmediate(() => {
    note('immediate', of(res));
    process.nextTick(() => note('immediate tick', of(res)));
  });
}
const SIZES = [0, 1, 100, 16383, 16384, 16385, 65535, 65536, 65537, 200000];

// ---- return values -------------------------------------------------------------------------------------------

for (const size of SIZES) {
  for (const [kind, make] of [['string', (n) => 'x'.repeat(n)], ['Buffer', (n) => Buffer.alloc(n, 'y')]]) {
    add(`one write of a ${kind} of ${size}`, (req, res, { note, watch }) => {
      watch(req, res);
      note('high-water mark', res.writableHighWaterMark, res.socket.writableHighWaterMark);
      note('write', res.write(make(size), () => note('callback', of(res))), of(res));
      traced(res, note);
      res.on('drain', () => note('drained', of(res)));
      setImmediate(() => setImmediate(() => { res.end(() => note('end callback')); note('ended', of(res)); }));
    }, { client: async (side) => [brief(await side.request(GET)), brief(await side.request(HEAD))] });
  }
  add(`one end with ${size}`, (req, res, { note, watch }) => {
    watch(req, res);
    res.end('x'.repeat(size), () => note('end callback', of(res)));
    note('ended', of(res));
    traced(res, note);
  }, { client: async (side) => [brief(await side.request(GET)), brief(await side.request(HEAD))] });
}
add('small writes over the high-water mark', (req, res, { note, watch }) => {
  watch(req, res);
  const values = [];
  for (let i = 0; i < 100; i++) values.push([res.write('x'.repeat(1000)), res.writableLength, res.writableNeedDrain]);
  note(values);
  res.on('drain', () => { note('drained', of(res)); res.end(); });
  traced(res, note);
}, { client: async (side) => [brief(await side.request(GET))] });
add('writes with Content-Length over the high-water mark', (req, res, { note, watch }) => {
  watch(req, res);
  res.setHeader('Content-Length', 100000);
  const values = [];
  for (let i = 0; i < 100; i++) values.push([res.write('x'.repeat(1000)), res.writableLength]);
  note(values);
  res.on('drain', () => { note('drained', of(res)); res.end(); });
}, { client: async (side) => [brief(await side.request(GET))] });
add('writes until false, again and again', (req, res, { note, watch }) => {
  watch(req, res);
  let rounds = 0;
  const more = () => {
    let count = 0;
    do count++; while (res.write('x'.repeat(700)));
    note('full after', count, of(res));
    if (++rounds < 4) res.once('drain', more);
    else res.end();
  };
  more();
}, { client: async (side) => [brief(await side.request(GET))] });
for (const mark of [0, 1, 100]) {
  add(`highWaterMark ${mark}`, (req, res, { note, watch }) => {
    watch(req, res);
    note(res.writableHighWaterMark, req.readableHighWaterMark, req.socket.readableHighWaterMark);
    const values = [];
    for (let i = 0; i < 6; i++) values.push([res.write('x'.repeat(20)), res.writableLength, res.writableNeedDrain]);
    note(values);
    res.on('drain', () => { note('drained', of(res)); res.end('y'); });
    if (!res.writableNeedDrain) res.end('y');
  }, { group: `mark${mark}`, client: asks(GET, GET) });
}

// ---- callbacks and corks -----------------------------------------------------------------------------------------

add('callbacks in order', (req, res, { note, watch }) => {
  watch(req, res);
  res.write('a', () => note('a', of(res)));
  res.write('b', 'latin1', (error) => note('b', error));
  res.write(Buffer.from('c'), () => { note('c'); process.nextTick(() => note('tick of c')); Promise.resolve().then(() => note('microtask of c')); });
  res.write('', () => note('empty'));
  res.end('d', (error) => note('end', error));
  traced(res, note);
});
add('callbacks over several turns', (req, res, { note, watch }) => {
  watch(req, res);
  res.write('a', () => {
    note('a', of(res));
    res.write('b', () => {
      note('b', of(res));
      setImmediate(() => res.write('c', () => { note('c', of(res)); res.end(() => note('end')); }));
    });
  });
});
add('a callback that throws', (req, res, { note, watch }) => {
  watch(req, res);
  res.write('a', () => { throw new Error('in callback'); });
  res.write('b', () => note('b'));
  setImmediate(() => res.end('c', () => note('end')));
});
add('the same callback twice', (req, res, { note }) => {
  const callback = () => note('callback');
  res.write('a', callback);
  res.write('b', callback);
  setImmediate(() => { res.write('c', callback); res.write('d', callback); res.end(callback); });
});
add('the head alone, then writes', (req, res, { note, watch }) => {
  watch(req, res);
  res.flushHeaders();
  note('flushed', of(res));
  process.nextTick(() => { note('write', res.write('a', () => note('a')), of(res)); });
  setImmediate(() => { note('write', res.write('b', () => note('b')), of(res)); res.end('c'); });
});
add('cork and uncork', (req, res, { note, watch }) => {
  watch(req, res);
  res.cork();
  note('corked', of(res));
  res.write('a', () => note('a'));
  res.write('b', () => note('b'));
  note('written', of(res));
  res.cork();
  res.uncork();
  note('still', of(res));
  setImmediate(() => { res.uncork(); note('uncorked', of(res)); setImmediate(() => { res.end('c'); note('ended', of(res)); }); });
});
add('cork before the head, chunks in one', (req, res, { note }) => {
  res.write('head');
  setImmediate(() => {
    res.cork();
    for (const text of ['one', 'two', 'three']) note(res.write(text, () => note(text)));
    res.uncork();
    res.end('last');
  });
});
add('end while corked', (req, res, { note, watch }) => {
  watch(req, res);
  res.cork();
  res.cork();
  res.write('a', () => note('a'));
  res.end('b', () => note('end'));
  note('ended', of(res));
}, { client: (side) => side.probe(GET) });
add('uncork too often', (req, res, { note }) => { res.uncork(); res.cork(); res.uncork(); res.uncork(); note(of(res)); res.end('x'); });
add('cork on the socket', (req, res, { note }) => {
  res.socket.cork();
  res.write('a', () => note('a'));
  note(of(res));
  setImmediate(() => { note(of(res)); res.socket.uncork(); setImmediate(() => { note(of(res)); res.end('b'); }); });
});
add('large writes while corked', (req, res, { note }) => {
  res.cork();
  const values = [];
  for (let i = 0; i < 5; i++) values.push([res.write(Buffer.alloc(20000, 97 + i), () => note(i)), res.writableLength]);
  note(values);
  res.on('drain', () => { note('drain', of(res)); res.end(); });
  process.nextTick(() => res.uncork());
}, { client: async (side) => brief(await side.probe(GET)) });

// ---- ends ---------------------------------------------------------------------------------------------------------

add('end twice', (req, res, { note, watch }) => {
  watch(req, res);
  note(res.end('a', (error) => note('first', error ?? 'fine')) === res);
  note(res.end((error) => note('second', error ?? 'fine')) === res);
  res.end();
  res.end('b', (error) => note('third', error ?? 'fine'));
  setImmediate(() => setImmediate(() => res.end((error) => note('late', error ?? 'fine'))));
});
add('write after end, with a callback', (req, res, { note, watch }) => {
  watch(req, res);
  res.end('a');
  note(res.write('b', (error) => note('callback', error)), of(res));
  setImmediate(() => setImmediate(() => note(res.write('c', (error) => note('late callback', error)), of(res))));
});
add('write after end, nobody listens', (req, res) => { res.end('a'); res.write('b'); });
add('write after destroy', (req, res, { note, watch }) => {
  watch(req, res);
  res.destroy();
  note(res.write('a', (error) => note('callback', error)), res.writable, res.destroyed);
  res.end('b', (error) => note('end callback', error ?? 'fine'));
}, { client: (side) => side.probe(GET) });
add('write after the client has left', (req, res, { note, watch }) => {
  watch(req, res);
  note('started');
  res.on('close', () => {
    note(res.write('a', (error) => note('callback', error ?? 'fine')), res.writable, res.destroyed, res.socket === null);
    res.end('b', (error) => note('end callback', error ?? 'fine'));
    note(res.writableEnded, res.writableFinished, res.headersSent);
  });
}, { client: async (side) => { side.client.send(GET); await side.noted('started'); side.client.reset(); await side.noted('res close'); return side.settled(); } });
add('answers twice', (req, res, { note, watch }) => {
  watch(req, res);
  res.end('first');
  try { res.writeHead(500); } catch (error) { note('threw', error); }
  try { res.setHeader('X', '1'); } catch (error) { note('threw', error); }
  res.end('second');
});
add('throws after the head', (req, res, { watch }) => { watch(req, res); res.write('part'); throw new Error('after the head'); }, { client: (side) => side.probe(GET) });
add('state of a finished response', (req, res, { note }) => {
  const { socket } = res;
  res.end('x');
  const look = (when) => note(when, of(res), res.socket === socket, res.connection === socket, req.socket === socket, socket._httpMessage === res, res.destroyed, res.closed,
    res.writable, res.errored, res.finished, res._header?.length > 0, res.writableObjectMode, res.writableHighWaterMark, res.headersSent);
  look('sync');
  res.on('finish', () => look('finish')).on('close', () => look('close')).on('prefinish', () => look('prefinish'));
  process.nextTick(() => look('tick'));
  setImmediate(() => { look('immediate'); res.setTimeout(5); res.cork(); res.uncork(); res.destroy(); look('destroyed'); });
});
add('finish, close and the next request', (req, res, { note, watch }) => {
  watch(req, res);
  res.on('close', () => { process.nextTick(() => note('close tick')); Promise.resolve().then(() => note('close microtask')); });
  res.end(req.url);
}, { client: asks(GET, { ...GET, target: '/2' }, { ...GET, target: '/3', headers: [HOST, ['Connection', 'close']] }) });
add('end in a tick, a microtask, an immediate, a timer', (req, res, { note, watch }) => {
  watch(req, res);
  const end = (where) => { note('in', where); res.end(where); traced(res, note); };
  if (req.url === '/tick') process.nextTick(end, 'tick');
  else if (req.url === '/microtask') queueMicrotask(() => end('microtask'));
  else if (req.url === '/immediate') setImmediate(end, 'immediate');
  else setTimeout(end, 1, 'timer');
}, { client: asks(...['/tick', '/microtask', '/immediate', '/timer'].map((target) => ({ ...GET, target }))) });
for (const kind of ['error', 'no error']) {
  add(`destroy in the middle of many writes, ${kind}`, (req, res, { note, watch }) => {
    watch(req, res);
    req.socket.on('close', (error) => note('socket close', error)).on('error', (error) => note('socket error', error));
    res.write('a', (error) => note('a', error ?? 'fine'));
    setImmediate(() => {
      res.write('b', (error) => note('b', error ?? 'fine'));
      res.write('c', (error) => note('c', error ?? 'fine'));
      res.destroy(kind === 'error' ? new Error('mine') : undefined);
      note('write', res.write('d', (error) => note('d', error ?? 'fine')));
      res.end('e', (error) => note('end', error ?? 'fine'));
      setImmediate(() => setImmediate(() => note('later', res.destroyed, res.errored?.message, res.writableFinished)));
    });
  }, { client: async (side) => { side.client.send(GET); await side.noted('later'); return side.settled(); } });
}

// ---- pipes and slow clients ----------------------------------------------------------------------------------------

add('pipe of a Readable', (req, res, { watch }) => { watch(req, res); stream.Readable.from(['a', 'b', 'c']).pipe(res); });
add('pipeline of a large Readable', (req, res, { note, watch }) => {
  watch(req, res);
  let count = 0;
  const source = new stream.Readable({ highWaterMark: 16384, read() { this.push(count++ < 20 ? Buffer.alloc(10000, 97 + count) : null); } });
  stream.pipeline(source, res, (error) => note('pipeline', error ?? 'fine'));
}, { client: async (side) => [brief(await side.request(GET))], but: ({ notes }) => notes.splice(0, notes.length, ...notes.filter((text) => text !== 'res drain')) });
add('pipeline whose source fails', (req, res, { note, watch }) => {
  watch(req, res);
  const source = new stream.Readable({ read() {} });
  source.push('part');
  setImmediate(() => source.destroy(new Error('source')));
  stream.pipeline(source, res, (error) => note('pipeline', error));
}, { client: (side) => side.probe(GET) });
add('a file', (req, res, { fs, note }) => { fs.createReadStream(__filename).pipe(res).on('finish', () => note('finish')); }, { client: async (side) => [brief(await side.request(GET))] });
add('a slow client holds a large write back', (req, res, { note, watch }) => {
  watch(req, res);
  res.setHeader('Content-Length', 4 * MB);
  note('write', res.write(Buffer.alloc(4 * MB, 'x'), () => note('callback', of(res))), of(res));
  setImmediate(() => setImmediate(() => note('waiting', res.writableNeedDrain, res.writableLength > 0)));
  res.on('drain', () => res.end(() => note('end callback')));
}, { group: 'unix', client: slowly });
add('a slow client holds the end back', (req, res, { note, watch }) => {
  watch(req, res);
  res.end(Buffer.alloc(4 * MB, 'x'), () => note('end callback', of(res)));
  setImmediate(() => setImmediate(() => note('waiting', res.writableEnded, res.writableFinished, res.writableLength > 0)));
}, { group: 'unix', client: slowly });
add('a slow client leaves', (req, res, { note, watch }) => {
  watch(req, res);
  req.socket.on('close', (error) => note('socket close', error));
  res.write(Buffer.alloc(4 * MB, 'x'), (error) => note('callback', error ?? 'fine'));
  res.write('more', (error) => note('second callback', error ?? 'fine'));
  res.end('last', (error) => note('end callback', error ?? 'fine'));
  setImmediate(() => setImmediate(() => note('waiting')));
}, { group: 'unix', client: async (side) => { const client = side.open({ window: false }); client.send(GET); await side.noted('waiting'); client.reset(); await side.noted('socket close'); await side.settle(); },
  // Which error a write ends with depends on whether the kernel had it already.
  but: ({ notes }) => notes.forEach((text, i) => { notes[i] = text.replace(/callback Error .*/, 'callback error'); }) });

async function slowly(side) {
  const client = side.open({ window: false });
  client.send(GET);
  await side.noted('waiting');
  await side.settle();
  side.app.notes.push('the client reads');
  client.readAll();
  await client.received(4 * MB);
  const { text } = await client.answer();
  await side.settle();
  return brief(text);
}

const groups = {
  ...Object.fromEntries([0, 1, 100].map((mark) => [`mark${mark}`, { options: { highWaterMark: mark } }])),
  // The kernel's buffers of a unix socket are small, so a client that does not read is felt early.
  unix: { unix: true },
};

module.exports = { cases, groups };
