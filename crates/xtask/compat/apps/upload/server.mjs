// Takes multipart uploads: /stream hashes as the bytes come (busboy), /memory keeps them (multer behind Express).

import crypto from 'node:crypto';
import http from 'node:http';

import busboy from 'busboy';
import express from 'express';
import multer from 'multer';

const app = express();

app.post('/stream', (req, res) => {
  const parser = busboy({ headers: req.headers });
  const answer = { fields: {} };
  parser.on('field', (name, value) => (answer.fields[name] = value));
  parser.on('file', (name, file, { filename }) => {
    const hash = crypto.createHash('sha256');
    let bytes = 0;
    file.on('data', (chunk) => {
      hash.update(chunk);
      bytes += chunk.length;
    });
    file.on('end', () => Object.assign(answer, { name, filename, bytes, sha256: hash.digest('hex') }));
  });
  parser.on('close', () => res.json({ ...answer, rss: process.memoryUsage.rss() }));
  parser.on('error', (error) => res.status(400).json({ error: error.message }));
  req.pipe(parser);
});

app.post('/memory', multer({ limits: { fileSize: 1 << 20 } }).single('file'), (req, res) => {
  const sha256 = crypto.createHash('sha256').update(req.file.buffer).digest('hex');
  res.json({ fields: { ...req.body }, bytes: req.file.size, sha256 });
});

app.use((error, req, res, next) => {
  void next;
  res.status(413).json({ error: error.message });
});

const server = http.createServer(app);
// A large upload may take longer than five minutes on a slow machine.
server.requestTimeout = 0;
server.listen(Number(process.env.PORT), '127.0.0.1');
process.on('SIGTERM', () => server.close(() => process.exit(0)));
