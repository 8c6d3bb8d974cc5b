// Where the queue is; shared by driver and worker.
'use strict';

const connection = {
  host: '127.0.0.1',
  port: Number(process.env.PEER_REDIS_PORT),
  maxRetriesPerRequest: null, // BullMQ asks for it
};

module.exports = { connection, queueName: 'no-op' };
