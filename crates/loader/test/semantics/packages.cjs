'use strict';
// Packages of others that patch, wrap or imitate Node's http. (Their own test suites: `cargo xtask compat`.)

const path = require('path');
const { createRequire } = require('module');

const load = createRequire(path.join(__dirname, '../../../../tests/fixtures/package.json'));
const HOST = ['Host', 'h'];
const get = (target, ...headers) => ({ target, headers: [HOST, ...headers] });
const post = (target, body, ...headers) => ({ method: 'POST', target, headers: [HOST, ['Content-Length', String(body.length)], ...headers], body });
const asks = (...requests) => async (side) => {
  const answers = [];
  for (const request of requests) answers.push(await side.request(request));
  return answers;
};

const cases = {};
const groups = {};

// ---- OpenTelemetry ------------------------------------------------------------------------------------------

let tracing;
groups.otel = {
  before() {
    const api = load('@opentelemetry/api');
    const { AsyncLocalStorageContextManager } = load('@opentelemetry/context-async-hooks');
    const { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } = load('@opentelemetry/sdk-trace-base');
    const { HttpInstrumentation } = load('@opentelemetry/instrumentation-http');
    const exporter = new InMemorySpanExporter();
    const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
    api.context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    api.trace.setGlobalTracerProvider(provider);
    new HttpInstrumentation({ requireParentforOutgoingSpans: true }).setTracerProvider(provider);
    require('http'); // patched now
    tracing = { api, exporter, tracer: provider.getTracer('app') };
  },
};

/** Notes the spans of what came since the last time. */
function spans(note) {
  const finished = tracing.exporter.getFinishedSpans();
  const names = new Map(finished.map((span) => [span.spanContext().spanId, span.name]));
  for (const { name, kind, status, attributes, events, parentSpanContext } of finished) {
    const known = Object.entries(attributes).filter(([key]) => !/port|ip|user_agent|address|host/.test(key)).sort();
    note(name, kind, status, known, events.map((event) => event.name), `child of ${names.get(parentSpanContext?.spanId) ?? 'nobody'}`);
  }
  tracing.exporter.reset();
}
const traced = (name, app, more = {}) => {
  cases[`OpenTelemetry: ${name}`] = {
    group: 'otel', client: asks(get('/a'), post('/b', 'some'), get('/c')), ...more,
    app(req, res, tools) {
      res.on('close', () => setImmediate(spans, tools.note));
      return app(req, res, tools);
    },
  };
};
const active = () => tracing.api.trace.getActiveSpan()?.name ?? 'none';
traced('a span per request', (req, res) => { req.resume(); res.statusCode = 201; res.end('x'); });
traced('the span is there in every callback', (req, res, { note }) => {
  note('handler', active());
  process.nextTick(() => note('tick', active()));
  setImmediate(() => note('immediate', active()));
  req.on('data', () => note('data', active())).on('end', () => {
    note('end', active());
    tracing.tracer.startActiveSpan('work', (span) => setTimeout(() => { note('timeout', active()); span.end(); res.end('x'); }, 1));
  });
  res.on('finish', () => note('finish', active())).on('close', () => note('close', active()));
});
traced('errors and aborts', (req, res, { note }) => {
  if (req.url === '/500') { res.statusCode = 500; res.end('x'); } else if (req.url === '/throws') throw new Error('mine');
  else note('started');
}, {
  async client(side) {
    const first = await side.request(get('/500'));
    const other = side.open();
    other.send(get('/hangs'));
    await side.noted('started');
    other.reset();
    await side.settle();
    return first;
  },
});
traced('a trace that comes with the request', (req, res, { note }) => {
  note(tracing.api.trace.getActiveSpan()?.spanContext().traceId);
  res.end('x');
}, { client: asks(get('/', ['traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'])), but: ({ notes }) => notes.forEach((text, i) => { if (/^[0-9a-f]{32}$/.test(text)) notes[i] = 'id'; }) });

// ---- injection ------------------------------------------------------------------------------------------------

const app = (req, res) => { let body = ''; req.on('data', (chunk) => { body += chunk; }).on('end', () => { res.setHeader('X-App', 'yes'); res.end(`${req.method} ${req.url} ${body} ${typeof req.socket.remoteAddress}`); }); };
cases['supertest of a function'] = {
  async app(req, res, { note }) {
    const supertest = load('supertest');
    const answer = await supertest(app).post('/inner').send('text').expect('X-App', 'yes').expect(200);
    note(answer.status, answer.text);
    res.end('x');
  },
};
cases['supertest of the server'] = {
  async app(req, res, { note, server }) {
    if (req.url === '/inner') return void app(req, res);
    const answer = await load('supertest')(require('http').createServer(app)).get('/inner');
    note(answer.status, answer.text, server.listening);
    res.end('x');
  },
};
cases['light-my-request'] = {
  async app(req, res, { note }) {
    const inject = load('light-my-request');
    const answer = await inject(app, { method: 'POST', url: '/inner', payload: 'text', remoteAddress: '1.2.3.4' });
    note(answer.statusCode, answer.payload, answer.headers['x-app'], answer.rawPayload.length);
    const streamed = await inject((request, response) => { response.write('a'); setImmediate(() => response.end('b')); }, { method: 'GET', url: '/' });
    note(streamed.payload, streamed.headers['transfer-encoding']);
    res.end('x');
  },
};

// ---- frameworks -------------------------------------------------------------------------------------------------

const framework = (name, make, requests) => {
  let ready;
  cases[name] = { app: async (req, res, tools) => { tools.watch(req, res); (await (ready ??= make(tools)))(req, res); }, client: asks(...requests) };
};
const json = (target, value) => post(target, JSON.stringify(value), ['Content-Type', 'application/json']);
const REQUESTS = [get('/'), get('/nowhere'), json('/json', { a: 1 }), post('/json', '{bad', ['Content-Type', 'application/json']), get('/throws'), get('/stream'),
  { ...get('/'), method: 'HEAD' }, { ...get('/'), method: 'OPTIONS' }, get('/etag'), get('/redirect'), get('/about')];
const FILES = [get('/file'), get('/file', ['Range', 'bytes=0-9']), { ...get('/file'), method: 'HEAD' }];
framework('Express', () => {
  const express = load('express');
  const made = express();
  made.use(express.json());
  made.set('trust proxy', false);
  made.set('env', 'production'); // no stacks: below a tick they name `processTicksAndRejections` with its receiver or without
  made.get('/', (req, res) => res.send(`hello ${req.ip === req.socket.remoteAddress} ${req.protocol} ${req.secure} ${req.hostname} ${req.fresh} ${req.xhr}`));
  made.post('/json', (req, res) => res.status(201).json({ got: req.body }));
  made.get('/throws', () => { throw Object.assign(new Error('mine'), { status: 418, expose: true, stack: 'no stack' }); });
  made.get('/stream', (req, res) => { res.type('text').write('a'); setImmediate(() => res.end('b')); });
  made.get('/etag', (req, res) => res.json({ same: 'always' }));
  made.get('/redirect', (req, res) => res.redirect('/'));
  made.get('/about', (req, res) => res.set('X-A', ['1', '2']).cookie('a', 'b').vary('Accept').format({ html: () => res.send('<p>'), json: () => res.json({}) }));
  made.get('/file', (req, res) => res.sendFile(path.join(__dirname, 'host.cjs'), { lastModified: false, etag: false }));
  return made;
}, [...REQUESTS, ...FILES]);
framework('Koa', () => {
  const Koa = load('koa');
  const made = new Koa();
  made.silent = true;
  made.use(async (context) => {
    if (context.path === '/throws') context.throw(418, 'mine');
    if (context.path === '/redirect') return context.redirect('/');
    if (context.path === '/stream') context.body = require('stream').Readable.from(['a', 'b']);
    else if (context.path === '/json') { let body = ''; for await (const chunk of context.req) body += chunk; context.body = { body, length: context.request.length }; } else if (context.path === '/') context.body = `hello ${context.ip === context.socket.remoteAddress} ${context.protocol} ${context.host}`;
    else if (context.path === '/etag') { context.body = 'x'; context.etag = 'tag'; context.cookies.set('a', 'b'); }
  });
  return made.callback();
}, REQUESTS);
framework('Fastify', async ({ http }) => {
  let listener;
  const made = load('fastify')({ serverFactory: (handler) => { listener = handler; return http.createServer(handler); } });
  made.get('/', (request) => `hello ${request.ip === request.socket.remoteAddress} ${request.protocol} ${request.hostname}`);
  made.post('/json', async (request, reply) => reply.code(201).send({ got: request.body }));
  made.get('/throws', async () => { throw Object.assign(new Error('mine'), { statusCode: 418 }); });
  made.get('/stream', (request, reply) => reply.type('text/plain').send(require('stream').Readable.from(['a', 'b'])));
  made.get('/redirect', (request, reply) => reply.redirect('/'));
  made.get('/raw', (request, reply) => { reply.hijack(); reply.raw.end('raw'); });
  await made.ready();
  return listener;
}, [...REQUESTS, get('/raw')]);

module.exports = { cases, groups };
