'use strict';

// Owns what a handle says of its connection where somebody else had it before: who the client is, how many bytes passed.
// Must never know: who had it, what is done with it.
//
// One object per connection and a prototype for all: ten thousand idle WebSockets have one each.

/** @typedef {{bytesRead: number, bytesWritten: number, remote: object | null, local: object | null}} Facts */

const FACTS = Symbol('facts');
/** Prototypes that stand in front of those of Node's handles. @type {Map<any, any>} */
const faces = new Map();

/** @param {any} handle @returns {Facts} */
function factsOf(handle) {
  if (handle[FACTS] === undefined) {
    Object.setPrototypeOf(handle, faceOf(Object.getPrototypeOf(handle)));
    handle[FACTS] = { bytesRead: 0, bytesWritten: 0, remote: null, local: null };
  }
  return handle[FACTS];
}

/** @param {any} native */
function faceOf(native) {
  let face = faces.get(native);
  if (face === undefined) {
    face = Object.create(native);
    addCount(face, native, 'bytesRead');
    addCount(face, native, 'bytesWritten');
    addName(face, native, 'getpeername', 'remote');
    addName(face, native, 'getsockname', 'local');
    faces.set(native, face);
  }
  return face;
}

/** @param {any} face @param {any} native @param {'bytesRead' | 'bytesWritten'} name */
function addCount(face, native, name) {
  let getter;
  for (let at = native; at !== null && getter === undefined; at = Object.getPrototypeOf(at)) {
    getter = Object.getOwnPropertyDescriptor(at, name)?.get;
  }
  if (getter === undefined) return;
  const own = getter;
  Object.defineProperty(face, name, {
    get() {
      return own.call(this) + this[FACTS][name];
    },
    configurable: true,
  });
}

/** `remoteAddress` and `address()` of net.Socket ask the handle. @param {any} face @param {any} native @param {string} name @param {'remote' | 'local'} fact */
function addName(face, native, name, fact) {
  const own = native[name];
  face[name] = function(/** @type {object} */ out) {
    const known = this[FACTS][fact];
    if (known === null) return own === undefined ? -1 : own.call(this, out);
    Object.assign(out, known);
    return 0;
  };
}

/** Bytes that the handle has not seen, or that are none of the client's. @param {any} handle @param {'bytesRead' | 'bytesWritten'} name @param {number} more */
function count(handle, name, more) {
  if (more !== 0) factsOf(handle)[name] += more;
}

/** The ends of the client's connection. @param {any} handle @param {object} remote @param {object} local */
function name(handle, remote, local) {
  const facts = factsOf(handle);
  facts.remote = remote;
  facts.local = local;
}

module.exports = { count, name };
