// The true SurrealDB engine (@surrealdb/node) behind the WebSocket protocol of its server (RPC in CBOR), for tests.
// The engine is the real one; what is between it and the socket is ours: a session for each connection, envelopes,
// and the way of live notifications. Knows root:root and listens on 127.0.0.1.
//
// usage: node surreal-bridge.mjs PORT [ENGINE]      ENGINE: mem:// (default) or surrealkv://PATH, which keeps its data

import { randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';
import { CborCodec, Uuid } from 'surrealdb';
import { WebSocketServer } from 'ws';

const LARGEST_BYTES = 128 << 20;
const USER = "DEFINE USER OVERWRITE root ON ROOT PASSWORD 'root' ROLES OWNER";
const REFUSED = -32000; // the protocol's code for an error of the server

const [port, store = 'mem://'] = process.argv.slice(2);
const cbor = new CborCodec({});
const engine = await connect(store);
const listeners = new Map(); // live query -> its socket

// The package exports its client alone; the engine that takes raw messages is in its binary.
async function connect(url) {
  const binary = `./node_modules/@surrealdb/node/dist/surrealdb-node.${process.platform}-${process.arch}-gnu.node`;
  const { SurrealNodeEngine } = createRequire(import.meta.url)(binary);
  const capabilities = { live_query_notifications: true, functions: true, guest_access: true, scripting: false };
  return SurrealNodeEngine.connect(url, { capabilities });
}

// A map of CBOR with one more entry; what is in it stays as it was written, to the byte.
function withEntry(map, name, raw) {
  return Buffer.concat([Buffer.from([map[0] + 1]), map.subarray(1), cbor.encode(name), raw]);
}

// The engine answers with the bare result, or with {error}; the protocol wants {id, result} or {id, error}.
async function answer(request, session) {
  const { id } = cbor.decode(request);
  try {
    const raw = await engine.execute(withEntry(request, 'session', cbor.encode(session)));
    const result = cbor.decode(raw);
    if (Number.isInteger(result?.error?.code)) return { reply: cbor.encode({ id, error: result.error }) };
    return { result, reply: withEntry(cbor.encode({ id }), 'result', raw) };
  } catch (error) {
    return { reply: cbor.encode({ id, error: { code: REFUSED, message: String(error?.message ?? error) } }) };
  }
}

function call(method, params, session) {
  return answer(cbor.encode({ id: method, method, params }), session);
}

// `live` returns the id of the live query; a query returns that of each LIVE SELECT among its statements.
function liveQueries({ method, params }, result) {
  if (method === 'live') return result instanceof Uuid ? [String(result)] : [];
  if (method !== 'query' || !/\blive\s+select\b/i.test(String(params?.[0])) || !Array.isArray(result)) return [];
  return result.map((statement) => statement.result).filter((found) => found instanceof Uuid).map(String);
}

async function serve(socket) {
  const session = new Uuid(randomUUID());
  const live = new Set();
  const attached = call('attach', [], session);

  socket.on('message', async (data) => {
    await attached;
    const { result, reply } = await answer(data, session);
    for (const id of liveQueries(cbor.decode(data), result)) {
      live.add(id);
      listeners.set(id, socket);
    }
    if (socket.readyState === socket.OPEN) socket.send(reply);
  });

  socket.on('close', async () => { // as the server does: live queries and session end with their connection
    for (const id of live) {
      listeners.delete(id);
      await call('kill', [new Uuid(id)], session);
    }
    await call('detach', [], session);
  });
}

async function notify() {
  const notifications = await engine.notifications();
  for (let raw = await notifications.recv(); raw !== null; raw = await notifications.recv()) {
    const socket = listeners.get(String(cbor.decode(raw).id));
    if (socket?.readyState === socket?.OPEN) socket?.send(withEntry(cbor.encode({}), 'result', raw));
  }
}

const boot = new Uuid(randomUUID());
await call('attach', [], boot);
await call('query', [USER, {}], boot);
notify();
new WebSocketServer({
  host: '127.0.0.1',
  port: Number(port),
  path: '/rpc',
  maxPayload: LARGEST_BYTES,
  handleProtocols: (offered) => offered.has('cbor') && 'cbor',
}).on('connection', serve);
