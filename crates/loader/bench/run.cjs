'use strict';

// Owns the measurement: CPU of all threads of a worker per request, behind frames and alone (driven by
// `wrk`), in interleaved rounds of fresh processes; worker on core 1, load on core 0.
//   node bench/run.cjs [app] [--rounds N] [--streams N] [--headers few|browser] [--node PATH]
// Must never know: what the loader does.

const { execFile, spawn } = require('child_process');
const { once } = require('events');
const fs = require('fs');
const os = require('os');
const path = require('path');
const { promisify } = require('util');

const options = { rounds: 3, streams: 64, headers: 'few', node: process.execPath, ms: 3000, only: '', flags: '' };
const apps = [];
for (let i = 2; i < process.argv.length; i++) {
  const word = process.argv[i];
  if (word.startsWith('--')) options[word.slice(2)] = process.argv[++i];
  else apps.push(word);
}
if (apps.length === 0) apps.push('hello', 'json');

const FEW = [['Host', '127.0.0.1:3000']];
const BROWSER = [
  ['Host', 'example.com'], ['Connection', 'keep-alive'], ['Cache-Control', 'max-age=0'],
  ['Upgrade-Insecure-Requests', '1'],
  ['User-Agent', 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36'],
  ['Accept', 'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8'],
  ['Sec-Fetch-Site', 'none'], ['Sec-Fetch-Mode', 'navigate'], ['Sec-Fetch-User', '?1'], ['Sec-Fetch-Dest', 'document'],
  ['Referer', 'https://example.com/'], ['Accept-Encoding', 'gzip, deflate, br'], ['Accept-Language', 'en-GB,en;q=0.9'],
  ['Cookie', 'session=0123456789abcdef; theme=dark'],
];
const headers = options.headers === 'browser' ? BROWSER : FEW;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Run time of all threads in ns. */
function cpu(pid) {
  let sum = 0n;
  for (const task of fs.readdirSync(`/proc/${pid}/task`)) {
    sum += BigInt(fs.readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]);
  }
  return Number(sum);
}

function pinned(core, command, args, extra) {
  return spawn('taskset', ['-c', String(core), command, ...args], extra);
}

async function behindFrames(app) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'hostler-bench-'));
  const shard = path.join(folder, 'shard.sock');
  const front = pinned(0, process.execPath, [path.join(__dirname, 'front.cjs'), shard, String(options.streams), JSON.stringify(headers)],
    { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(front.stdout, 'data');
  const nodeArgs = options.flags ? options.flags.split(' ') : [];
  const worker = pinned(1, options.node, ['--require', path.join(__dirname, '../js/preload.cjs'), ...nodeArgs, app], {
    cwd: folder,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: {
      ...process.env, PORT: '3000',
      HOSTLER_WORKER: JSON.stringify({
        protocol: require('../js/constants.cjs').PROTOCOL, parent_pid: process.pid, worker: 1, app: 'bench', slot: 0, transport: 'frames', channels: [shard],
        plain: path.join(folder, 'plain.sock'), ...(process.env.LOADER_EXTRA ? JSON.parse(process.env.LOADER_EXTRA) : {}),
      }),
    },
  });
  const count = async () => {
    front.stdin.write('x');
    return JSON.parse(await once(front.stdout, 'data').then(String));
  };
  await sleep(2000);
  const before = await count();
  const from = cpu(worker.pid);
  await sleep(Number(options.ms));
  const after = await count();
  const ns = cpu(worker.pid) - from;
  const exited = once(worker, 'exit');
  worker.kill('SIGINT');
  front.stdin.end();
  await exited;
  if (options.flags) for (const f of fs.readdirSync(folder).filter((f) => f.endsWith('profile'))) fs.copyFileSync(path.join(folder, f), path.join(os.tmpdir(), `loader.${f.split('.').pop()}`));
  fs.rmSync(folder, { recursive: true, force: true });
  const requests = after.requests - before.requests;
  return { us: ns / 1000 / requests, rate: requests / (Number(BigInt(after.ns) - BigInt(before.ns)) / 1e9) };
}

async function alone(app) {
  const port = 20000 + (process.pid % 20000);
  const worker = pinned(1, options.node, [app], { stdio: ['ignore', 'inherit', 'inherit'], env: { ...process.env, PORT: String(port) } });
  await sleep(500);
  const lines = headers.slice(1).flatMap(([name, value]) => ['-H', `${name}: ${value}`]);
  const wrk = (seconds) => promisify(execFile)('taskset',
    ['-c', '0', 'wrk', '-t1', `-c${options.streams}`, `-d${seconds}`, ...lines, `http://127.0.0.1:${port}/`]);
  await wrk(2);
  const from = cpu(worker.pid);
  const { stdout } = await wrk(Math.round(options.ms / 1000));
  const ns = cpu(worker.pid) - from;
  const exited = once(worker, 'exit');
  worker.kill();
  await exited;
  const requests = Number(/(\d+) requests in/.exec(stdout)[1]);
  return { us: ns / 1000 / requests, rate: Number(/Requests\/sec: +([\d.]+)/.exec(stdout)[1]) };
}

const median = (list) => list.sort((a, b) => a - b)[list.length >> 1];

async function main() {
  for (const name of apps) {
    const app = fs.existsSync(name) ? path.resolve(name) : path.join(__dirname, 'apps', `${name}.cjs`);
    const us = { alone: [], frames: [] };
    const rate = { alone: [], frames: [] };
    for (let round = 0; round < options.rounds; round++) {
      for (const [kind, run] of [['alone', alone], ['frames', behindFrames]]) {
        if (options.only && options.only !== kind) continue;
        const one = await run(app);
        us[kind].push(one.us);
        rate[kind].push(one.rate);
      }
    }
    const figures = [];
    for (const kind of ['alone', 'frames']) {
      if (us[kind].length) figures.push(`${kind} ${median(us[kind]).toFixed(2)} us/request, ${Math.round(median(rate[kind]))}/s`);
    }
    const ratio = options.only ? '' : `   ratio ${(median(us.frames) / median(us.alone)).toFixed(3)}`;
    console.log(`${path.basename(name).padEnd(12)} ${figures.join('   ')}${ratio}`);
  }
}

main();
