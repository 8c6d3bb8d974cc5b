// The driver's side of the protocol (see harness/process.py) for peers that are Node libraries.
'use strict';
const readline = require('node:readline');

const BATCH = 1000; // tasks in one bulk submit, as for ours
const BATCHES_IN_FLIGHT = 4; // bulk submits under way at once, as for ours

/// The time that all processes of this machine share, in nanoseconds. It is below 2^53 for a hundred days of uptime.
const now = () => Number(process.hrtime.bigint());

/// Runs `step` so many times, so many at once.
async function repeat(times, atOnce, step) {
  let started = 0;
  const lane = async () => {
    while (started < times) {
      await step(started++);
    }
  };
  await Promise.all(Array.from({ length: Math.min(times, atOnce) }, lane));
}

/// Submits at a fixed rate, whether or not the submits before have been answered.
async function paced(peer, tasks, rate) {
  const start = performance.now();
  const submits = [];
  for (let task = 0; task < tasks; task++) {
    const wait = start + (task * 1000) / rate - performance.now();
    if (wait > 0) {
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
    submits.push(peer.submitStamped(now()));
  }
  await Promise.all(submits);
}

async function answer(peer, question) {
  const { do: what, tasks } = question;
  switch (what) {
    case 'reset':
      await peer.reset();
      return {};
    case 'batch': {
      const size = (index) => Math.min(BATCH, tasks - index * BATCH);
      await repeat(Math.ceil(tasks / BATCH), BATCHES_IN_FLIGHT, (index) => peer.submitBulk(size(index)));
      return {};
    }
    case 'single':
      await repeat(tasks, question.in_flight, () => peer.submit());
      return {};
    case 'paced':
      await paced(peer, tasks, question.rate);
      return {};
    case 'completed':
      return { tasks: await peer.completed() };
    default:
      throw new Error(`no such thing to do: ${what}`);
  }
}

/// Answers until the input ends. `peer` has reset(), submitBulk(n), submit(), submitStamped(time) and completed().
async function serve(peer) {
  const say = (message) => process.stdout.write(JSON.stringify(message) + '\n');
  say({ ready: true });
  for await (const line of readline.createInterface({ input: process.stdin })) {
    try {
      say(await answer(peer, JSON.parse(line)));
    } catch (error) {
      say({ error: String(error?.stack ?? error) });
    }
  }
  process.exit(0);
}

module.exports = { serve };
