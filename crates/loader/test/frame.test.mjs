// The codec against the golden vectors that the Rust side reads too, and against every cut.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { test } from 'node:test';

const require = createRequire(import.meta.url);
const C = require('../js/constants.cjs');
const F = require('../js/frame.cjs');
const { FrameReader } = require('../js/reader.cjs');

const VECTORS = path.join(import.meta.dirname, '../../protocol/vectors');
const vectors = (name) => JSON.parse(fs.readFileSync(path.join(VECTORS, `${name}.json`), 'utf8'));
const toWorker = vectors('to_worker');
const toProxy = vectors('to_proxy');
const TYPES = Object.fromEntries(Object.entries(C.FRAMES_TO_WORKER).map(([name, type]) => [type, name]));

/** One frame as the vectors describe it. */
function describe(type, stream, generation, payload) {
  const one = { type: TYPES[type], stream, generation };
  if (type === C.FRAMES_TO_WORKER.HEAD) {
    const head = new F.Head();
    F.decodeHead(payload, 0, payload.length, head);
    one.method = head.method;
    one.target = head.target;
    one.flags = [['NO_BODY', head.noBody], ['KEEP_ALIVE', head.keepAlive], ['HTTP_1_0', head.http10],
      ['NEW_CONNECTION', head.newConnection], ['EXPECT_CONTINUE', (payload[1] & C.HEAD_FLAGS.EXPECT_CONTINUE) !== 0]]
      .filter(([, set]) => set).map(([name]) => name);
    if (head.newConnection) one.client = { address: head.address, port: head.port };
    one.listener = payload[7];
    one.headers = [];
    for (let i = 0; i < head.rawHeaders.length; i += 2) one.headers.push([head.rawHeaders[i], head.rawHeaders[i + 1]]);
  } else if (type === C.FRAMES_TO_WORKER.TUNNEL) {
    const { address, port, listener } = F.decodeTunnel(payload, 0, payload.length);
    one.client = { address, port };
    one.listener = listener;
  } else if (type === C.FRAMES_TO_WORKER.DATA || type === C.FRAMES_TO_WORKER.TUNNEL_DATA) {
    one.bytes = payload.toString('latin1');
  } else if (type === C.FRAMES_TO_WORKER.END) {
    const fields = F.decodeTrailers(payload);
    one.trailers = [];
    for (let i = 0; i < fields.length; i += 2) one.trailers.push([fields[i], fields[i + 1]]);
  } else if (type === C.FRAMES_TO_WORKER.WINDOW || type === C.FRAMES_TO_WORKER.TUNNEL_WINDOW) {
    one.credit = payload.readUInt32LE(0);
  } else if (type === C.FRAMES_TO_WORKER.HELLO || type === C.FRAMES_TO_WORKER.MOVE) {
    one.json = F.decodeJson(payload);
  } else if (type === C.FRAMES_TO_WORKER.CLOSE || type === C.FRAMES_TO_WORKER.TUNNEL_CLOSE) {
    if (payload.length > 0) one.why = payload.toString('latin1');
  } else if (type === C.FRAMES_TO_WORKER.OPEN) {
    one.offer = payload.readUInt32LE(0);
  } else if (type === C.FRAMES_TO_WORKER.BROKEN) {
    const end = 4 + payload.readUInt32LE(0);
    one.lead = payload.toString('latin1', 4, end);
    one.bytes = payload.toString('latin1', end);
  } else if (type === C.FRAMES_TO_WORKER.GIVE_BACK) {
    one.offer = payload.readUInt32LE(0);
    one.lead = payload.readUInt32LE(4);
    one.bytes = payload.toString('latin1', 8);
  }
  return one;
}

/** Reads `bytes` in the given pieces, or smaller; the buffer of a read is overwritten after it if the frame may not keep it. */
function read(pieces) {
  const frames = [];
  const errors = [];
  const kept = [];
  const reader = new FrameReader(
    (type, stream, generation, buffer, start, end, owned) => {
      if (owned) assert.deepEqual([start, end, buffer.byteOffset, buffer.buffer.byteLength], [0, buffer.length, 0, buffer.length]);
      if (owned) kept.push([buffer, Buffer.from(buffer)]);
      frames.push(describe(type, stream, generation, owned ? buffer : Buffer.from(buffer.subarray(start, end))));
    },
    (error) => errors.push(error),
  );
  for (let piece of pieces) {
    while (piece.length > 0) {
      const room = reader.room();
      const count = piece.copy(room);
      reader.push(count);
      if (!reader.direct) room.fill(0xff, 0, count);
      piece = piece.subarray(count);
    }
  }
  for (const [buffer, then] of kept) assert.ok(buffer.equals(then), 'nothing is read into memory that was given away');
  return { frames, errors };
}

const normal = (frames) => frames.map((one) => {
  const { bytes_repeat: _repeat, ...rest } = one;
  return JSON.parse(JSON.stringify(rest));
});

for (const vector of toWorker) {
  test(`decodes: ${vector.name}`, () => {
    const bytes = Buffer.from(vector.hex, 'hex');
    const { frames, errors } = read([bytes]);
    assert.deepEqual(errors, []);
    assert.equal(frames.length, vector.frames.length);
    vector.frames.forEach((wanted, i) => {
      for (const [key, value] of Object.entries(wanted)) assert.deepEqual(frames[i][key], value, key);
    });
  });
}

test('any cut into two pieces, and single bytes, give the same frames', () => {
  const bytes = Buffer.concat(toWorker.map((vector) => Buffer.from(vector.hex, 'hex')));
  const whole = read([bytes]).frames;
  for (let at = 0; at <= bytes.length; at++) {
    assert.deepEqual(normal(read([bytes.subarray(0, at), bytes.subarray(at)]).frames), normal(whole), `cut at ${at}`);
  }
  assert.deepEqual(normal(read([...bytes].map((byte) => Buffer.from([byte]))).frames), normal(whole));
});

test('a frame of the largest size, in reads of 64 KiB', () => {
  const payload = Buffer.alloc(C.FRAME_PAYLOAD_BYTES_MAX, 'z');
  const bytes = Buffer.concat([Buffer.from(F.prefix(payload.length, C.FRAMES_TO_WORKER.DATA, F.u24(9), 3), 'latin1'), payload]);
  const twice = Buffer.concat([bytes, bytes]);
  const pieces = [];
  for (let at = 0; at < twice.length; at += 65536) pieces.push(twice.subarray(at, at + 65536));
  const { frames } = read(pieces);
  assert.equal(frames.length, 2);
  assert.ok(frames.every((one) => one.stream === 9 && one.generation === 3 && one.bytes === payload.toString('latin1')));
});

for (const vector of vectors('broken').filter((one) => one.reader === 'worker')) {
  test(`refuses: ${vector.name}`, () => {
    const bytes = Buffer.from(vector.hex, 'hex');
    for (const pieces of [[bytes], [...bytes].map((byte) => Buffer.from([byte]))]) {
      let refused = false;
      try {
        refused = read(pieces).errors.length > 0;
      } catch (error) {
        assert.ok(error instanceof F.ProtocolError, String(error.stack));
        refused = true;
      }
      assert.ok(refused, vector.why);
    }
  });
}

for (const vector of toProxy) {
  test(`encodes: ${vector.name}`, () => {
    let text = '';
    for (const one of vector.frames) {
      const type = C.FRAMES_TO_PROXY[one.type];
      if (one.bytes !== undefined) {
        text += F.prefix(one.bytes.length, type, F.u24(one.stream), one.generation) + one.bytes;
      } else if (one.type === 'WINDOW') {
        text += F.windowFrame(one.stream, one.generation, one.credit);
      } else if (one.type === 'TUNNEL_WINDOW') {
        text += F.prefix(4, type, F.u24(one.stream), one.generation) + F.u32(one.credit);
      } else if (one.json !== undefined) {
        text += F.jsonFrame(type, one.json);
      } else if (one.type === 'OFFER') {
        text += F.offerFrame(one.offer, one.server, one.fd, one.header_bytes_max);
      } else if (one.type === 'HEARTBEAT') {
        const numbers = Object.values(one).filter((value) => typeof value === 'number').slice(-4);
        text += F.prefix(16, type, F.u24(0), 0) + numbers.map(F.u32).join('');
      } else {
        text += F.prefix(0, type, F.u24(one.stream), one.generation);
      }
    }
    const encoded = Buffer.from(text, 'latin1').toString('hex');
    if (!vector.decode_only) assert.equal(encoded, vector.hex);
  });
}
