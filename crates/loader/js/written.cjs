'use strict';

// Owns what follows a write to a virtual socket: the callbacks in their order, 'drain', 'finish', the
// errors of writes that come too late or do not get away.
// Must never know: frames, the window.

const { AsyncResource } = require('async_hooks');
const errors = require('./errors.cjs');
const { setImmediate } = require('./natives.cjs');

const MANUAL = { requireManualDestroy: true };

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
  schedule(socket);
}

/**
 * A callback tells the app that it may change its Buffer again, and the channel's batch still refers to it. A response that goes
 * on waits for nothing: its batch is written now, as Node would, so that callbacks and 'drain' come in the next tick. After the
 * last bytes of a response there is only 'finish' to come, and it waits for the batch.
 * @param {any} socket @param {boolean} last
 */
function hold(socket, last) {
  if (!last) {
    if (socket._channel.flushed()) {
      if (socket._held === 0) sent(socket);
      return;
    }
    socket._channel.whenEmpty(socket);
  } else {
    socket._channel.whenWritten(socket);
  }
  wait(socket);
  socket._held++;
}

/** @param {any} socket whose `hold` is over */
function release(socket) {
  socket._held--;
  if (!socket._destroyed && socket._held === 0 && socket._queue === null) socket._scope.runInAsyncScope(sent, undefined, socket);
  away(socket);
}

/**
 * Writes wait. Their callbacks, 'drain' and 'finish' belong into the async context of the write (Node has its WriteWrap for that),
 * not into that of whatever ends the wait.
 */
function wait(socket) {
  socket._scope ??= new AsyncResource('WRITEWRAP', MANUAL);
}

/** Nothing waits any more, unless something does. */
function away(socket) {
  if (socket._scope === null || socket._queue !== null || socket._held > 0) return;
  socket._scope.emitDestroy();
  socket._scope = null;
}

function schedule(socket) {
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
  if (socket._queue !== null || socket._held > 0 || socket._leaving) return;
  socket._endedMessage = null;
  if (socket._ending) {
    if (socket._shutdown === 0) shutdown(socket);
  } else if (!socket._responseOpen) {
    socket._channel.idle(socket);
  }
}

/** Node waits for the kernel here (`_final` of net.js: shutdown), so 'finish' comes in a later turn, in the context of the end. */
function shutdown(socket) {
  const scope = new AsyncResource('SHUTDOWNWRAP', MANUAL);
  const ending = () => {
    if (!socket._destroyed) scope.runInAsyncScope(prefinish, undefined, socket);
    scope.emitDestroy();
  };
  socket._shutdown = socket._channel.afterBatch(ending) ? 1 : 2;
}

function prefinish(socket) {
  socket.emit('prefinish');
  process.nextTick(finish, socket);
}

/**
 * With both directions over the socket goes away by itself (`autoDestroy`); else the client's FIN is still to come, if the proxy
 * knows that it has to send ours: after the end of a response only RESET says so, and that ends both.
 */
function finish(socket) {
  if (socket._destroyed) return;
  socket._finished = true;
  endCallbacks(socket, null);
  socket.emit('finish');
  if (socket._readEnded || !socket._closeSent) socket.destroy();
}

function endCallbacks(socket, error) {
  const callbacks = socket._endCallbacks;
  socket._endCallbacks = null;
  if (callbacks !== null) for (const callback of callbacks) callback(error);
}

/** The socket is destroyed: writes that did not get away fail, those on their way as uv fails them, others as errorBuffer of Writable. */
function abandon(socket) {
  const onTheirWay = socket._queue !== null || socket._held > 0;
  socket._queue = null;
  socket._text = '';
  socket._parts = null;
  socket._bytes = 0;
  socket._length = 0;
  if (socket._endCallbacks !== null) process.nextTick(endCallbacks, socket, socket._error ?? errors.destroyedStream('end'));
  if (socket._callback1 === null) return;
  const failed = [socket._callback1, socket._callback2, ...(socket._callbacks ?? [])];
  socket._callback1 = socket._callback2 = socket._callbacks = null;
  if (onTheirWay) setImmediate(fail, failed, errors.canceledWrite());
  else process.nextTick(fail, failed, socket._error ?? errors.destroyedStream('write'));
}

function fail(callbacks, error) {
  for (const callback of callbacks) if (callback !== null) callback(error);
}

/** @returns {false} */
function refuse(socket, callback) {
  const error = socket._destroyed ? errors.destroyedStream('write') : errors.writeAfterEnd();
  if (typeof callback === 'function') process.nextTick(callback, error);
  if (!socket._destroyed) socket.destroy(error);
  return false;
}

module.exports = { abandon, away, hold, refuse, release, schedule, sent, wait };
