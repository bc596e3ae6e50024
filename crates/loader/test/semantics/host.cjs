'use strict';

// Owns the app side of a comparison: one http.Server whose listener is the case that the test names on stdin. It runs under
// Node alone and over frames.
//   node host.cjs TOPIC.cjs GROUP     stdin: "case NAME" | "settle" | "end"     stdout: "port N" | "note JSON" | "begun" | "ready" | "settled" | "done"
// Must never know: which of the two it is.

const fs = require('fs');
const http = require('http');
const os = require('os');
const path = require('path');

const [file, groupName] = process.argv.slice(2);
const topic = require(path.resolve(file));
const group = topic.groups?.[groupName] ?? {};
let current = null;
let undo = [];

/** Written at once: the last note before `process.exit` counts too. */
const say = (line) => fs.writeSync(1, `${line}\n`);
const note = (...words) => say(`note ${JSON.stringify(words.map(text).join(' '))}`);

function text(value) {
  if (value instanceof Error) return `${value.name} ${value.code} ${value.message}`;
  return typeof value === 'string' ? value : JSON.stringify(value) ?? String(value);
}

/** Notes of what usually happens to a request and its response. */
function watch(req, res, ...more) {
  for (const name of ['aborted', 'end', 'close', 'pause', 'resume', ...more]) req.on(name, () => note(`req ${name}`));
  req.on('error', (error) => note('req error', error));
  for (const name of ['prefinish', 'finish', 'close', 'drain', 'pipe', 'unpipe']) res.on(name, () => note(`res ${name}`));
  res.on('error', (error) => note('res error', error));
}

/** A listener for one case only. */
function on(emitter, event, listener) {
  emitter.on(event, listener);
  undo.push(() => emitter.removeListener(event, listener));
}

const tools = { note, watch, on, http, fs, later: (work) => undo.push(work) };
process.on('uncaughtException', (error) => note('uncaught', error));
group.before?.(tools);

const server = group.create?.(tools) ?? http.createServer(group.options ?? {});
const listener = (req, res) => {
  if (current === null) return void res.destroy();
  say('begun');
  return current.app(req, res, { ...tools, server });
};
server.on('request', listener);
for (const [name, value] of Object.entries(group.set ?? {})) server[name] = value;
// A folder of this run alone: in a shared one a socket that a killed process with our pid left would be in the way.
const where = path.join(process.env.HOSTLER_TEST_FOLDER ?? os.tmpdir(), `${process.pid}.sock`);
const listen = group.unix ? () => server.listen(where, () => say(`port ${where}`)) :
  () => server.listen(0, '127.0.0.1', () => say(`port ${server.address().port}`));
group.listen ? group.listen(listen, tools) : listen();

let rest = '';
process.stdin.setEncoding('utf8').on('data', (chunk) => {
  const lines = (rest + chunk).split('\n');
  rest = lines.pop();
  for (const line of lines) command(line);
});

function command(line) {
  if (line.startsWith('case ')) {
    current = topic.cases[line.slice(5)];
    current.server?.(server, tools);
    say('ready');
    return;
  }
  settle(8, line === 'end' ? end : () => say('settled'));
}

/** A few turns of the event loop: what a request left behind has happened then. */
function settle(turns, then) {
  if (turns > 0) setImmediate(settle, turns - 1, then);
  else then();
}

function end() {
  current = null;
  for (const work of undo.splice(0)) work();
  say('done');
}
