// The OpenID provider of the tests: `oidc-provider` with a plain login form, and knobs for faults.
//
// Run:   echo '{"host":"127.0.0.2","port":0, …}' | node provider.mjs     (every key is explained at `settings`)
// Says:  READY {"port":…,"issuer":"…"} on standard output when it listens.
// Ends:  when its standard input is closed, so that no provider outlives the tests that started it.
//
// `POST /control/…` steers it while it runs; nothing there is part of OpenID Connect.
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import readline from 'node:readline';

import { exportJWK, generateKeyPair } from 'jose';
import { Provider } from 'oidc-provider';

const input = readline.createInterface({ input: process.stdin });
const firstLine = await new Promise((resolve) => { input.once('line', resolve); });
input.on('close', () => process.exit(0));

const settings = {
  host: '127.0.0.2',
  port: 0,
  issuer: null, // made from host and port unless set
  tls: null, // { cert, key }: PEM files
  algorithms: ['RS256'], // one signing key for each
  clients: [], // as in OpenID Connect Dynamic Client Registration, client_secret included
  users: {}, // name -> { password, claims }
  access_token_ttl: 3600,
  id_token_ttl: 3600,
  rotate_refresh_tokens: false,
  audience: 'api', // of access tokens that are JWTs
  claims_in_id_token: true, // as most providers do; else they are at userinfo only
  ...JSON.parse(firstLine),
};

const users = new Map(Object.entries(settings.users));
const store = new Map(); // 'Model:id' -> { payload, expires }; unlike the one that comes along, it forgets nothing early
const faults = []; // { path, times, status, body, headers, delay_ms, drop }
const seen = []; // every protocol request: { method, path, query, authorization, origin, body }
const cookieKeys = [crypto.randomBytes(32).toString('hex')];

class Memory {
  constructor(model) {
    this.model = model;
  }

  async upsert(id, payload, ttl) {
    store.set(`${this.model}:${id}`, { payload, expires: ttl ? Date.now() + ttl * 1000 : Infinity });
  }

  async find(id) {
    const entry = store.get(`${this.model}:${id}`);
    return entry && entry.expires > Date.now() ? entry.payload : undefined;
  }

  async findByUid(uid) {
    return this.#first((payload) => payload.uid === uid);
  }

  async findByUserCode(userCode) {
    return this.#first((payload) => payload.userCode === userCode);
  }

  #first(matches) {
    for (const [key, { payload, expires }] of store) {
      if (key.startsWith(`${this.model}:`) && expires > Date.now() && matches(payload)) return payload;
    }
    return undefined;
  }

  async consume(id) {
    const entry = store.get(`${this.model}:${id}`);
    if (entry) entry.payload = { ...entry.payload, consumed: Math.floor(Date.now() / 1000) };
  }

  async destroy(id) {
    store.delete(`${this.model}:${id}`);
  }

  async revokeByGrantId(grantId) {
    for (const [key, { payload }] of store) if (payload.grantId === grantId) store.delete(key);
  }
}

async function newKeys() {
  return Promise.all(settings.algorithms.map(async (alg) => {
    const { privateKey } = await generateKeyPair(alg, { extractable: true });
    return { ...(await exportJWK(privateKey)), alg, use: 'sig', kid: crypto.randomUUID() };
  }));
}

function addClient(client) {
  const metadata = {
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    id_token_signed_response_alg: settings.algorithms[0],
    ...client,
  };
  store.set(`Client:${metadata.client_id}`, { payload: metadata, expires: Infinity });
}

function newProvider(issuer, keys) {
  const provider = new Provider(issuer, {
    adapter: Memory,
    jwks: { keys },
    cookies: { keys: cookieKeys },
    conformIdTokenClaims: !settings.claims_in_id_token,
    claims: {
      openid: ['sub', 'groups', 'realm_access'],
      profile: ['name', 'given_name', 'family_name', 'preferred_username', 'locale', 'zoneinfo', 'picture'],
      email: ['email', 'email_verified'],
      userinfo_only: [],
    },
    scopes: ['openid', 'offline_access', 'read', 'write'],
    clientDefaults: { grant_types: ['authorization_code', 'refresh_token'] },
    enabledJWA: { idTokenSigningAlgValues: settings.algorithms },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: { enabled: true },
      revocation: { enabled: true },
      // `resource=urn:alg:ES256` asks for an access token that is a JWT signed so (RFC 8707, RFC 9068); without it it is opaque.
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: async (ctx, resource) => ({
          scope: 'read write',
          audience: settings.audience,
          accessTokenTTL: settings.access_token_ttl,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: resource.slice('urn:alg:'.length) } },
        }),
      },
      rpInitiatedLogout: { enabled: true, logoutSource },
      userinfo: { enabled: true },
    },
    pkce: { required: () => true },
    routes: { authorization: '/auth' },
    rotateRefreshToken: settings.rotate_refresh_tokens,
    issueRefreshToken: async (ctx, client) => client.grantTypeAllowed('refresh_token'),
    expiresWithSession: async () => false,
    ttl: {
      AccessToken: settings.access_token_ttl,
      ClientCredentials: settings.access_token_ttl,
      IdToken: settings.id_token_ttl,
      AuthorizationCode: 60,
      RefreshToken: 86400,
      Interaction: 3600,
      Session: 86400,
      Grant: 86400,
    },
    interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
    findAccount: async (ctx, name) => {
      const user = users.get(name);
      return user && { accountId: name, claims: async () => ({ sub: name, ...user.claims }) };
    },
    // Consent is given without a question: the tests are about the gateway.
    loadExistingGrant: async (ctx) => {
      const { client, session, provider: op } = ctx.oidc;
      const known = ctx.oidc.result?.consent?.grantId || session.grantIdFor(client.clientId);
      const grant = (known && (await op.Grant.find(known)))
        || new op.Grant({ clientId: client.clientId, accountId: session.accountId });
      grant.addOIDCScope('openid profile email offline_access');
      await grant.save();
      return grant;
    },
  });
  provider.on('server_error', (ctx, error) => console.error(error));
  return provider;
}

function page(title, body) {
  return `<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>${title}</title><h1>${title}</h1>${body}</html>`;
}

async function logoutSource(ctx, form) {
  ctx.body = page('Sign out at the provider?', `${form}
    <button autofocus id="confirm" type="submit" form="op.logoutForm" value="yes" name="logout">Yes</button>`);
}

function loginForm(message = '') {
  return page('Sign in', `<p id="message">${message}</p><form method="post">
    <label>User <input name="username" autocomplete="off" autofocus></label>
    <label>Password <input name="password" type="password"></label>
    <button type="submit">Sign in</button></form>`);
}

async function bodyOf(req) {
  const parts = [];
  for await (const part of req) parts.push(part);
  return Buffer.concat(parts).toString('utf8');
}

function answer(res, status, value) {
  const text = typeof value === 'string';
  res.writeHead(status, { 'content-type': text ? 'text/html; charset=utf-8' : 'application/json' });
  res.end(text ? value : JSON.stringify(value));
}

async function interaction(req, res) {
  try {
    await current.interactionDetails(req, res);
  } catch {
    return answer(res, 400, page('This sign-in is over', '<p id="over">It was finished before.</p>'));
  }
  if (req.method === 'GET') return answer(res, 200, loginForm());
  const form = new URLSearchParams(await bodyOf(req));
  const user = users.get(form.get('username'));
  if (form.get('action') === 'refuse') {
    return current.interactionFinished(req, res, { error: 'access_denied', error_description: form.get('why') ?? 'no' });
  }
  if (!user || user.password !== form.get('password')) return answer(res, 200, loginForm('Wrong user or password'));
  const result = { login: { accountId: form.get('username'), remember: true } };
  return current.interactionFinished(req, res, result, { mergeWithLastSubmission: false });
}

const control = {
  rotate: async ({ keep = false }) => {
    const fresh = await newKeys();
    keys = keep ? [...fresh, ...keys] : fresh;
    current = newProvider(issuer, keys);
    return { kids: keys.map((key) => key.kid) };
  },
  clients: async (client) => addClient(client),
  users: async ({ name, ...user }) => { users.set(name, user); },
  faults: async (fault) => { faults.push({ times: Infinity, ...fault }); },
  heal: async () => { faults.length = 0; },
  seen: async () => seen,
  forget: async () => { seen.length = 0; },
  // Ends what one model holds: {"model":"RefreshToken"} makes the next refresh fail with invalid_grant.
  revoke: async ({ model }) => {
    for (const key of store.keys()) if (key.startsWith(`${model}:`)) store.delete(key);
  },
};

/** Carries out a planned fault; true where the request is answered with it. */
async function fail(req, res, path) {
  const fault = faults.find((f) => f.times > 0 && path.startsWith(f.path));
  if (!fault) return false;
  fault.times -= 1;
  if (fault.delay_ms) await new Promise((resolve) => { setTimeout(resolve, fault.delay_ms); });
  if (fault.drop) {
    req.socket.destroy();
    return true;
  }
  if (!fault.status) return false;
  res.writeHead(fault.status, { 'content-type': 'application/json', ...fault.headers });
  res.end(fault.body ?? '');
  return true;
}

async function serve(req, res) {
  const { pathname, search } = new URL(req.url, issuer);
  if (pathname.startsWith('/control/')) {
    const command = control[pathname.slice('/control/'.length)];
    if (!command) return answer(res, 404, {});
    return answer(res, 200, (await command(JSON.parse((await bodyOf(req)) || '{}'))) ?? {});
  }
  const entry = { method: req.method, path: pathname, query: search, authorization: req.headers.authorization, origin: req.headers.origin };
  seen.push(entry);
  if (await fail(req, res, pathname)) return undefined;
  if (pathname.startsWith('/interaction/')) return interaction(req, res);
  if (pathname === '/token') {
    entry.body = await bodyOf(req);
    req.body = Object.fromEntries(new URLSearchParams(entry.body)); // oidc-provider takes a body that was read before
    const end = res.end.bind(res);
    res.end = (chunk, ...rest) => {
      entry.answer = chunk?.toString();
      entry.status = res.statusCode;
      return end(chunk, ...rest);
    };
  }
  return current.callback()(req, res);
}

function listener(req, res) {
  serve(req, res).catch((error) => {
    console.error(error);
    if (!res.headersSent) answer(res, 500, { error: String(error) });
  });
}

const server = settings.tls
  ? https.createServer({ cert: fs.readFileSync(settings.tls.cert), key: fs.readFileSync(settings.tls.key) }, listener)
  : http.createServer(listener);
let keys = await newKeys();
let issuer;
let current;
settings.clients.forEach(addClient);
server.listen(settings.port, settings.host, () => {
  const { port } = server.address();
  issuer = settings.issuer ?? `${settings.tls ? 'https' : 'http'}://${settings.host}:${port}`;
  current = newProvider(issuer, keys);
  console.log(`READY ${JSON.stringify({ port, issuer })}`);
});
