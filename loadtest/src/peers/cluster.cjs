'use strict';
// The primary of Node's cluster, as its manual shows it: forks the app, restarts nobody, ends with its workers.
// Arguments: the app's script, the number of workers, a script that each worker loads first.

const cluster = require('node:cluster');

const [script, workers, preload] = process.argv.slice(2);

cluster.setupPrimary({ exec: script, execArgv: ['--require', preload] });
for (let index = 0; index < Number(workers); index += 1) cluster.fork();

process.on('SIGTERM', () => {
  for (const worker of Object.values(cluster.workers)) worker.process.kill('SIGTERM');
});
// A load test with fewer workers than it was asked for would measure something else.
cluster.on('exit', () => {
  if (Object.keys(cluster.workers).length === 0) process.exit(1);
});
