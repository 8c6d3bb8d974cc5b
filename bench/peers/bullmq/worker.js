// A BullMQ worker whose handler does nothing.
'use strict';
const { Worker } = require('bullmq');
const { record } = require('../node/latency.js');
const { connection, queueName } = require('./connection.js');

const handler = async (job) => {
  if (job.name === 'stamped') {
    record(job.data.time);
  }
};
const worker = new Worker(queueName, handler, { connection, concurrency: Number(process.env.PEER_CONCURRENCY) });
worker.on('error', (error) => console.error(error));
process.on('SIGTERM', () => worker.close().then(() => process.exit(0)));
