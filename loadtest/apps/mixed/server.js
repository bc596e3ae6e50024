'use strict';
// Most answers are quick; /block keeps the event loop busy for 20 ms, as a careless computation does.
const http = require('node:http');

const BLOCK_MS = 20;

function block() {
  const end = performance.now() + BLOCK_MS;
  while (performance.now() < end);
}

http.createServer((request, response) => {
  const isSlow = request.url === '/block';
  if (isSlow) block();
  const body = isSlow ? 'blocked\n' : 'quick\n';
  response.writeHead(200, { 'content-type': 'text/plain', 'content-length': body.length });
  response.end(body);
}).listen(process.env.PORT);
