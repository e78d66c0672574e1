// Put a job on the queue as a producer in Node does: node client.mjs TEXT
import { Queue } from 'bullmq';

const queue = new Queue('noop', { connection: { host: '127.0.0.1', port: 6380 } });
await queue.add('noop', { content: process.argv[2] });
await queue.close();
