'use strict';

// Owns the bytes that Node writes to a virtual socket: corking, frames, the end of a response, the
// response window, write callbacks and 'drain'. The functions `write`, `uncork` and `end` are
// methods of the virtual socket.
// Must never know: HTTP (the bytes are Node's), how a channel writes.

const C = require('./constants.cjs');
const { prefix } = require('./frame.cjs');

const { DATA, END, END_CLOSE } = C.FRAMES_TO_PROXY;
// Larger Buffers become their own entry of the channel's writev: below this a copy is cheaper.
const COPY_BYTES_MAX = 2048;

/** As Writable.write; `_length` and 'drain' follow writeOrBuffer and afterWrite there. */
function write(chunk, encoding, callback) {
  if (typeof encoding === 'function') {
    callback = encoding;
    encoding = undefined;
  }
  if (this._ending || this._destroyed) return refuse(this, callback);
  const length = chunk.length;
  if (length !== 0) {
    if (typeof chunk === 'string' && encoding === 'latin1') {
      this._text += chunk;
      this._bytes += length;
    } else {
      addBytes(this, toBytes(chunk, encoding));
    }
    this._length += length;
  }
  if (typeof callback === 'function') {
    if (this._callback1 === null) this._callback1 = callback;
    else if (this._callback2 === null) this._callback2 = callback;
    else if (this._callbacks === null) this._callbacks = [callback];
    else this._callbacks.push(callback);
  }
  const enough = this._length < this._writableState.highWaterMark;
  if (!enough) this._needDrain = true;
  if (this._timed) this._unrefTimer();
  if (this._corked === 0) flush(this);
  return enough;
}

function uncork() {
  if (this._corked > 0 && --this._corked === 0) flush(this);
}

function end(chunk, encoding, callback) {
  if (typeof chunk === 'function') {
    callback = chunk;
    chunk = undefined;
  } else if (typeof encoding === 'function') {
    callback = encoding;
    encoding = undefined;
  }
  if (this._destroyed) return this;
  if (chunk !== undefined && chunk !== null) this.write(chunk, encoding);
  if (typeof callback === 'function') this.once('finish', callback);
  if (this._ending) return this;
  this._ending = true;
  this._corked = 0;
  flush(this);
  scheduleDone(this);
  return this;
}

/**
 * Everything written since the last flush becomes one frame. It ends the response when Node's
 * `OutgoingMessage.end` flushes (states.cjs knows), or when the response was finished while it was
 * queued behind another one.
 */
function flush(socket) {
  const message = socket._httpMessage;
  let type = DATA;
  if (socket._messageEnds || (message !== null && message.finished && message !== socket._endedMessage)) {
    socket._messageEnds = false;
    socket._endedMessage = message;
    type = message !== null && message._last ? END_CLOSE : END;
  }
  if (socket._ending) type = END_CLOSE;
  if (type === DATA && socket._bytes === 0) {
    if (socket._callback1 !== null) sent(socket);
    return;
  }
  if (!socket._responseOpen) { // nobody asked: there is no place for bytes
    socket._text = '';
    socket._parts = null;
    socket._bytes = 0;
    sent(socket);
    return;
  }
  const bytes = socket._bytes;
  if (socket._parts !== null || socket._queue !== null || bytes > socket._credit) {
    enqueue(socket, type);
    return;
  }
  const text = prefix(bytes, type, socket._streamText, socket._generation) + socket._text;
  socket._credit -= bytes;
  socket._bytesOut += bytes;
  socket._text = '';
  socket._bytes = 0;
  socket._channel.send(text);
  if (type !== DATA) ended(socket, type);
  sent(socket);
}

/** The response is complete, as far as the proxy is concerned. */
function ended(socket, type) {
  socket._responseOpen = false;
  if (type === END_CLOSE) socket._closeSent = true;
  socket._channel.inFlight--;
}

/** The slow path: Buffers by reference, or more bytes than the window has room for. */
function enqueue(socket, type) {
  const queue = socket._queue ?? (socket._queue = { pieces: [], bytes: 0, type: DATA, refers: false });
  if (socket._parts !== null) {
    queue.pieces.push(...socket._parts);
    queue.refers = true;
    socket._parts = null;
  }
  if (socket._text !== '') queue.pieces.push(socket._text);
  queue.bytes += socket._bytes;
  if (type !== DATA) queue.type = type;
  socket._text = '';
  socket._bytes = 0;
  pump(socket);
}

/** Sends as much of the queue as the window allows. Called again when it grows. */
function pump(socket) {
  const queue = socket._queue;
  if (queue === null) return;
  do {
    const bytes = Math.min(queue.bytes, socket._credit, C.FRAME_PAYLOAD_BYTES_MAX);
    if (bytes === 0 && queue.bytes > 0) break;
    const last = bytes === queue.bytes;
    if (bytes > 0 || queue.type !== DATA) {
      socket._channel.send(prefix(bytes, last ? queue.type : DATA, socket._streamText, socket._generation));
      sendPieces(socket._channel, queue, bytes);
      socket._credit -= bytes;
      socket._bytesOut += bytes;
    }
    if (last) {
      socket._queue = null;
      if (queue.type !== DATA) ended(socket, queue.type);
      if (queue.refers) hold(socket);
      else sent(socket);
      return;
    }
  } while (true);
  socket._length = queue.bytes + socket._bytes;
}

function sendPieces(channel, queue, bytes) {
  queue.bytes -= bytes;
  const pieces = queue.pieces;
  let whole = 0;
  while (bytes > 0) {
    const piece = pieces[whole];
    const take = Math.min(bytes, piece.length);
    const rest = take < piece.length;
    const part = !rest ? piece : typeof piece === 'string' ? piece.slice(0, take) : piece.subarray(0, take);
    if (typeof part === 'string') channel.send(part);
    else channel.sendBuffer(part);
    if (rest) pieces[whole] = typeof piece === 'string' ? piece.slice(take) : piece.subarray(take);
    else whole++;
    bytes -= take;
  }
  pieces.splice(0, whole);
}

/** The bytes of all writes so far are handed over: their callbacks run in the next tick. */
function sent(socket) {
  socket._length = socket._bytes;
  if (socket._callback1 !== null) {
    if (socket._done1 === null) {
      socket._done1 = socket._callback1;
      socket._done2 = socket._callback2;
      socket._dones = socket._callbacks;
    } else {
      const dones = socket._dones ?? (socket._dones = []);
      dones.push(socket._callback1);
      if (socket._callback2 !== null) dones.push(socket._callback2);
      if (socket._callbacks !== null) dones.push(...socket._callbacks);
    }
    socket._callback1 = null;
    socket._callback2 = null;
    socket._callbacks = null;
  }
  scheduleDone(socket);
}

/**
 * A callback tells the app that it may change its Buffer again, and the channel's batch still refers
 * to it: the callbacks wait for that write.
 */
function hold(socket) {
  socket._held++;
  socket._channel.whenWritten(socket);
}

/** @param {any} socket whose `hold` is over */
function release(socket) {
  socket._held--;
  if (!socket._destroyed && socket._held === 0 && socket._queue === null) sent(socket);
}

function scheduleDone(socket) {
  if (socket._doneTick) return;
  socket._doneTick = true;
  process.nextTick(done, socket);
}

/** As afterWrite of Writable: 'drain', then the callbacks in order, then 'finish'. */
function done(socket) {
  socket._doneTick = false;
  if (socket._needDrain && socket._length === 0 && socket._held === 0) {
    socket._needDrain = false;
    if (!socket._ending && !socket._destroyed) socket.emit('drain');
  }
  const first = socket._done1;
  if (first !== null) {
    const second = socket._done2;
    const others = socket._dones;
    socket._done1 = null;
    socket._done2 = null;
    socket._dones = null;
    first(null);
    if (second !== null) second(null);
    if (others !== null) for (const callback of others) callback(null);
  }
  if (socket._queue !== null || socket._held > 0) return;
  socket._endedMessage = null;
  if (socket._ending && !socket._finished && !socket._destroyed) finish(socket);
  else if (!socket._responseOpen) socket._channel.idle(socket);
}

/** Both directions of a client connection end together: the proxy closes it after END_CLOSE. */
function finish(socket) {
  socket._finished = true;
  socket.emit('finish');
  socket.destroy();
}

/** The socket is destroyed: writes that did not get away fail, as errorBuffer of Writable does. */
function abandon(socket) {
  socket._queue = null;
  socket._text = '';
  socket._parts = null;
  socket._bytes = 0;
  socket._length = 0;
  if (socket._callback1 === null) return;
  const failed = [socket._callback1, socket._callback2, ...(socket._callbacks ?? [])];
  socket._callback1 = socket._callback2 = socket._callbacks = null;
  for (const callback of failed) if (callback !== null) process.nextTick(callback, destroyedError());
}

/** @returns {false} */
function refuse(socket, callback) {
  const error = socket._destroyed ? destroyedError() :
    Object.assign(new Error('write after end'), { code: 'ERR_STREAM_WRITE_AFTER_END' });
  if (typeof callback === 'function') process.nextTick(callback, error);
  if (!socket._destroyed) socket.destroy(error);
  return false;
}

function destroyedError() {
  return Object.assign(new Error('Cannot call write after a stream was destroyed'),
    { code: 'ERR_STREAM_DESTROYED' });
}

function addBytes(socket, bytes) {
  socket._bytes += bytes.length;
  if (typeof bytes === 'string') {
    socket._text += bytes;
    return;
  }
  const parts = socket._parts ?? (socket._parts = []);
  if (socket._text !== '') parts.push(socket._text);
  socket._text = '';
  parts.push(bytes);
}

/** @returns {string | Buffer} a latin1 string (one char = one byte) or a large Buffer */
function toBytes(chunk, encoding) {
  let bytes = chunk;
  if (typeof chunk === 'string') {
    switch (encoding) {
      case undefined: case null: case 'utf8': case 'utf-8':
        // As long in bytes as in characters: ASCII, and so the same in latin1.
        if (Buffer.byteLength(chunk) === chunk.length) return chunk;
        bytes = Buffer.from(chunk);
        break;
      case 'latin1': case 'binary': case 'ascii':
        return chunk;
      default:
        bytes = Buffer.from(chunk, encoding);
    }
  } else if (!Buffer.isBuffer(chunk)) {
    bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  }
  return bytes.length <= COPY_BYTES_MAX ? bytes.latin1Slice() : bytes;
}

module.exports = { abandon, end, pump, release, uncork, write };
