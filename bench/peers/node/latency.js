// The worker's side of the latency figures: how long ago a task was submitted, to the file of the harness.
'use strict';
const fs = require('node:fs');

const file = fs.openSync(process.env.PEER_LATENCY_FILE, 'a');

/// Called when a task ends. The time is taken before the write, so that the write is not part of it.
function record(submitted) {
  const took = Number(process.hrtime.bigint()) - submitted;
  fs.writeSync(file, `${took}\n`);
}

module.exports = { record };
