'use strict';
// The smallest server: 14 bytes from a Buffer. It knows nothing of Hostler and runs with plain `node` too.

const http = require('node:http');

const body = Buffer.from('Hello, world!\n');
const headers = { 'content-type': 'text/plain', 'content-length': body.length };

const server = http.createServer((request, response) => {
  response.writeHead(200, headers);
  response.end(body);
});

server.listen(process.env.PORT || 3000);
