'use strict';

// Owns the load of the bench: a proxy that keeps N streams of one worker busy with pre-encoded HEAD
// frames and counts the answers. Prints {"requests", "ms"} lines on request (stdin: any byte).
// Must never know: how a worker is started or measured.

const net = require('net');
const C = require('../js/constants.cjs');

const [path, streamsText, headersText] = process.argv.slice(2);
const STREAMS = Number(streamsText);
const { HEAD, HELLO } = C.FRAMES_TO_WORKER;
const { NO_BODY, KEEP_ALIVE, NEW_CONNECTION } = C.HEAD_FLAGS;
const headers = JSON.parse(headersText);

function frame(type, stream, generation, payload) {
  const bytes = Buffer.alloc(8 + payload.length);
  bytes.writeUIntLE(payload.length, 0, 3);
  bytes[3] = type;
  bytes.writeUIntLE(stream, 4, 3);
  bytes[7] = generation;
  payload.copy(bytes, 8);
  return bytes;
}

function head(flags, address) {
  const fixed = Buffer.alloc(12 + 4 * headers.length);
  fixed[0] = C.METHODS.indexOf('GET');
  fixed[1] = flags;
  fixed[2] = headers.length;
  fixed.writeUInt16LE(1, 4);
  fixed[6] = address.length;
  let text = `/${address}`;
  headers.forEach(([name, value], i) => {
    const number = Math.max(0, C.NAMES.indexOf(name));
    fixed[12 + 4 * i] = number;
    fixed[13 + 4 * i] = number === 0 ? name.length : 0;
    fixed.writeUInt16LE(value.length, 14 + 4 * i);
    text += (number === 0 ? name : '') + value;
  });
  return Buffer.concat([fixed, Buffer.from(text, 'latin1')]);
}

let requests = 0;
const server = net.createServer((socket) => {
  let rest = Buffer.alloc(0);
  const next = [];
  for (let stream = 0; stream <= STREAMS; stream++) next.push(frame(HEAD, stream, 0, head(NO_BODY | KEEP_ALIVE, '')));
  socket.on('data', (chunk) => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const out = [];
    let at = 0;
    while (bytes.length - at >= 8) {
      const length = bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16);
      if (bytes.length - at < 8 + length) break;
      const type = bytes[at + 3];
      if (type === C.FRAMES_TO_PROXY.END) {
        requests++;
        const stream = bytes[at + 4];
        const again = next[stream];
        again[7] = (bytes[at + 7] + 1) & 255;
        out.push(again);
      } else if (type === C.FRAMES_TO_PROXY.HELLO) {
        socket.write(frame(HELLO, 0, 0, Buffer.from(JSON.stringify({
          protocol: C.PROTOCOL, shard: 0, shards: 1, window: 262144, listeners: [{ address: '127.0.0.1', port: 3000, family: 'IPv4' }],
        }))));
      } else if (type === C.FRAMES_TO_PROXY.LISTEN) {
        for (let stream = 1; stream <= STREAMS; stream++) {
          out.push(frame(HEAD, stream, 0, head(NO_BODY | KEEP_ALIVE | NEW_CONNECTION, '127.0.0.1')));
        }
      }
      at += 8 + length;
    }
    rest = bytes.subarray(at);
    if (out.length > 0) socket.write(Buffer.concat(out));
  });
  socket.on('error', () => {});
});
server.listen(path, () => console.log('ready'));
process.stdin.on('data', () => console.log(JSON.stringify({ requests, ns: String(process.hrtime.bigint()) })));
process.stdin.on('end', () => process.exit());
