'use strict';
// One Buffer of SIZE bytes per answer; WRITES > 1: so many chunks of it.
const size = Number(process.env.SIZE ?? 4096);
const writes = Number(process.env.WRITES ?? 1);
const body = Buffer.alloc(size, 'x');
require('http').createServer((req, res) => {
  for (let i = 1; i < writes; i++) res.write(body);
  res.end(body);
}).listen(Number(process.env.PORT));
