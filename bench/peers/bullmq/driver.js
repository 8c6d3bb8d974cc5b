// Submits to BullMQ and counts its completed jobs.
'use strict';
const { Redis } = require('ioredis');
const { Queue } = require('bullmq');
const { serve } = require('../node/driver.js');
const { connection, queueName } = require('./connection.js');

const redis = new Redis(connection);
const queue = new Queue(queueName, { connection });

queue.waitUntilReady().then(() =>
  serve({
    async reset() {
      await redis.flushall();
    },
    async submitBulk(tasks) {
      await queue.addBulk(Array.from({ length: tasks }, () => ({ name: 'no-op', data: {} })));
    },
    submit: () => queue.add('no-op', {}),
    submitStamped: (time) => queue.add('stamped', { time }),
    completed: () => queue.getCompletedCount(),
  }),
);
