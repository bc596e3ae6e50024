'use strict';
// Answers of any size: GET /65536 gives that many bytes.
const http = require('node:http');

const bodies = new Map();

http.createServer((request, response) => {
  const size = Math.min(Number(request.url.slice(1)) || 0, 64 * 1024 * 1024);
  let body = bodies.get(size);
  if (!body) bodies.set(size, body = Buffer.alloc(size, 'x'));
  response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': body.length });
  response.end(body);
}).listen(process.env.PORT);
