// A worker, as others run them on the same queue: obeys `metadata` of the payload (`sleep` in seconds, `fail` so many
// attempts, `hold` for ever, which our handlers do not know) and writes, a line of JSON each, what it begins and how it
// ends. Ends when its input does, with its jobs.
// node bullmq_worker.mjs URL QUEUE OPTIONS
import { setTimeout as pause } from "node:timers/promises";
import { Worker } from "bullmq";

const [url, name, options] = process.argv.slice(2);
const say = (what) => console.log(JSON.stringify(what));

const worker = new Worker(
  name,
  async (job) => {
    say({ began: job.id, attempts: job.attemptsMade });
    const wish = job.data.metadata ?? {};
    if (wish.hold) await new Promise(() => {});
    if (wish.sleep) await pause(wish.sleep * 1000);
    if (job.attemptsMade < (wish.fail ?? 0)) throw new Error("failed in Node");
    return { by: "node" };
  },
  { connection: { url }, ...JSON.parse(options) },
);
worker.on("completed", (job) => say({ completed: job.id }));
worker.on("failed", (job, error) => say({ failed: job?.id, reason: error.message }));
worker.on("error", () => {}); // it tries again by itself
await worker.waitUntilReady();
say({ ready: true });

for await (const _ of process.stdin);
await worker.close();
