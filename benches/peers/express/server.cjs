// The routes of the comparison on express-session and connect-redis, with two workers and `rolling: true`.
//
// `node server.cjs PORT REDIS`.
const cluster = require('node:cluster');
const [port, url] = process.argv.slice(2);

if (cluster.isPrimary) {
  process.on('SIGTERM', () => {
    for (const worker of Object.values(cluster.workers)) worker.process.kill('SIGKILL');
    process.exit(0);
  });
  for (let worker = 0; worker < 2; worker++) cluster.fork();
} else {
  serve();
}

async function serve() {
  const express = require('express');
  const session = require('express-session');
  const { RedisStore } = await import('connect-redis');
  const { createClient } = await import('redis');
  const client = createClient({ url });
  client.on('error', () => {});
  await client.connect();
  const app = express();
  app.disable('etag');
  app.get('/bare', (request, response) => response.send('ok'));
  app.use(session({
    store: new RedisStore({ client }),
    secret: 'a secret for the comparison',
    resave: false,
    saveUninitialized: false,
    rolling: true,
    cookie: { maxAge: 3600_000 },
  }));
  const write = (request) => { request.session[request.query.key] = request.query.value; };
  app.get('/read', (request, response) => response.send(String(request.session[request.query.key] ?? '')));
  app.get('/write', (request, response) => { write(request); response.send('ok'); });
  app.get('/slow-write', (request, response) => { write(request); setTimeout(() => response.send('ok'), 200); });
  app.get('/logout', (request, response) => request.session.destroy(() => response.send('logged out')));
  app.listen(port, '127.0.0.1');
}
