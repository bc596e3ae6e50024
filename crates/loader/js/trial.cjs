'use strict';

// Owns what Node's own parser says to bytes of which nothing may come of yet: parsers whose requests nobody gets.
// Must never know: who asks, frames.

/** For Node's parser: the rest is none of its business. */
const UPGRADED = 2;
const CHUNKED = 'POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n';

/** Node's class of parsers. @type {any} */
let HTTPParser = null;

/** From the first parser that Node makes; that is in the self-test. @param {any} parser */
function learn(parser) {
  HTTPParser = parser.constructor;
}

/** A parser whose requests nobody gets, otherwise as connectionListenerInternal of _http_server.js sets it up. */
class Trial {
  /** @param {any} server @param {boolean} [goesOn] reads the bodies of requests too */
  constructor(server, goesOn = false) {
    const parser = this.parser = new HTTPParser();
    this.takes = false;
    parser.initialize(HTTPParser.REQUEST, {}, server.maxHeaderSize || 0);
    parser.maxHeaderPairs = typeof server.maxHeadersCount === 'number' ? server.maxHeadersCount << 1 : 2000;
    for (const key of [HTTPParser.kOnHeaders, HTTPParser.kOnBody, HTTPParser.kOnMessageComplete]) parser[key | 0] = () => {};
    parser[HTTPParser.kOnHeadersComplete | 0] = () => {
      this.takes = true;
      return goesOn ? 0 : UPGRADED;
    };
  }

  /** @param {Buffer} bytes @returns {boolean | null} whether Node refuses them; null if that is not known yet */
  push(bytes) {
    return this.verdict(this.parser.execute(bytes));
  }

  /** No more bytes will come. */
  end() {
    return this.verdict(this.parser.finish());
  }

  /** @private @param {unknown} result */
  verdict(result) {
    if (this.takes) return false;
    return result instanceof Error ? true : null;
  }

  close() {
    this.parser.close();
  }
}

/**
 * What the parser of a connection would have raised in a chunked body, as prepareError of _http_server.js leaves it.
 * @param {any} server @param {Buffer} lead brings a parser to the place @param {Buffer} bytes not valid there
 * @returns {Error | null} null if this Node does not mind
 */
function bodyError(server, lead, bytes) {
  const trial = new Trial(server, true);
  trial.parser.execute(Buffer.concat([Buffer.from(CHUNKED), lead]));
  const error = trial.parser.execute(bytes);
  trial.close();
  if (!(error instanceof Error)) return null;
  return Object.assign(error, { rawPacket: bytes, message: `Parse Error: ${/** @type {any} */ (error).reason}` });
}

module.exports = { Trial, bodyError, learn };
