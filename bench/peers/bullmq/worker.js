// A BullMQ worker whose handler does nothing.
'use strict';
const { Worker } = require('bullmq');
const { record } = require('../node/latency.js');
const { connection, queueName } = require('./connection.js');

const worker = new Worker(queueName, async () => {}, { connection, concurrency: Number(process.env.PEER_CONCURRENCY) });
// Comes when Redis has answered that the job is completed.
worker.on('completed', (job) => {
  if (job.name === 'stamped') {
    record(job.data.time);
  }
});
worker.on('error', (error) => console.error(error));
process.on('SIGTERM', () => worker.close().then(() => process.exit(0)));
