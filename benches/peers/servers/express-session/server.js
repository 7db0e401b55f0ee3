// The routes of the comparison on express-session, with connect-redis and redis as their READMEs show. `rolling` makes
// the expiry a rolling one. One worker a core, with the module `cluster` of Node.

import { RedisStore } from 'connect-redis';
import express from 'express';
import session from 'express-session';
import cluster from 'node:cluster';
import { availableParallelism } from 'node:os';
import { createClient } from 'redis';

if (cluster.isPrimary) {
  for (let i = 0; i < availableParallelism(); i++) cluster.fork();
} else {
  await serve();
}

async function serve() {
  const client = createClient({ url: process.env.REDIS_URL });
  client.on('error', (error) => console.error(error.message));
  await client.connect();

  const app = express();
  app.disable('etag');
  app.get('/bare', (request, response) => response.send('ok'));
  app.use(
    session({
      store: new RedisStore({ client }),
      resave: false,
      saveUninitialized: false,
      secret: 'the secret of a bench, 32 bytes or more',
      rolling: true,
      cookie: { maxAge: 60 * 60 * 1000 },
    }),
  );
  app.get('/read', (request, response) => response.send(String(request.session.count ?? 0)));
  app.get('/count', (request, response) => {
    const count = (request.session.count ?? 0) + 1;
    request.session.count = count;
    response.send(String(count));
  });
  app.get('/login', (request, response) => {
    Object.assign(request.session, { user: 'ada', name: 'Ada Lovelace', theme: 'dark', language: 'en', count: 0 });
    response.send('ok');
  });
  app.get('/logout', (request, response, next) => {
    request.session.destroy((error) => (error ? next(error) : response.send('ok')));
  });
  app.get('/has/:key', (request, response) => response.send(String(request.params.key in request.session)));
  app.get('/slow/:key', (request, response) => {
    request.session[request.params.key] = true;
    setTimeout(() => response.send('ok'), 300);
  });
  app.listen(process.env.PORT, '127.0.0.1');
}
