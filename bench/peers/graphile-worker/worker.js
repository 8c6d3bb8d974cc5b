// A graphile-worker runner whose handler does nothing.
'use strict';
const { Logger, run } = require('graphile-worker');
const { record } = require('../node/latency.js');

const concurrency = Number(process.env.PEER_CONCURRENCY);
const localQueue = Number(process.env.PEER_LOCAL_QUEUE);
// The delay of 0 still gathers what completes in one turn of the event loop.
const batched = {
  worker: { localQueue: { size: localQueue, refetchDelay: { durationMs: 10 } }, completeJobBatchDelay: 0, failJobBatchDelay: 0 },
};

run({
  connectionString: process.env.PEER_POSTGRES,
  concurrency,
  maxPoolSize: concurrency + 2,
  logger: new Logger(() => (level, message) => level === 'error' && console.error(message)),
  taskList: {
    'no-op': async () => {},
    stamped: async ({ time }) => record(time),
  },
  preset: localQueue > 0 ? batched : undefined,
});
