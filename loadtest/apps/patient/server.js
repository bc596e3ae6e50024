'use strict';
// Answers like examples/hello, and keeps silent connections open for ten minutes instead of Node's five seconds.
const http = require('node:http');

const body = Buffer.from('Hello, world!\n');
const headers = { 'content-type': 'text/plain', 'content-length': body.length };

const server = http.createServer((request, response) => {
  response.writeHead(200, headers);
  response.end(body);
});

server.keepAliveTimeout = 600_000;
server.listen(process.env.PORT);
