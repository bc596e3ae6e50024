'use strict';

// Owns the byte format of docs/worker-protocol.md: cutting a byte stream into frames, decoding what
// the proxy sends, the prefix of what the worker sends. Pure: bytes in, values out.
// Must never know: sockets, servers, requests' meaning, timers.

const C = require('./constants.cjs');
const { KEYS, shapeOf } = require('./shapes.cjs');

const PREFIX_BYTES = C.FRAME_PREFIX_BYTES;
const HEAD_BYTES = 12;
const { NO_BODY, KEEP_ALIVE, HTTP_1_0, NEW_CONNECTION } = C.HEAD_FLAGS;
const { METHODS, NAMES, HEADERS_MAX, FRAME_PAYLOAD_BYTES_MAX } = C;

/** A frame that breaks a rule of the protocol: the channel that carried it is closed. */
class ProtocolError extends Error {
  /** @param {string} message */
  constructor(message) {
    super(message);
    this.code = 'HOSTLER_PROTOCOL';
  }
}

const { HEAD, DATA, END, CLOSE, HALF_CLOSE, WINDOW, HELLO, MOVE, OPEN, GIVE_BACK, HOLD, BROKEN,
  TUNNEL, TUNNEL_END, TUNNEL_CLOSE, TUNNEL_WINDOW } = C.FRAMES_TO_WORKER;

/**
 * What a prefix alone shows to be wrong, before the payload is there.
 * @param {number} type @param {number} stream @param {number} bytes of payload
 * @returns {string} why the frame is refused; empty if it is not
 */
function refusal(type, stream, bytes) {
  if (bytes > FRAME_PAYLOAD_BYTES_MAX) return `frame of ${bytes} bytes`;
  const ofChannel = type === HELLO || type === MOVE;
  if (type < HEAD || type > TUNNEL_WINDOW) return `frame type ${type}`;
  // A connection that is given back may have been a stream or not.
  if (ofChannel !== (stream === 0) && type !== GIVE_BACK) return `frame type ${type} on stream ${stream}`;
  if (ofChannel && bytes > C.JSON_PAYLOAD_BYTES_MAX) return `frame type ${type} of ${bytes} bytes`;
  if ((type === HALF_CLOSE || type === HOLD || type === TUNNEL_END) && bytes !== 0) return `frame type ${type} with a payload`;
  if ((type === CLOSE || type === TUNNEL_CLOSE) && bytes > C.CLOSE_BYTES_MAX) return `frame type ${type} of ${bytes} bytes`;
  if (type === TUNNEL && (bytes < C.TUNNEL_FIXED_BYTES || bytes > C.TUNNEL_BYTES_MAX)) return `TUNNEL of ${bytes} bytes`;
  if ((type === WINDOW || type === OPEN || type === TUNNEL_WINDOW) && bytes !== 4) return `frame type ${type} of ${bytes} bytes`;
  if (type === GIVE_BACK && bytes < 8) return `GIVE_BACK of ${bytes} bytes`;
  if (type === BROKEN && bytes < 4) return `BROKEN of ${bytes} bytes`;
  return '';
}

/**
 * One decoded HEAD. A single object is filled again and again: a request must not cost an object
 * that Node does not need. `rawHeaders` and `headers` are fresh, they belong to the request.
 */
class Head {
  constructor() {
    this.method = '';
    this.target = '';
    this.http10 = false;
    this.keepAlive = false;
    this.noBody = false;
    this.newConnection = false;
    this.address = '';
    this.port = 0;
    this.listener = 0;
    /** Of the head as the client would have sent it over HTTP/1.1. */
    this.bytes = 0;
    /** @type {string[]} */
    this.rawHeaders = [];
    /** @type {Record<string, string>} */
    this.headers = {};
    /**
     * Index into `rawHeaders` of the first header that `headers` does not hold, because its name
     * came as text or was there already: from here on Node's own `_addHeaderLine` decides.
     */
    this.headersDone = 0;
  }
}

/**
 * @param {Buffer} buffer
 * @param {number} start first byte of the payload
 * @param {number} end
 * @param {Head} head filled
 */
function decodeHead(buffer, start, end, head) {
  if (end - start < HEAD_BYTES) throw new ProtocolError('HEAD shorter than its fixed part');
  const flags = buffer[start + 1];
  const count = buffer[start + 2];
  const methodLength = buffer[start + 3];
  const targetLength = buffer[start + 4] | (buffer[start + 5] << 8);
  const addressLength = buffer[start + 6];
  const textStart = start + HEAD_BYTES + 4 * count;
  if (count > HEADERS_MAX) throw new ProtocolError(`HEAD with ${count} headers`);
  if (textStart > end) throw new ProtocolError('HEAD shorter than its header table');
  // One string for the whole text and slices of it: a call into C++ per field costs more than all
  // slices together. The slices keep at most this one request's text alive.
  const text = buffer.latin1Slice(textStart, end);
  let at = methodLength;
  const method = buffer[start];
  if ((method === 0) === (methodLength === 0)) throw new ProtocolError('HEAD whose method is not either number or text');
  if (method >= METHODS.length) throw new ProtocolError(`unknown method number ${method}`);
  head.method = method !== 0 ? METHODS[method] : text.slice(0, at);
  head.target = text.slice(at, at += targetLength);
  head.http10 = (flags & HTTP_1_0) !== 0;
  head.keepAlive = (flags & KEEP_ALIVE) !== 0;
  head.noBody = (flags & NO_BODY) !== 0;
  head.newConnection = (flags & NEW_CONNECTION) !== 0;
  if (head.newConnection) {
    head.address = text.slice(at, at + addressLength);
    head.port = buffer[start + 8] | (buffer[start + 9] << 8);
    head.listener = buffer[start + 7];
  }
  if (addressLength !== 0 && !head.newConnection) throw new ProtocolError('HEAD with an address on an old stream');
  // Two spaces, HTTP/1.1, CRLF; CRLF at the end.
  head.bytes = head.method.length + targetLength + 14;
  at += addressLength;
  head.bytes += text.length - at + 4 * count; // colon, space, CRLF
  const table = start + HEAD_BYTES;
  const shape = shapeOf(buffer, table, count);
  if (shape === null) {
    at = decodeHeaders(buffer, table, count, text, at, head);
  } else {
    head.bytes += shape.nameBytes;
    head.headersDone = 2 * count;
    at = shape.decode(buffer, table, text, at, head);
  }
  if (at !== text.length) throw new ProtocolError('HEAD whose lengths do not add up');
}

/**
 * `headers` is built here, where the names are still numbers, because Node's own getter pays
 * `matchKnownFields` for every line. The first line of a name always sets it (whatever the name:
 * `_addHeaderLine` in _http_incoming.js), only `set-cookie` and repetitions follow other rules, and
 * those are left to Node.
 * @returns {number} the end of the last value in `text`
 */
function decodeHeaders(buffer, table, count, text, at, head) {
  const raw = [];
  const headers = {};
  let done = -1;
  let bytes = 0;
  for (let i = 0; i < count; i++, table += 4) {
    const number = buffer[table];
    const valueLength = buffer[table + 2] | (buffer[table + 3] << 8);
    const nameLength = buffer[table + 1];
    let name;
    if ((number === 0) === (nameLength === 0)) throw new ProtocolError('header whose name is not either number or text');
    if (number === 0) {
      name = text.slice(at, at += nameLength);
      if (done < 0) done = 2 * i;
    } else {
      name = NAMES[number];
      if (name === undefined) throw new ProtocolError(`unknown header name number ${number}`);
      bytes += name.length;
    }
    const value = text.slice(at, at += valueLength);
    raw.push(name, value);
    if (done < 0) {
      const key = KEYS[number];
      if (headers[key] === undefined && key !== 'set-cookie') headers[key] = value;
      else done = 2 * i;
    }
  }
  head.bytes += bytes;
  head.rawHeaders = raw;
  head.headers = headers;
  head.headersDone = done < 0 ? raw.length : done;
  return at;
}

/** @param {Buffer} buffer @param {number} start of the payload of TUNNEL @param {number} end */
function decodeTunnel(buffer, start, end) {
  return {
    listener: buffer[start],
    port: buffer.readUInt16LE(start + 2),
    address: buffer.latin1Slice(start + C.TUNNEL_FIXED_BYTES, end),
  };
}

/** @param {Buffer} payload @returns {string[]} name, value, name, value, ... */
function decodeTrailers(payload) {
  if (payload.length === 0) return [];
  if (payload[payload.length - 1] !== 0) throw new ProtocolError('trailers without the last NUL');
  const fields = payload.latin1Slice(0, payload.length - 1).split('\0');
  if (fields.length % 2 !== 0) throw new ProtocolError('trailers without a value');
  return fields;
}

/** @param {Buffer} payload @returns {any} */
function decodeJson(payload) {
  if (payload.length > C.JSON_PAYLOAD_BYTES_MAX) throw new ProtocolError('JSON payload too long');
  try {
    return JSON.parse(payload.toString('utf8'));
  } catch {
    throw new ProtocolError('JSON payload that does not parse');
  }
}

// Outgoing frames are built as latin1 strings (one char = one byte): appending to one string and
// writing it once was the cheapest of all encodings measured.
const CHARS = Array.from({ length: 256 }, (_, byte) => String.fromCharCode(byte));

/** @param {number} value @returns {string} three characters, little endian */
function u24(value) {
  return CHARS[value & 255] + CHARS[(value >> 8) & 255] + CHARS[value >> 16];
}

/** @param {number} value @returns {string} four characters, little endian */
function u32(value) {
  return u24(value & 0xffffff) + CHARS[value >>> 24];
}

/** Length and type of END frames, the four bytes that nearly every small answer starts with. */
const END_STARTS = new Array(2048).fill('');

/**
 * @param {number} length of the payload
 * @param {number} type
 * @param {string} streamText `u24(stream)`, kept by the caller
 * @param {number} generation
 */
function prefix(length, type, streamText, generation) {
  if (type === C.FRAMES_TO_PROXY.END && length < 2048) {
    let start = END_STARTS[length];
    if (start === '') start = END_STARTS[length] = u24(length) + CHARS[type];
    return start + streamText + CHARS[generation];
  }
  return u24(length) + CHARS[type] + streamText + CHARS[generation];
}

/** A frame of the channel itself. @param {number} type @param {unknown} value @returns {string} */
function jsonFrame(type, value) {
  const payload = Buffer.from(JSON.stringify(value), 'utf8').latin1Slice();
  return prefix(payload.length, type, u24(0), 0) + payload;
}

/** @param {number} stream @param {number} generation @param {number} bytes @returns {string} */
function windowFrame(stream, generation, bytes) {
  return prefix(4, C.FRAMES_TO_PROXY.WINDOW, u24(stream), generation) + u32(bytes);
}

/** @param {number} offer @param {number} server @param {number} fd @param {number} headerBytesMax */
function offerFrame(offer, server, fd, headerBytesMax) {
  return prefix(16, C.FRAMES_TO_PROXY.OFFER, u24(0), 0) + u32(offer) + u32(server) + u32(fd) + u32(headerBytesMax);
}

/** Memory of its own, as Node's parser gives each piece of a body: apps look at `chunk.buffer`, or hand it to another thread. */
function copied(buffer, start, end) {
  const own = Buffer.allocUnsafeSlow(end - start);
  buffer.copy(own, 0, start, end);
  return own;
}

module.exports = {
  Head, ProtocolError, PREFIX_BYTES, FRAME_PAYLOAD_BYTES_MAX,
  copied, decodeHead, decodeTrailers, decodeTunnel, decodeJson, jsonFrame, offerFrame, prefix, refusal, u24, u32, windowFrame,
};
