'use strict';
// Bodies of requests: read, half read, not read; the ends that a request can come to.

const stream = require('stream');

const HOST = ['Host', 'h'];
const post = (body, rest = {}) =>
  ({ method: 'POST', target: '/', headers: [HOST, ['Content-Length', String(rest.length ?? body.length)]], body, ...rest });
const chunked = (body, rest = {}) => ({ method: 'POST', target: '/', headers: [HOST, ['Transfer-Encoding', 'chunked']], body, ...rest });
const GET = { target: '/', headers: [HOST] };

const state = (req) => [req.complete, req.readableEnded, req.readableAborted, req.readableDidRead, req.readableFlowing, req.readableLength, req.destroyed,
  req.closed, req.aborted, req.errored?.message, req._consuming, req._dumped, req.isPaused()];
const stateOf = (res) => [res.writableEnded, res.writableFinished, res.destroyed, res.closed, res.finished, res.headersSent, res.errored?.message, res.socket === null];

const asks = (...requests) => async (side) => {
  const answers = [];
  for (const request of requests) answers.push(await side.request(request));
  return answers;
};

/** A body in three pieces, each sent when the app has noted the one before. */
const pieces = (note = 'data', make = post) => async (side) => {
  side.client.send(make('one', { length: 11, end: false }));
  await side.noted(`${note} one`);
  side.client.body('two');
  await side.noted(`${note} two`);
  side.client.body('three').endBody();
  return [(await side.client.answer()).text, await side.request(GET)];
};

/** The client sends half a body and then does something else. */
const half = (then, until = 'started') => async (side) => {
  side.client.send(post('half', { length: 100, end: false }));
  await side.noted(until);
  return then(side);
};
const fin = half(async (side) => {
  side.client.half();
  await side.noted('req close');
  return side.client.closed();
});
const rst = half(async (side) => {
  side.client.reset();
  await side.noted('req close');
});

const cases = {};

// ---- reading --------------------------------------------------------------------------------------------

function reads(req, res, { note, watch }) {
  watch(req, res);
  note('state', state(req));
  req.on('data', (chunk) => note('data', chunk.toString(), chunk.constructor.name, state(req)));
  req.on('end', () => {
    note('state', state(req), req.socket === req.client);
    res.end('answer');
    note('ended', state(req), stateOf(res));
    setImmediate(() => note('later', state(req), stateOf(res)));
  });
}
cases['data events'] = { app: reads, client: asks(post('some body'), chunked('some body'), post('more')) };
cases['data events, in pieces'] = { app: reads, client: pieces() };
cases['data events, in chunked pieces'] = { app: reads, client: pieces('data', chunked) };
cases['data events, chunks at once'] = {
  app: reads,
  async client(side) {
    side.client.send(chunked('one', { end: false }));
    side.client.body('two').body('three').endBody();
    return [(await side.client.answer()).text, await side.request(GET)];
  },
};
cases['data events, answered before the end'] = {
  app(req, res, { note, watch }) {
    watch(req, res);
    req.on('data', (chunk) => {
      note('data', chunk.toString());
      if (chunk.length === 3) res.end('early');
    });
  },
  async client(side) {
    side.client.send(post('one', { length: 12, end: false }));
    const first = (await side.client.answer()).text;
    side.client.body('second').body('two').endBody();
    await side.noted('data two');
    await side.noted('req close');
    return first;
  },
};
cases['readable and read'] = {
  app(req, res, { note, watch }) {
    watch(req, res);
    req.on('readable', () => {
      let chunk;
      while ((chunk = req.read()) !== null) note('data', chunk.toString());
    });
    req.on('end', () => res.end('answer'));
  },
  client: pieces(),
};
cases['read(n) and unshift'] = {
  app(req, res, { note, watch }) {
    watch(req, res);
    let unshifted = false;
    req.on('readable', () => {
      let chunk;
      while ((chunk = req.read(2)) !== null) {
        note('read', chunk.toString());
        if (!unshifted) req.unshift(Buffer.from('+'));
        unshifted = true;
      }
    });
    req.on('end', () => res.end('answer'));
  },
  client: asks(post('some body'), post('x')),
};
cases['setEncoding over a split character'] = {
  app(req, res, { note }) {
    req.setEncoding('utf8');
    req.on('data', (text) => note('data', text)).on('end', () => res.end());
  },
  async client(side) {
    side.client.send({ method: 'POST', target: '/', headers: [HOST, ['Content-Length', '4']], body: '', end: false });
    side.client.body('a\xc3');
    await side.noted('data a');
    side.client.body('\xa9b').endBody();
    return (await side.client.answer()).text;
  },
};
cases['async iteration'] = {
  async app(req, res, { note, watch }) {
    watch(req, res);
    for await (const chunk of req) note('data', chunk.toString());
    res.end('answer');
  },
  client: pieces(),
};
for (const [name, request] of [['of a whole body', post('some body')], ['without a body', GET]]) {
  cases[`async iteration ${name}, left early`] = {
    async app(req, res, { note, watch }) {
      watch(req, res);
      for await (const chunk of req) {
        note('data', chunk.toString());
        break;
      }
      note('left', state(req));
      res.end('answer', () => note('end callback'));
    },
    client: async (side) => [await side.request(request)],
  };
}
cases['async iteration of half a body, left early'] = {
  async app(req, res, { note, watch }) {
    watch(req, res);
    for await (const chunk of req) {
      note('data', chunk.toString());
      break;
    }
    note('left', state(req), req.socket?.destroyed);
    res.end('answer');
  },
  client: half((side) => side.settled(), 'left'),
};
cases['async iteration, the client leaves'] = {
  async app(req, res, { note, watch }) {
    watch(req, res);
    try {
      for await (const chunk of req) note('data', chunk.toString(), 'started');
    } catch (error) {
      note('caught', error, state(req));
    }
  },
  client: fin,
};
cases['pipe to the response'] = { app(req, res, { watch }) { watch(req, res); req.pipe(res); }, client: asks(post('some body'), chunked('x'), GET) };
cases['pipeline to the response'] = {
  app(req, res, { note, watch }) {
    watch(req, res);
    stream.pipeline(req, res, (error) => note('pipeline', error ?? 'fine', state(req), stateOf(res)));
  },
  client: asks(post('some body'), GET),
};
cases['pipeline through a transform that fails'] = {
  app(req, res, { note, watch }) {
    watch(req, res);
    const broken = new stream.Transform({ transform(_chunk, _encoding, callback) { callback(new Error('broken')); } });
    stream.pipeline(req, broken, res, (error) => note('pipeline', error, state(req), stateOf(res)));
  },
  client: async (side) => [await side.request(post('some body'))],
};
cases['pipe to a slow writer: pause and resume'] = {
  app(req, res, { note, watch }) {
    watch(req, res);
    const slow = new stream.Writable({ highWaterMark: 2, write(chunk, _encoding, callback) { note('data', chunk.toString()); setImmediate(callback); } });
    req.pipe(slow).on('finish', () => res.end('answer'));
  },
  client: pieces(),
};
cases['pause at once, resume later'] = {
  app(req, res, { note, watch }) {
    watch(req, res);
    req.on('data', (chunk) => note('data', chunk.toString()));
    req.on('end', () => res.end('answer'));
    req.pause();
    note('paused', state(req));
    setImmediate(() => setImmediate(() => { req.resume(); note('resumed', state(req)); }));
  },
  client: asks(post('some body'), chunked('some'), GET),
};
cases['a body larger than the high-water mark'] = {
  app(req, res, { note }) {
    let length = 0;
    req.on('data', (chunk) => { length += chunk.length; });
    req.on('end', () => { note('length', length); res.end('answer'); });
  },
  client: asks(post('b'.repeat(200000)), chunked('c'.repeat(200000))),
};
cases['a large body that waits for its reader'] = {
  app(req, res, { note }) {
    setImmediate(() => setImmediate(async () => {
      let length = 0;
      for await (const chunk of req) length += chunk.length;
      note('length', length);
      res.end('answer');
    }));
  },
  client: asks(post('b'.repeat(150000)), GET),
};
cases['toArray and other iterator helpers'] = {
  async app(req, res) {
    const chunks = await req.map((chunk) => chunk.toString().toUpperCase()).toArray();
    res.end(chunks.join(''));
  },
  client: asks(post('some body'), GET),
};

// ---- not reading ------------------------------------------------------------------------------------------

for (const [name, request] of [['a body', post('unread')], ['a chunked body', chunked('unread')], ['no body', GET],
  ['a body of no bytes', post('')], ['a chunked body of no bytes', chunked('')]]) {
  cases[`${name} that nobody reads`] = {
    app(req, res, { note, watch }) {
      watch(req, res);
      res.end('answer', () => note('end callback', state(req)));
      setImmediate(() => setImmediate(() => note('later', state(req), stateOf(res))));
    },
    client: asks(request, GET),
  };
  cases[`${name} that nobody reads, answered later`] = {
    app(req, res, { note, watch }) {
      watch(req, res);
      setImmediate(() => {
        note('before', state(req));
        res.end('answer');
        setImmediate(() => setImmediate(() => note('later', state(req), stateOf(res))));
      });
    },
    client: asks(request, GET),
  };
}
cases['a large body that nobody reads'] = { app(_req, res) { res.end('answer'); }, client: asks(post('u'.repeat(100000)), chunked('u'.repeat(100000)), GET) };
cases['one chunk is read, then nothing'] = {
  app(req, res, { note, watch }) {
    watch(req, res);
    req.once('data', (chunk) => {
      note('data', chunk.toString());
      req.pause();
      res.end('answer');
    });
  },
  async client(side) {
    side.client.send(post('one', { length: 6, end: false }));
    const first = (await side.client.answer()).text;
    side.client.body('two').endBody();
    return first;
  },
};
cases['the answer ends, the body comes later'] = {
  app(req, res, { watch }) { watch(req, res); res.end('answer'); },
  async client(side) {
    side.client.send(post('one', { length: 6, end: false }));
    const first = (await side.client.answer()).text;
    side.client.body('two').endBody();
    await side.noted('req close');
    return [first, await side.request(GET)];
  },
};
cases['the answer ends and closes, the body never comes'] = {
  app(req, res, { watch }) { watch(req, res); res.setHeader('Connection', 'close'); res.end('answer'); },
  client: half((side) => side.client.closed(), 'res finish'),
};

// ---- ends -----------------------------------------------------------------------------------------------

const waits = (req, res, { note, watch }) => {
  watch(req, res);
  req.socket.on('end', () => note('socket end')).on('close', (error) => note('socket close', error));
  req.on('data', (chunk) => note('data', chunk.toString()));
  note('started');
};
cases['FIN in the middle of a body'] = { app: waits, client: fin };
cases['FIN in the middle of a body, clientError'] = {
  app: waits, client: fin,
  server(server, { on, note }) {
    on(server, 'clientError', (error, socket) => {
      note('clientError', error, error.reason, error.bytesParsed, socket.writable, socket.readable);
      socket.end('HTTP/1.1 499 Mine\r\n\r\n');
    });
  },
};
cases['FIN in the middle of a body that nobody reads'] = { app(req, res, { note, watch }) { watch(req, res); note('started'); }, client: fin };
cases['FIN in the middle of a body, after the head of the answer'] = { app(req, res, tools) { waits(req, res, tools); res.write('part'); }, client: fin };
cases['RST in the middle of a body'] = { app: waits, client: rst };
cases['RST in the middle of a body, clientError'] = {
  app: waits, client: rst,
  server(server, { on, note }) {
    on(server, 'clientError', (error, socket) => {
      note('clientError', error, error.errno, error.syscall, socket.writable, socket.destroyed);
      socket.destroy(error);
    });
  },
};
for (const [name, leave, end] of [['FIN', 'half', 'res close'], ['RST', 'reset', 'req close']]) {
  cases[`${name} while the handler works`] = {
    app(req, res, tools) { waits(req, res, tools); setImmediate(() => tools.note('state', state(req))); },
    async client(side) {
      side.client.send(GET);
      await side.noted('state');
      side.client[leave]();
      await side.noted(end);
      if (leave === 'half') return side.client.closed();
    },
  };
  cases[`${name} in the middle of the answer`] = {
    app(req, res, tools) { waits(req, res, tools); res.write('part'); },
    async client(side) {
      side.client.send(GET);
      await side.client.upTo('part');
      side.client[leave]();
      await side.noted(end);
      if (leave === 'half') return side.client.closed();
    },
  };
  cases[`${name} between two requests`] = {
    app(req, res, tools) { tools.watch(req, res); if (req.url === '/') req.socket.on('end', () => tools.note('socket end')).on('close', (error) => tools.note('socket close', error)); res.end('answer'); },
    async client(side) {
      const first = await side.request(GET);
      side.client[leave]();
      await side.noted('socket close');
      return first;
    },
  };
}
cases['FIN after the request, httpAllowHalfOpen'] = {
  group: 'halfOpen',
  app(req, res, tools) {
    waits(req, res, tools);
    req.socket.on('end', () => setImmediate(() => res.end('answer')));
  },
  async client(side) {
    side.client.send(GET);
    await side.noted('started');
    side.client.half();
    return side.client.closed();
  },
};
cases['FIN between two requests, httpAllowHalfOpen'] = {
  group: 'halfOpen',
  app(req, res, tools) { waits(req, res, tools); res.end('answer'); },
  async client(side) {
    const first = await side.request(GET);
    side.client.half();
    return first + await side.client.closed();
  },
};

const destroyers = {
  'req.destroy()': (req) => req.destroy(),
  'req.destroy(error)': (req) => req.destroy(new Error('mine')),
  'res.destroy()': (_req, res) => res.destroy(),
  'res.destroy(error)': (_req, res) => res.destroy(new Error('mine')),
  'socket.destroy()': (req) => req.socket.destroy(),
  'socket.destroy(error)': (req) => req.socket.destroy(new Error('mine')),
  'socket.destroySoon()': (req) => req.socket.destroySoon(),
  'socket.end()': (req) => req.socket.end(),
  'socket.resetAndDestroy()': (req) => req.socket.resetAndDestroy(),
};
const destroyed = (destroy, work) => (req, res, tools) => {
  const { note } = tools;
  waits(req, res, tools);
  const { socket } = req;
  socket.on('error', (error) => note('socket error', error)).on('finish', () => note('socket finish'));
  work(req, res, () => {
    destroy(req, res);
    note('destroyed', state(req), stateOf(res), socket.destroyed, socket.writable, socket.readable, socket.readyState, socket.writableEnded,
      socket.writableFinished, socket.closed, socket.errored?.message);
    setImmediate(() => setImmediate(() => note('later', state(req), stateOf(res), socket.readyState, socket.closed, socket.parser === null)));
  }, tools);
};
/** Waits for what the destroyer does, then answers its FIN. */
const left = async (side) => {
  await side.noted('later');
  const text = await side.settled();
  side.client.half();
  await side.noted('socket close');
  return text;
};
const leaves = (side) => {
  side.client.send(GET);
  return left(side);
};
for (const [name, destroy] of Object.entries(destroyers)) {
  cases[`${name} at once`] = { app: destroyed(destroy, (_req, _res, now) => now()), client: leaves };
  cases[`${name} later`] = { app: destroyed(destroy, (_req, _res, now) => setImmediate(now)), client: leaves };
  cases[`${name} in the middle of the body`] = {
    app: destroyed(destroy, (req, _res, now) => req.once('data', now)),
    client: half(left),
  };
  cases[`${name} in the middle of the answer`] = {
    app: destroyed(destroy, (_req, res, now) => { res.write('part'); setImmediate(now); }),
    client: leaves,
  };
  // Nothing is open then that could carry our FIN: both directions end together, and 'end' is not emitted (README).
  const but = name === 'socket.end()' ? ({ notes }) => notes.splice(notes.indexOf('socket finish') + 1) : undefined;
  cases[`${name} after end()`] = { but, app: destroyed(destroy, (_req, res, now) => { res.end('whole'); now(); }), client: leaves };
  cases[`${name} after finish`] = {
    but,
    app: destroyed(destroy, (req, res, now) => res.end('whole', () => now())),
    client: leaves,
  };
}
cases['req.destroy() after the body, then an answer'] = {
  app(req, res, { note, watch }) {
    watch(req, res);
    req.resume().on('end', () => {
      req.destroy();
      note('destroyed', state(req), req.socket.destroyed);
      setImmediate(() => res.end('answer'));
    });
  },
  client: asks(post('some body'), GET),
};

// ---- orders ------------------------------------------------------------------------------------------------

cases['ticks, microtasks and events of a request'] = {
  app(req, res, { note, watch }) {
    watch(req, res);
    process.nextTick(() => note('tick'));
    Promise.resolve().then(() => note('microtask'));
    setImmediate(() => note('immediate'));
    queueMicrotask(() => process.nextTick(() => note('tick of a microtask')));
    req.on('data', (chunk) => {
      note('data', chunk.toString());
      process.nextTick(() => note('data tick'));
      Promise.resolve().then(() => note('data microtask'));
    });
    req.on('end', () => {
      process.nextTick(() => note('end tick'));
      Promise.resolve().then(() => note('end microtask'));
      res.end('answer');
      note('ended');
    });
  },
  client: asks(post('some'), chunked('some'), GET, post('')),
};
cases['finished on both'] = {
  app(req, res, { note }) {
    stream.finished(res, (error) => note('finished res', error ?? 'fine'));
    stream.finished(req, (error) => note('finished req', error ?? 'fine'));
    stream.finished(req.socket, (error) => note('finished socket', error ?? 'fine'));
    req.resume();
    res.end('answer');
  },
  client: async (side) => [await side.request(post('some')), await side.request({ ...GET, headers: [HOST, ['Connection', 'close']] }), await side.client.closed()],
};
cases['finished on both, the client leaves'] = {
  app(req, res, { note }) {
    stream.finished(res, (error) => note('finished res', error ?? 'fine'));
    stream.finished(req, (error) => note('finished req', error ?? 'fine'));
    stream.finished(req.socket, (error) => note('finished socket', error ?? 'fine'));
    req.resume();
    note('started');
  },
  client: half(async (side) => { side.client.half(); await side.noted('finished', 3); return side.client.closed(); }),
};
cases['req.signal'] = {
  versions: [24, 25],
  app(req, res, { note, watch }) {
    watch(req, res);
    note(typeof req.signal, req.signal?.aborted);
    req.signal?.addEventListener('abort', () => note('signal aborted'));
    if (req.method === 'GET') res.end('answer');
    else note('started');
  },
  client: async (side) => [await side.request(GET), await fin(side)],
};

module.exports = { cases, groups: { halfOpen: { set: { httpAllowHalfOpen: true } } } };
