'use strict';

// Owns what becomes of a request that the proxy refused, where the app listens for 'clientError': Node's own parser has the
// last word. What it refuses too is handed over as if the proxy were not there; what it would take never reaches the app, and the
// proxy answers.
// Must never know: frames, what is wrong with the bytes.

const errors = require('./errors.cjs');
const { nextTick, root } = require('./natives.cjs');
const { isLenient } = require('./settings.cjs');
const { Trial } = require('./trial.cjs');

// What the client sends meanwhile.
const WAIT_MS = 10_000;
/** To the proxy: the answer is yours. */
const RETURNED = 'HOSTLER\n';
/** The client was too slow: nothing is wrong with the bytes that are here. */
const TIMEOUT = '408';
const NOTHING = Buffer.alloc(0);

/**
 * @param {any} server @param {any} reader a socket that nobody else knows @param {Buffer} first what it has read
 * @param {(bytes: Buffer, ended: boolean) => void} handOver called if Node refuses them too
 */
function judge(server, reader, first, handOver) {
  if (isLenient(server)) {
    giveBack(reader);
    return;
  }
  const trial = new Trial(server);
  let bytes = NOTHING;
  const decide = (/** @type {boolean | null} */ refuses, /** @type {boolean} */ ended) => {
    if (refuses === null && !ended) return;
    trial.close();
    reader.setTimeout(0);
    reader.removeAllListeners('data').removeAllListeners('end');
    // Not inside the read of a socket that is about to lose its handle.
    if (refuses) nextTick(handOver, bytes, ended);
    else giveBack(reader);
  };
  const push = (/** @type {Buffer} */ chunk) => {
    bytes = Buffer.concat([bytes, chunk]);
    decide(trial.push(chunk), false);
  };
  reader.setTimeout(WAIT_MS, () => decide(false, false));
  reader.on('data', push).on('end', () => decide(trial.end(), true));
  push(first);
}

/** The proxy closes when it has read that; until then its bytes are taken, so that it does not see a reset before. */
function giveBack(reader) {
  reader.removeAllListeners('timeout').setTimeout(WAIT_MS, () => reader.destroy());
  reader.resume().end(RETURNED);
}

/** Whether the parser is to be asked. @param {string | undefined} status of the proxy's line */
function isRefused(status) {
  return status !== undefined && status !== TIMEOUT;
}

/** The entrance of such a connection: if all else failed, no request comes through. */
function closed(entrance) {
  return {
    ...entrance,
    onRequest(/** @type {any} */ request) {
      request.upgrade = false;
      request.socket.destroy();
      return false;
    },
  };
}

/**
 * What the bytes alone do not say.
 * @param {any} socket Node's, with the bytes @param {string} status of the proxy's line @param {boolean} ended by the client's FIN
 */
function follow(socket, status, ended) {
  if (socket.destroyed) return;
  if (ended) {
    // As onStreamRead of stream_base_commons.js.
    root.runInAsyncScope(socket.push, socket, null);
    socket.read(0);
  } else if (status === TIMEOUT) {
    root.runInAsyncScope(errors.raise, undefined, socket, errors.requestTimeout());
  }
}

module.exports = { closed, follow, isRefused, judge };
