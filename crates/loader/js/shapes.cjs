'use strict';

// Owns decoders for heads that look alike. Nearly all requests of an app have one of a few lists of header names, all of them known by
// number; for such a list this makes a function that cuts the values and builds both objects as literals, which V8 gives a
// ready hidden class. Filling them in a loop takes two to four times as long.
// Must never know: requests, sockets, where the bytes come from.

const vm = require('vm');
const C = require('./constants.cjs');

const { NAMES } = C;
/** The key of each numbered name in `req.headers`. */
const KEYS = NAMES.map((name) => name.toLowerCase());
/** Bytes of a line of the header table: name's number, name's length if it is text, value's length. */
const LINE_BYTES = 4;

/** A list is worth a function when it has been seen this often: more than a compilation costs. */
const SEEN_MIN = 32;
/** When there are more, all are forgotten: whoever sends ever new lists has them all decoded in the loop. */
const SHAPES_MAX = 64;
const COUNTS_MAX = 256;

/**
 * @typedef {{
 *   numbers: Uint8Array,
 *   nameBytes: number,
 *   decode: (buffer: Buffer, table: number, text: string, at: number, head: any) => number,
 * }} Shape `decode` fills `rawHeaders` and `headers` and gives the end of the last value in `text`
 */

/** @type {Map<number, Shape | null>} by hash of the numbers; null: this list has no function */
const shapes = new Map();
/** @type {Map<number, number>} */
const counts = new Map();
/** @type {Shape | null} the last one found */
let last = null;

/**
 * @param {Buffer} buffer @param {number} table where the header table starts @param {number} count its lines
 * @returns {Shape | null}
 */
function shapeOf(buffer, table, count) {
  if (last !== null && fits(last, buffer, table, count)) return last;
  let hash = count;
  for (let i = 0; i < count; i++) hash = (Math.imul(hash, 31) + buffer[table + LINE_BYTES * i]) | 0;
  const shape = shapes.get(hash);
  if (shape === undefined) return seen(hash, buffer, table, count);
  if (shape === null || !fits(shape, buffer, table, count)) return null;
  return last = shape;
}

/** @param {Shape} shape @param {Buffer} buffer @param {number} table @param {number} count */
function fits(shape, buffer, table, count) {
  const { numbers } = shape;
  if (numbers.length !== count) return false;
  for (let i = 0; i < count; i++, table += LINE_BYTES) {
    if (buffer[table] !== numbers[i] || buffer[table + 1] !== 0) return false;
  }
  return true;
}

/** @param {number} hash @param {Buffer} buffer @param {number} table @param {number} count */
function seen(hash, buffer, table, count) {
  const times = (counts.get(hash) ?? 0) + 1;
  if (counts.size >= COUNTS_MAX) counts.clear();
  counts.set(hash, times);
  if (times < SEEN_MIN) return null;
  counts.delete(hash);
  if (shapes.size >= SHAPES_MAX) shapes.clear();
  const numbers = Uint8Array.from({ length: count }, (_, i) => buffer[table + LINE_BYTES * i]);
  shapes.set(hash, regular(numbers) ? compile(numbers) : null);
  return null;
}

/** Each line sets a key of its own to its value: no text, no repetition, no list. @param {Uint8Array} numbers */
function regular(numbers) {
  const keys = Array.from(numbers, (number) => KEYS[number]);
  return keys.every((key) => key !== '' && key !== undefined && key !== 'set-cookie') && new Set(keys).size === keys.length;
}

/** The text of the function comes from our own table of names alone. @param {Uint8Array} numbers @returns {Shape | null} */
function compile(numbers) {
  const lines = Array.from(numbers, (number, i) => ({
    name: JSON.stringify(NAMES[number]), key: JSON.stringify(KEYS[number]), value: `v${i}`, length: LINE_BYTES * i + 2,
  }));
  const text = [
    ...lines.map(({ value, length }) => `const ${value} = text.slice(at, at += buffer[table + ${length}] | (buffer[table + ${length + 1}] << 8));`),
    `head.rawHeaders = [${lines.map(({ name, value }) => `${name}, ${value}`).join(', ')}];`,
    `head.headers = { ${lines.map(({ key, value }) => `${key}: ${value}`).join(', ')} };`,
    'return at;',
  ].join('\n');
  try {
    const decode = /** @type {any} */ (vm.compileFunction(text, ['buffer', 'table', 'text', 'at', 'head'], { filename: 'hostler:head' }));
    return { numbers, nameBytes: numbers.reduce((sum, number) => sum + NAMES[number].length, 0), decode };
  } catch {
    return null; // the app's process does without code from text
  }
}

module.exports = { KEYS, shapeOf };
