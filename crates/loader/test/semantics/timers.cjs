'use strict';
// Time-outs that run in the worker: `req`, `res`, `socket` and `server.setTimeout`, `server.timeout`. Cases wait for events, never for time: where
// nothing may happen, it is something later that is waited for.

const HOST = ['Host', 'h'];
const GET = { target: '/', headers: [HOST] };
const half = { method: 'POST', target: '/', headers: [HOST, ['Content-Length', '6']], body: 'one', end: false };
const MB = 1024 * 1024;
const SOON = 15;
/** Of a server: its time begins with the connection, and the request must be there before it is over, on a busy machine too. */
const LATER = 250;

const cases = {};
const add = (name, app, more = {}) => { cases[name] = { app, client: async (side) => [await side.request(GET), await side.request(GET)], ...more }; };

/** Notes every time-out and what it does to the rest. */
function watched(req, res, { note, watch }) {
  watch(req, res);
  req.socket.on('close', (error) => note('socket close', error));
}
const closed = async (side) => { side.client.send(GET); const text = await side.client.closed(); await side.noted('socket close'); return text; };

for (const [name, set] of Object.entries({
  'req.setTimeout': (req, _res, callback) => req.setTimeout(SOON, callback),
  'res.setTimeout': (_req, res, callback) => res.setTimeout(SOON, callback),
  'socket.setTimeout': (req, _res, callback) => req.socket.setTimeout(SOON, callback),
})) {
  add(`${name} with a callback`, (req, res, tools) => {
    const { note } = tools;
    watched(req, res, tools);
    const value = set(req, res, (...args) => {
      note('callback', args.length, args[0] === req.socket, req.socket.timeout, req.socket.destroyed);
      req.socket.setTimeout(0);
      res.end('late');
    });
    note(value === req || value === res || value === req.socket, req.socket.timeout);
  }, { client: name === 'req.setTimeout' || name === 'socket.setTimeout' ? closed : undefined });
  add(`${name} with a callback, in the middle of the body`, (req, res, tools) => {
    const { note } = tools;
    watched(req, res, tools);
    req.resume();
    set(req, res, () => { note('callback', req.complete); req.socket.setTimeout(0); res.end('late'); });
  }, { client: name === 'socket.setTimeout' ? async (side) => { side.client.send(half); const text = await side.client.closed(); await side.noted('socket close'); return text; } :
    async (side) => { side.client.send(half); const first = await side.client.answer(); side.client.body('two').endBody(); await side.noted('req close'); return first.text; } });
  add(`${name}, nobody listens`, (req, res, tools) => { watched(req, res, tools); set(req, res); }, { client: closed });
  add(`${name}, listeners everywhere`, (req, res, tools) => {
    const { note } = tools;
    watched(req, res, tools);
    set(req, res);
    req.on('timeout', (socket) => note('req', socket === req.socket));
    res.on('timeout', (socket) => { note('res', socket === res.socket); req.socket.setTimeout(0); res.end('late'); });
    req.socket.on('timeout', () => note('socket'));
  }, { server(server, { on, note }) { on(server, 'timeout', (socket) => note('server', socket.timeout)); } });
  add(`${name}, answered in time`, (req, res, { note }) => {
    set(req, res, () => note('never'));
    res.end('x');
    const { socket } = req;
    // The keep-alive time takes the place of the time-out; a later timer is the proof that it did not come.
    setImmediate(() => setImmediate(() => note(socket.timeout)));
    setTimeout(() => note('later'), 4 * SOON);
  }, { client: async (side) => { const first = await side.request(GET); await side.noted('later'); return first; } });
  add(`${name} 0 takes it back`, (req, res, { note }) => {
    set(req, res, () => note('never'));
    req.socket.setTimeout(0);
    setTimeout(() => { note(req.socket.timeout); res.end('x'); }, 4 * SOON);
  });
}
add('the head of the answer, then nothing', (req, res, tools) => { watched(req, res, tools); res.write('part'); res.setTimeout(SOON); }, { client: closed });
add('the client in the middle of the answer', (req, res, tools) => {
  watched(req, res, tools);
  res.setTimeout(SOON, () => { tools.note('callback', res.headersSent); res.destroy(); });
  res.write('part');
}, { client: closed });
add('writes refresh it', (req, res, tools) => {
  const { note } = tools;
  watched(req, res, tools);
  res.setTimeout(200, () => note('never'));
  let count = 0;
  const timer = setInterval(() => { res.write('x'); if (++count === 10) { clearInterval(timer); res.end(); } }, 40);
}, { client: async (side) => [await side.request(GET)] });
add('bytes of the body refresh it', (req, res, tools) => {
  const { note } = tools;
  watched(req, res, tools);
  req.setTimeout(200, () => note('never'));
  let count = 0;
  req.on('data', () => note('data', ++count)).on('end', () => { req.socket.setTimeout(0); res.end('x'); });
}, {
  async client(side) {
    side.client.send({ ...half, headers: [HOST, ['Content-Length', '11']], body: 'x' });
    for (let i = 1; i <= 10; i++) {
      await side.noted(`data ${i}`);
      await new Promise((resolve) => setTimeout(resolve, 40));
      side.client.body('x');
    }
    side.client.endBody();
    return (await side.client.answer()).text;
  },
});
add('a time-out of the socket lives as long as the request', (req, res, { note }) => {
  note(req.socket.timeout);
  if (req.socket.timeout === undefined) req.socket.setTimeout(60000);
  res.end('x');
});
add('callbacks pile up and are called once', (req, res, { note }) => {
  const { socket } = req;
  const callback = () => note('callback');
  socket.setTimeout(SOON, callback);
  socket.setTimeout(SOON, callback);
  socket.setTimeout(SOON, () => { note('third'); socket.setTimeout(0, callback); note(socket.listenerCount('timeout')); res.end('x'); });
});
add('a slow client', (req, res, tools) => {
  const { note } = tools;
  watched(req, res, tools);
  res.setTimeout(SOON, () => { note('timeout', res.writableLength > 0); res.destroy(); });
  res.end(Buffer.alloc(4 * MB));
}, {
  group: 'unix',
  async client(side) { const client = side.open({ window: false }); client.send(GET); await side.noted('timeout'); await side.noted('socket close'); },
  but(outcome) { outcome.connections = []; }, // a client that does not read does not hear of the end
});

for (const [group, more] of [['timeout', {}], ['setTimeout', {}]]) {
  add(`server.${group}, nobody answers`, watched, { group, client: closed });
  add(`server.${group}, with a listener`, (req, res, tools) => watched(req, res, tools), {
    group, client: async (side) => [await side.request(GET)],
    server(server, { on, note }) { on(server, 'timeout', (socket) => { note('server timeout', socket.timeout, socket._httpMessage !== null); socket.setTimeout(0); socket._httpMessage.end('by the server'); }); }, ...more });
  add(`server.${group}, res has a listener`, (req, res, tools) => {
    watched(req, res, tools);
    res.on('timeout', () => { tools.note('res timeout'); res.end('by the response'); });
  }, { group, client: async (side) => [await side.request(GET), await side.request(GET)] });
  add(`server.${group}, the request sets its own`, (req, res, tools) => {
    watched(req, res, tools);
    tools.note(req.socket.timeout);
    res.setTimeout(60000);
    setTimeout(() => res.end('x'), 2 * LATER);
  }, { group });
}
add('server.setTimeout after the connection', (req, res, tools) => {
  watched(req, res, tools);
  tools.server.setTimeout(req.url === '/2' ? 0 : SOON);
  tools.note(req.socket.timeout);
  tools.later(() => tools.server.setTimeout(0));
  if (req.url === '/') res.end('x');
}, { client: async (side) => { const first = await side.request(GET); side.client.send({ ...GET, target: '/2' }); await side.client.closed(); await side.noted('socket close'); return first; } });

const groups = {
  timeout: { set: { timeout: LATER } },
  setTimeout: { before({ http }) { const { createServer } = http; http.createServer = (...args) => createServer(...args).setTimeout(LATER); } },
  unix: { unix: true },
};

module.exports = { cases, groups };
