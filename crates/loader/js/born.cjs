'use strict';

// Owns requests and responses that are born with the prototypes which Express would give them.
//
// Express calls `Object.setPrototypeOf` on both in every request, before anything else. The V8 of Node 20 and 22 then gives each
// object hidden classes of its own as soon as a property is added, so that no inline cache of the app hits again: five sixths of
// what a request costs there; newer versions only walk through all properties. An object that has the prototype from its first
// moment is like any other, and the call finds nothing to do.
//
// Only for a server whose one listener of 'request' is such an app, and only after each of its first requests was seen to end up
// like that. What differs from Node: whoever looks at a request before the app does (a subscriber of `http.server.request.start`)
// finds the app's prototype already.
// Off switch: "born": false in HOSTLER_WORKER.
// Must never know: frames, sockets; what a framework does with the objects.

const http = require('http');

const { IncomingMessage, ServerResponse } = http;
const [kIncomingMessage, kServerResponse] = ['IncomingMessage', 'ServerResponse'].map((name) => /** @type {symbol} */ (
  Object.getOwnPropertySymbols(new http.Server()).find((symbol) => symbol.description === name)));

/** Requests that are watched before anything is believed. */
const WATCHED = 16;

/** @type {WeakMap<object, Birth>} */
const births = new WeakMap();
let allowed = true;

/** How the requests of one server come to be. */
class Birth {
  /** @param {any} server */
  constructor(server) {
    this.server = server;
    const asNode = server[kIncomingMessage] === IncomingMessage && server[kServerResponse] === ServerResponse;
    /** Requests still to be watched; 0: it is decided. */
    this.watch = allowed && asNode ? WATCHED : 0;
    /** The app, once it is believed. */
    this.app = null;
    /** Its prototypes, as seen. */
    this.request = null;
    this.response = null;
    /** Makes a request that has its. @type {any} */
    this.Request = null;
  }

  /** As parserOnHeadersComplete in _http_common.js does. @param {any} socket */
  make(socket) {
    if (this.app !== null && this.holds()) return new this.Request(socket);
    return new this.server[kIncomingMessage](socket);
  }

  /** What was seen is still so. The listener is asked for where EventEmitter keeps it: `listeners` costs an array. */
  holds() {
    const { app, server } = this;
    return server._events.request === app && app.request === this.request && app.response === this.response
      && server[kIncomingMessage] === IncomingMessage;
  }

  /** The listener has just returned. @param {any} request */
  seen(request) {
    const app = this.server._events.request;
    if (!this.fits(request, app)) {
      this.watch = 0;
      return;
    }
    this.request = app.request;
    this.response = app.response;
    this.watch--;
    if (this.watch > 0 || collides(request, app.request, IncomingMessage) || collides(request.res, app.response, ServerResponse)) return;
    this.adopt(app);
  }

  /** Has the app given both objects its own prototypes, and the same ones as before? @param {any} request @param {any} app */
  fits(request, app) {
    return typeof app === 'function' && (this.request === null || (this.request === app.request && this.response === app.response))
      && descends(request, app.request, IncomingMessage) && descends(request.res, app.response, ServerResponse);
  }

  /** @private @param {any} app */
  adopt(app) {
    const birth = this;
    const Request = heir(IncomingMessage, app.request, function (/** @type {any} */ socket) {
      IncomingMessage.call(this, socket);
    });
    const Response = heir(ServerResponse, app.response, function (/** @type {any} */ request, /** @type {any} */ options) {
      if (!birth.holds()) return new ServerResponse(request, options);
      ServerResponse.call(this, request, options);
      return this;
    });
    try {
      // Were they classes some day, they could not be called.
      new Response(new Request(null));
    } catch {
      return;
    }
    this.app = app;
    this.Request = Request;
    this.server[kServerResponse] = Response;
  }
}

/** @param {any} server */
function birthOf(server) {
  let birth = births.get(server);
  if (birth === undefined) births.set(server, birth = new Birth(server));
  return birth;
}

/** A mounted app has set its own prototype behind that of the app it is mounted on. @param {any} object @param {any} prototype @param {Function} Base */
function descends(object, prototype, Base) {
  return prototype instanceof Base && Object.prototype.isPrototypeOf.call(prototype, object);
}

/** @param {Function} Base @param {object} prototype @param {Function} constructor */
function heir(Base, prototype, constructor) {
  constructor.prototype = prototype;
  // V8 sizes an object by the constructors in this chain.
  return /** @type {any} */ (Object.setPrototypeOf(constructor, Base));
}

/**
 * Would a field of the object meet an accessor or a constant of the prototype, which was not there yet when Node set it?
 * @param {any} object @param {any} prototype @param {Function} Base
 */
function collides(object, prototype, Base) {
  for (let at = prototype; at !== Base.prototype; at = Object.getPrototypeOf(at)) {
    for (const key of Reflect.ownKeys(at)) {
      if (Object.hasOwn(object, key) && Object.getOwnPropertyDescriptor(at, key)?.writable !== true) return true;
    }
  }
  return false;
}

/** From now on everything is as Node makes it. */
function disallow() {
  allowed = false;
}

module.exports = { birthOf, disallow };
