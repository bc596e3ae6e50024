'use strict';

// Owns the way of one frame into Node's own HTTP server: HEAD becomes an IncomingMessage that goes
// through Node's `parser.onIncoming`, body frames go through Node's parser callbacks, and ticks and
// microtasks are drained after each.
// Must never know: how frames are read or written, how a server came to be taken over.

const diagnostics = require('diagnostics_channel');
const http = require('http');
const { birthOf } = require('./born.cjs');
const C = require('./constants.cjs');
const connections = require('./connections.cjs');
const { Head, ProtocolError, copied, decodeHead, decodeJson, decodeTrailers, u24 } = require('./frame.cjs');
const errors = require('./errors.cjs');
const { drainTicks, setImmediate } = require('./natives.cjs');
const response = require('./response.cjs');
const { VirtualSocket } = require('./socket.cjs');
const trial = require('./trial.cjs');
const tunnels = require('./tunnels.cjs');

const { HEAD, DATA, END, CLOSE, HALF_CLOSE, WINDOW, HELLO, MOVE, OPEN, HOLD, BROKEN, TUNNEL } = C.FRAMES_TO_WORKER;

const socketChannel = diagnostics.channel('net.server.socket');
const addHeaderLine = http.IncomingMessage.prototype._addHeaderLine;

/**
 * The stream of a HEAD whose body may follow in the same batch. As on_headers_complete of
 * node_http_parser.cc leaves ticks and microtasks to what follows in the segment, so does this.
 */
let undrained = 0;
/** The socket of the DATA just handled: Node's parser would finish the segment even if the app destroyed the socket meanwhile. */
let segment = null;
/** Names and values. */
const FIELDS_AT_ONCE = 2 * 31;

/** The request that is being started; see `Head` for why there is only one. */
const current = new Head();
/** Keys of HTTPParser under which a parser keeps Node's own callbacks. */
let kOnHeaders = -1;
let kOnBody = -1;
let kOnMessageComplete = -1;

/**
 * @param {import('./channel.cjs').Channel} channel
 * @param {number} type @param {number} stream @param {number} generation
 * @param {Buffer} buffer @param {number} start @param {number} end payload
 * @param {boolean} owned the payload may be kept without a copy
 */
function onFrame(channel, type, stream, generation, buffer, start, end, owned) {
  if (undrained !== 0) drain(type === DATA || type === END ? stream : 0);
  if (type === HEAD) {
    onHead(channel, stream, generation, buffer, start, end);
    if (undrained !== 0) return;
    drainTicks();
    channel.pace();
    return;
  }
  if (type >= TUNNEL) {
    tunnels.onFrame(channel, type, stream, generation, buffer, start, end, owned);
    drainTicks();
    channel.pace();
    return;
  }
  if (type >= OPEN && type <= HOLD) {
    onOfferFrame(channel, type, stream, generation, buffer, start, end);
  } else if (type === HELLO || type === MOVE) {
    onChannelFrame(channel, type, buffer, start, end);
  } else {
    let socket = channel.streams[stream];
    if (type === END && socket === undefined && segment !== null && segment._stream === stream) socket = segment;
    segment = null;
    // Late: the stream, or this request of it, is over. CLOSE is about the connection, whose requests in
    // between may have gone to other workers.
    const late = socket === undefined || (socket._generation !== generation && type !== CLOSE);
    if (!late) onStreamFrame(channel, socket, type, buffer, start, end, owned);
  }
  drainTicks();
}

/** @param {number} [stream] whose body goes on */
function drain(stream = 0) {
  const waits = undrained;
  undrained = 0;
  segment = null;
  if (waits !== stream) drainTicks();
}

function onHead(channel, stream, generation, buffer, start, end) {
  try {
    decodeHead(buffer, start, end, current);
  } catch (error) {
    channel.fail(error);
    return;
  }
  let socket = channel.streams[stream];
  if (current.newConnection) {
    if (socket !== undefined) {
      channel.fail(new ProtocolError(`NEW_CONNECTION on stream ${stream}, which is in use`));
      return;
    }
    let opened = false;
    try {
      socket = openConnection(channel, stream, generation);
      opened = true;
    } finally {
      // A listener of 'connection' threw: that is the app's, and the connection goes on as under Node, where the request is
      // read in a later turn.
      if (!opened) setImmediate(onHeadAgain, channel, stream, generation, Buffer.from(buffer.subarray(start, end)));
    }
  } else if (socket !== undefined && socket._responseOpen) {
    channel.fail(new ProtocolError(`HEAD on stream ${stream} before the last response ended`));
    return;
  }
  if (socket === undefined || socket._destroyed || !socket.parser) {
    // The app destroyed the socket while this HEAD was on its way: say so in its generation, the
    // RESET of the old one is late for the proxy.
    if (socket === undefined || socket._destroyed) channel.reset(stream, generation);
    else socket.destroy();
    return;
  }
  startRequest(channel, socket, generation);
  if (socket._offer !== null) socket._offer.requestBegan();
}

function onHeadAgain(channel, stream, generation, payload) {
  const socket = channel.streams[stream];
  if (socket === undefined || !socket.parser) return;
  decodeHead(payload, 0, payload.length, current);
  startRequest(channel, socket, generation);
  drain();
}

/** What `onconnection` of net.js does for an accepted handle. */
function openConnection(channel, stream, generation) {
  const server = channel.server;
  if (!connections.admits(channel, server, current)) return undefined;
  return channel.scope.runInAsyncScope(connect, undefined, channel, server, current, (socket) => {
    socket._stream = stream;
    socket._streamText = u24(stream);
    socket._generation = generation;
    channel.streams[stream] = socket;
  });
}

/**
 * Called in the async context that the server had when it began to listen.
 * @param {any} channel @param {any} server
 * @param {{address: string, port: number, listener: number}} from
 * @param {(socket: any) => void} prepare before the app hears of it
 */
function connect(channel, server, from, prepare) {
  const socket = new VirtualSocket(channel, server, from);
  socket._birth = birthOf(server);
  prepare(socket);
  channel.weigh(socket);
  connections.join(server, channel.owner);
  try {
    server.emit('connection', socket);
  } finally {
    settle(socket);
  }
  if (socketChannel.hasSubscribers) socketChannel.publish({ socket });
  return socket;
}

/** What is left to do when Node's own listener of 'connection' has made a parser. */
function settle(socket) {
  if (!(socket instanceof VirtualSocket)) return; // a listener used it itself: it is a real one now (handover.cjs)
  socket.hasResource();
  const { parser } = socket;
  if (!parser || kOnBody >= 0) return;
  trial.learn(parser);
  kOnHeaders = parser.constructor.kOnHeaders | 0;
  kOnBody = parser.constructor.kOnBody | 0;
  kOnMessageComplete = parser.constructor.kOnMessageComplete | 0;
}

function startRequest(channel, socket, generation) {
  const head = current;
  const { parser } = socket;
  socket._generation = generation;
  socket._credit = channel.window;
  socket._responseOpen = true;
  socket._bodyOpen = !head.noBody;
  if (socket._stopped) {
    socket._stopped = false;
    channel.weigh(socket);
  }
  socket._owed = 0;
  socket._since = channel.batchStart;
  socket._bodyBytes = 0;
  socket._bytesIn += head.bytes;
  if (socket._timed) socket._unrefTimer();
  channel.inFlight++;

  undrained = head.noBody ? 0 : socket._stream;
  socket._resource.runInAsyncScope(incoming, parser, socket);
}

/**
 * As parserOnHeadersComplete in _http_common.js, with the fields decoded by the proxy.
 * @this {any} Node's parser, inside the connection's async resource
 */
function incoming(socket) {
  const head = current;
  const { server } = socket;
  const over = this.maxHeaderPairs > 0 && head.rawHeaders.length > this.maxHeaderPairs;
  if (over && refused(socket, this)) return;
  const birth = socket._birth;
  const request = this.incoming = birth.make(socket);
  request.httpVersionMajor = 1;
  request.httpVersionMinor = head.http10 ? 0 : 1;
  request.httpVersion = head.http10 ? '1.0' : '1.1';
  request.joinDuplicateHeaders = server.joinDuplicateHeaders || this.joinDuplicateHeaders;
  request.url = head.target;
  request.upgrade = false;
  if (over) addSomeHeaders(request, head.rawHeaders, this);
  else addHeaders(request, head);
  request.method = head.method;
  const { keepAlive, noBody } = head; // the app cannot start another request before they are read
  socket._bodyless = noBody ? request : null;
  if (!noBody) socket._chunked = request.headers['transfer-encoding'] !== undefined;
  this.onIncoming(request, keepAlive);
  if (birth.watch > 0) birth.seen(request);
  if (noBody) this[kOnMessageComplete]();
}

function addHeaders(request, head) {
  const raw = head.rawHeaders;
  request._addHeaderLines(raw, raw.length);
  if (request._addHeaderLine !== addHeaderLine) return; // a class with its own idea of headers
  const headers = head.headers;
  for (let i = head.headersDone; i < raw.length; i += 2) request._addHeaderLine(raw[i], raw[i + 1], headers);
  request.headers = headers;
}

/** More than `maxHeaderPairs` (names and values) allow: Node's getter builds what the limit leaves. */
function addSomeHeaders(request, raw, parser) {
  const kept = raw.length > FIELDS_AT_ONCE ? collect(parser, raw) : raw;
  request._addHeaderLines(kept, Math.min(kept.length, parser.maxHeaderPairs));
}

/** Newer versions of Node answer too many headers with 431. @returns {boolean} whether this one did */
function refused(socket, parser) {
  if (!errors.countsPairs(parser.constructor)) return false;
  errors.raise(socket, errors.tooManyHeaders());
  return true;
}

/**
 * The lines as node_http_parser.cc gives them to Node's own callback, which applies the limit: 31 at a time, because its table
 * (kMaxHeaderFieldsCount) is emptied when the name of the 32nd begins.
 */
function collect(parser, raw) {
  for (let i = 0; i < raw.length; i += FIELDS_AT_ONCE) parser[kOnHeaders](raw.slice(i, i + FIELDS_AT_ONCE), '');
  const collected = parser._headers;
  parser._headers = [];
  return collected;
}

function onStreamFrame(channel, socket, type, buffer, start, end, owned) {
  switch (type) {
    case DATA: {
      if (!socket._bodyOpen) break;
      const bytes = end - start;
      socket._bodyBytes += bytes;
      socket._bytesIn += socket._chunked ? bytes + bytes.toString(16).length + 4 : bytes;
      socket._owed += bytes;
      if (socket._timed) socket._unrefTimer();
      if (socket.parser) {
        segment = socket;
        const body = owned ? buffer : copied(buffer, start, end);
        socket._resource.runInAsyncScope(socket.parser[kOnBody], socket.parser, body);
      }
      if (!socket._stopped) channel.giveBack(socket);
      break;
    }
    case END:
      onEnd(channel, socket, buffer.subarray(start, end));
      break;
    case BROKEN:
      onBroken(channel, socket, Buffer.from(buffer.subarray(start, end)));
      break;
    case CLOSE:
      socket._gone = true;
      socket.destroy(start === end ? undefined : errors.readError(buffer.latin1Slice(start, end)));
      break;
    case HALF_CLOSE:
      onHalfClose(socket);
      break;
    case WINDOW:
      socket._credit += buffer.readUInt32LE(start);
      (socket._scope ?? socket._resource).runInAsyncScope(response.pump, undefined, socket);
      break;
  }
}

/** Node's own socketOnEnd decides what becomes of an open response, after it asked the parser whether the request is whole. */
function onHalfClose(socket) {
  if (socket._readEnded) return;
  socket._readEnded = true;
  const { parser } = socket;
  if (parser && socket._bodyOpen) parser.finish = errors.unexpectedEnd;
  socket._resource.runInAsyncScope(socket.emit, socket, 'end');
  if (parser) delete parser.finish;
  if (socket._finished) socket.destroy(); // as endReadableNT: both directions are over
}

function onEnd(channel, socket, payload) {
  if (!socket._bodyOpen) return;
  let trailers;
  try {
    trailers = decodeTrailers(payload);
  } catch (error) {
    channel.fail(error);
    return;
  }
  socket._bodyOpen = false;
  // The last chunk and an empty line; a trailer is as many bytes longer as a NUL is shorter than colon, space or CRLF.
  if (socket._chunked) socket._bytesIn += 5 + payload.length + trailers.length;
  const parser = socket.parser;
  if (parser) {
    socket._resource.runInAsyncScope(complete, parser, socket, trailers);
  }
  if (!socket._responseOpen) channel.idle(socket);
}

/** The client's body is not valid: as onParserExecuteCommon of _http_server.js when its parser says so. */
function onBroken(channel, socket, payload) {
  const lead = 4 + payload.readUInt32LE(0);
  if (lead > payload.length) {
    channel.fail(new ProtocolError('BROKEN shorter than it says'));
    return;
  }
  if (!socket._bodyOpen) return;
  socket._bodyOpen = false;
  if (!socket.parser) return;
  const error = trial.bodyError(socket.server, payload.subarray(4, lead), payload.subarray(lead)) ?? errors.invalidChunk();
  socket._resource.runInAsyncScope(errors.raise, undefined, socket, error);
}

/** @this {any} Node's parser */
function complete(socket, trailers) {
  if (this.maxHeaderPairs > 0 && trailers.length > this.maxHeaderPairs && refused(socket, this)) return;
  // Where parserOnMessageComplete looks for trailers.
  if (trailers.length > 0) this._headers = collect(this, trailers);
  this[kOnMessageComplete]();
}

function onOfferFrame(channel, type, stream, generation, buffer, start, end) {
  const { offers } = channel;
  if (offers === null) {
    channel.fail(new ProtocolError(`frame type ${type}, and nothing is offered`));
    return;
  }
  if (type === HOLD) {
    offers.hold(stream);
    return;
  }
  const number = buffer.readUInt32LE(start);
  try {
    if (type === OPEN) offers.open(number, stream, generation);
    else giveBack(offers, number, stream, Buffer.from(buffer.subarray(start + 4, end)));
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    channel.fail(error);
  }
}

function giveBack(offers, number, stream, payload) {
  const lead = 4 + payload.readUInt32LE(0);
  if (lead > payload.length) throw new ProtocolError('GIVE_BACK shorter than it says');
  offers.giveBack(number, stream, payload.subarray(4, lead), payload.subarray(lead));
}

function onChannelFrame(channel, type, buffer, start, end) {
  try {
    const message = decodeJson(buffer.subarray(start, end));
    if (type === HELLO) channel.welcome(message);
    else channel.owner.move(channel, message.channel);
  } catch (error) {
    channel.fail(error);
  }
}

module.exports = { connect, drain, onFrame };
