'use strict';
// Reads a body of any size and tells how long it was.
const http = require('node:http');

http.createServer((request, response) => {
  let bytes = 0;
  request.on('data', (chunk) => { bytes += chunk.length; });
  request.on('end', () => {
    const body = `${bytes}\n`;
    response.writeHead(200, { 'content-type': 'text/plain', 'content-length': body.length });
    response.end(body);
  });
}).listen(process.env.PORT);
