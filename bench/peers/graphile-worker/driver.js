// Submits to graphile-worker. A completed job is deleted, so completed is what was submitted and is no longer there.
'use strict';
const { Pool } = require('pg');
const { makeWorkerUtils } = require('graphile-worker');
const { serve } = require('../node/driver.js');

const CONNECTIONS = 16;

async function main() {
  const pool = new Pool({ connectionString: process.env.PEER_POSTGRES, max: CONNECTIONS });
  pool.on('error', (error) => console.error(error));
  pool.on('connect', (client) => client.on('error', (error) => console.error(error)));
  await pool.query('DROP SCHEMA IF EXISTS graphile_worker CASCADE');
  const utils = await makeWorkerUtils({ pgPool: pool });
  await utils.migrate();
  let submitted = 0;
  const submit = async (identifier, payload) => {
    await utils.addJob(identifier, payload);
    submitted += 1;
  };
  await serve({
    async reset() {
      await pool.query('TRUNCATE graphile_worker._private_jobs');
      submitted = 0;
    },
    async submitBulk(tasks) {
      await utils.addJobs(Array.from({ length: tasks }, () => ({ identifier: 'no-op', payload: {} })));
      submitted += tasks;
    },
    submit: () => submit('no-op', {}),
    submitStamped: (time) => submit('stamped', { time }),
    async completed() {
      const { rows } = await pool.query('SELECT count(*)::int AS left FROM graphile_worker._private_jobs');
      return submitted - rows[0].left;
    },
  });
}

main();
