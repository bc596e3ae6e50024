'use strict';
const body = Buffer.from('Hello, world!\n');
require('http').createServer((req, res) => {
  res.setHeader('Content-Type', 'text/plain');
  res.end(body);
}).listen(Number(process.env.PORT));
