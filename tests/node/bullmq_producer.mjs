// A producer: does what it reads, a line of JSON each: {"method": "add", "args": [...]} of the queue, or of a job when
// there is a "job", or of flows when there is a "flow". Writes, a line each, the replies and all that QueueEvents sees.
// node bullmq_producer.mjs URL QUEUE
import { createInterface } from "node:readline";
import { FlowProducer, Queue, QueueEvents } from "bullmq";

const [url, name] = process.argv.slice(2);
const connection = { url };
const events = ["added", "waiting", "delayed", "active", "progress", "stalled", "completed", "failed", "removed",
  "retries-exhausted"];

const say = (what) => console.log(JSON.stringify(what));
const queue = new Queue(name, { connection });
const flows = new FlowProducer({ connection });
const seen = new QueueEvents(name, { connection });
for (const event of events) {
  seen.on(event, (fields, id) => say({ event, at: Number(id.split("-")[0]), ...fields })); // `at` by the clock of Redis
}
await Promise.all([queue.waitUntilReady(), seen.waitUntilReady()]);
say({ ready: true });

for await (const line of createInterface({ input: process.stdin })) {
  const { method, args, job, flow } = JSON.parse(line);
  try {
    const target = flow ? flows : job ? await queue.getJob(job) : queue;
    const reply = (await target[method](...args)) ?? null;
    say({ reply: reply?.job ?? reply });
  } catch (error) {
    say({ reply: null, error: String(error) });
  }
}
await Promise.all([seen.close(), flows.close(), queue.close()]);
