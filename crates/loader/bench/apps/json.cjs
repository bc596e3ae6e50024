'use strict';
require('http').createServer((req, res) => {
  const body = JSON.stringify({ message: 'Hello, world!', path: req.url, list: [1, 2, 3] });
  res.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) });
  res.end(body);
}).listen(Number(process.env.PORT));
