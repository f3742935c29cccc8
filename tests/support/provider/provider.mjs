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
import { promisify } from 'node:util';

import { compactDecrypt, exportJWK, generateKeyPair, importJWK, SignJWT } from 'jose';
import { Provider, interactionPolicy } from 'oidc-provider';

const input = readline.createInterface({ input: process.stdin });
const firstLine = await new Promise((resolve) => { input.once('line', resolve); });
input.on('close', () => process.exit(0));

const settings = {
  host: '127.0.0.2',
  port: 0,
  issuer: null, // made from host and port unless set
  tls: null, // { cert, key }: PEM files; with client_ca, the authority of client certificates, mTLS is on (RFC 8705)
  mtls_aliases: true, // client certificates are asked for on a port of their own, as `mtls_endpoint_aliases` say
  algorithms: ['RS256'], // of ID tokens; one signing key for each, none for HS*, whose key is the client's secret
  encryption: true, // ID tokens and userinfo may be encrypted
  iss_parameter: true, // RFC 9207
  metadata: {}, // entries of the discovery document that are other ones; null takes one away
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
const seen = []; // every protocol request: { method, path, query, authorization, origin, certificate, body }
const sent = []; // what it sent by itself, to back-channel logout addresses: { url, body, status }
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
  return Promise.all(settings.algorithms.filter((alg) => !alg.startsWith('HS')).map(async (alg) => {
    const { privateKey } = await generateKeyPair(alg, { extractable: true });
    return { ...(await exportJWK(privateKey)), alg, use: 'sig', kid: crypto.randomUUID() };
  }));
}

/** A PEM of a public key or a certificate as a JWK; of a certificate with `x5c`. */
function jwkOf({ pem, ...rest }) {
  const jwk = { ...crypto.createPublicKey(pem).export({ format: 'jwk' }), ...rest };
  if (pem.includes('CERTIFICATE')) jwk.x5c = [new crypto.X509Certificate(pem).raw.toString('base64')];
  return jwk;
}

/** `jwks_pem` is ours: [{ pem, kid, alg, use }] instead of `jwks`. */
function addClient({ jwks_pem: pems, ...client }) {
  const metadata = {
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    id_token_signed_response_alg: settings.algorithms[0],
    ...(pems && { jwks: { keys: pems.map(jwkOf) } }),
    ...client,
  };
  store.set(`Client:${metadata.client_id}`, { payload: metadata, expires: Infinity });
}

const keyManagement = ['RSA-OAEP', 'RSA-OAEP-256', 'RSA-OAEP-512', 'ECDH-ES', 'ECDH-ES+A128KW', 'ECDH-ES+A256KW', 'A128KW', 'A256KW', 'dir'];
const contentEncryption = ['A128GCM', 'A192GCM', 'A256GCM', 'A128CBC-HS256', 'A192CBC-HS384', 'A256CBC-HS512'];

/** The usual policy, and a login where the session's `acr` is none of those asked for. */
function policy() {
  const policy = interactionPolicy.base();
  policy.get('login').checks.add(new interactionPolicy.Check('acr_values', 'another kind of authentication is asked for', ({ oidc }) => {
    const asked = oidc.params.acr_values?.split(' ') ?? [];
    const met = asked.length === 0 || asked.includes(oidc.acr) || oidc.result?.login;
    return met ? interactionPolicy.Check.NO_NEED_TO_PROMPT : interactionPolicy.Check.REQUEST_PROMPT;
  }));
  return policy;
}

/** Client certificates, as the TLS listener took them (RFC 8705). */
const mTLS = {
  enabled: true,
  tlsClientAuth: true,
  selfSignedTlsClientAuth: true,
  certificateBoundAccessTokens: false,
  getCertificate: (ctx) => ctx.req.socket.getPeerX509Certificate?.(),
  certificateAuthorized: (ctx) => ctx.req.socket.authorized === true,
  certificateSubjectMatches: (ctx, property, expected) => {
    const certificate = ctx.req.socket.getPeerX509Certificate();
    if (property === 'tls_client_auth_subject_dn') return certificate.subject.split('\n').reverse().join(',') === expected;
    const kind = { tls_client_auth_san_dns: 'DNS', tls_client_auth_san_uri: 'URI', tls_client_auth_san_ip: 'IP Address', tls_client_auth_san_email: 'email' }[property];
    return (certificate.subjectAltName ?? '').split(', ').includes(`${kind}:${expected}`);
  },
};

/** Entries of the discovery document that `oidc-provider` does not write. */
function metadata(mtlsPort) {
  const alias = (path) => `https://${settings.host}:${mtlsPort}${path}`;
  return {
    frontchannel_logout_supported: true,
    frontchannel_logout_session_supported: true,
    ...(mtlsPort && {
      mtls_endpoint_aliases: {
        token_endpoint: alias('/token'),
        revocation_endpoint: alias('/token/revocation'),
        introspection_endpoint: alias('/token/introspection'),
        userinfo_endpoint: alias('/me'),
      },
    }),
  };
}

/** Whom the end of this session concerns (OpenID Connect Front-Channel Logout 1.0 §2). */
async function frontchannel(op, session) {
  const addresses = await Promise.all(Object.entries(session.authorizations ?? {}).map(async ([clientId, { sid }]) => {
    const client = await op.Client.find(clientId);
    if (!client?.frontchannel_logout_uri) return undefined;
    const address = new URL(client.frontchannel_logout_uri);
    if (client.frontchannel_logout_session_required) {
      address.searchParams.set('iss', issuer);
      address.searchParams.set('sid', sid);
    }
    return address.href;
  }));
  return addresses.filter(Boolean);
}

/** `oidc-provider` knows no front-channel logout: the page with the iframes comes before its redirect. */
async function frames(ctx, addresses) {
  const next = ctx.response.get('location');
  const nonce = crypto.randomBytes(16).toString('base64');
  const origins = addresses.map((address) => new URL(address).origin).join(' ');
  ctx.status = 200;
  ctx.type = 'html';
  ctx.remove('location');
  ctx.set('content-security-policy', `default-src 'none'; frame-src ${origins}; script-src 'nonce-${nonce}'; base-uri 'none'`);
  const iframes = addresses.map((address) => `<iframe class="logout" src="${escaped(address)}"></iframe>`).join('');
  ctx.body = page('Signing out everywhere', `${iframes}<a id="continue" href="${escaped(next)}">Continue</a>
    <script nonce="${nonce}">addEventListener('load', () => { location = document.getElementById('continue').href; });</script>`);
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
    enabledJWA: {
      clientAuthSigningAlgValues: ['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA', 'Ed25519', 'HS256', 'HS384', 'HS512'],
      idTokenSigningAlgValues: settings.algorithms,
      userinfoSigningAlgValues: settings.algorithms,
      idTokenEncryptionAlgValues: keyManagement,
      userinfoEncryptionAlgValues: keyManagement,
      idTokenEncryptionEncValues: contentEncryption,
      userinfoEncryptionEncValues: contentEncryption,
    },
    responseTypes: ['code', 'id_token', 'code id_token'],
    clientAuthMethods: [
      'client_secret_basic', 'client_secret_post', 'client_secret_jwt', 'private_key_jwt', 'none',
      ...(settings.tls?.client_ca ? ['tls_client_auth', 'self_signed_tls_client_auth'] : []),
    ],
    acrValues: ['urn:example:password', 'urn:example:two-factors'],
    extraClientMetadata: { properties: ['frontchannel_logout_uri', 'frontchannel_logout_session_required'] },
    discovery: metadata(mtlsServer?.address().port),
    // Its own fetch refuses loopback addresses, where every gateway of the tests is.
    fetch: async (url, { dispatcher, ...options }) => {
      const entry = { url: String(url), body: String(options.body ?? '') };
      sent.push(entry);
      const response = await globalThis.fetch(url, options);
      entry.status = response.status;
      return response;
    },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: { enabled: true },
      revocation: { enabled: true },
      encryption: { enabled: settings.encryption },
      jwtUserinfo: { enabled: true },
      backchannelLogout: { enabled: true },
      ...(settings.tls?.client_ca && { mTLS }),
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
    interactions: { policy: policy(), url: (ctx, interaction) => `/interaction/${interaction.uid}` },
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
  // Plain http and localhost are where the tests are; a provider's people decide that for their clients.
  const { invalidate } = provider.Client.Schema.prototype;
  provider.Client.Schema.prototype.invalidate = function unlessImplicit(message, code) {
    if (!code?.startsWith('implicit-force') && !code?.startsWith('implicit-forbid')) invalidate.call(this, message, code);
  };
  provider.Client.prototype.includeSid = function includeSid() {
    return (this.backchannelLogoutUri && this.backchannelLogoutSessionRequired) || this.frontchannel_logout_session_required;
  };
  if (!settings.iss_parameter) provider.on('authorization.success', (ctx, out) => { delete out.iss; });
  provider.use(async (ctx, next) => {
    await next();
    if (ctx.path === '/.well-known/openid-configuration') {
      if (!settings.iss_parameter) delete ctx.body.authorization_response_iss_parameter_supported;
      Object.assign(ctx.body, settings.metadata);
      for (const [key, value] of Object.entries(ctx.body)) if (value === null) delete ctx.body[key];
    }
    if (ctx.oidc?.route === 'end_session_confirm' && ctx.oidc.session?.destroyed) {
      const addresses = await frontchannel(provider, ctx.oidc.session);
      if (addresses.length) await frames(ctx, addresses);
    }
  });
  provider.on('server_error', (ctx, error) => console.error(error));
  return provider;
}

function escaped(text) {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

function page(title, body) {
  return `<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>${title}</title><h1>${title}</h1>${body}</html>`;
}

async function logoutSource(ctx, form) {
  ctx.body = page('Sign out at the provider?', `${form}
    <button autofocus id="confirm" type="submit" form="op.logoutForm" value="yes" name="logout">Yes</button>`);
}

function loginForm(message = '', hint = '') {
  return page('Sign in', `<p id="message">${message}</p><form method="post">
    <label>User <input name="username" autocomplete="off" value="${escaped(hint)}" autofocus></label>
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
  let params;
  try {
    ({ params } = await current.interactionDetails(req, res));
  } catch {
    return answer(res, 400, page('This sign-in is over', '<p id="over">It was finished before.</p>'));
  }
  if (req.method === 'GET') return answer(res, 200, loginForm('', params.login_hint));
  const form = new URLSearchParams(await bodyOf(req));
  const user = users.get(form.get('username'));
  if (form.get('action') === 'refuse') {
    return current.interactionFinished(req, res, { error: 'access_denied', error_description: form.get('why') ?? 'no' });
  }
  if (!user || user.password !== form.get('password')) return answer(res, 200, loginForm('Wrong user or password'));
  // A person reaches the first `acr` asked for, unless theirs is fixed.
  const acr = user.acr ?? params.acr_values?.split(' ')[0];
  const result = { login: { accountId: form.get('username'), acr, remember: true } };
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
  // A key pair for a client: {"kind":"RSA"}, or a curve. The private key as PKCS #8, the public one as PEM and JWK.
  // Made aside: a gateway that asks for something meanwhile must not wait for it.
  key: async ({ kind = 'RSA' }) => {
    const [type, options] = kind === 'RSA' ? ['rsa', { modulusLength: 2048 }]
      : kind.startsWith('P-') ? ['ec', { namedCurve: kind }] : [kind.toLowerCase(), {}];
    const { privateKey, publicKey } = await promisify(crypto.generateKeyPair)(type, options);
    return {
      private: privateKey.export({ format: 'pem', type: 'pkcs8' }),
      public: publicKey.export({ format: 'pem', type: 'spki' }),
      jwk: publicKey.export({ format: 'jwk' }),
    };
  },
  // A JWT with any header and claims, signed with the provider's key for `alg`, or with `secret`.
  sign: async ({ alg = settings.algorithms[0], secret, header = {}, claims }) => {
    const jwk = keys.find((key) => key.alg === alg);
    const key = secret ? new TextEncoder().encode(secret) : await importJWK(jwk, alg);
    const full = { alg, ...(jwk && !secret && { kid: jwk.kid }), ...header };
    for (const [name, value] of Object.entries(full)) if (value === null) delete full[name];
    return { token: await new SignJWT(claims).setProtectedHeader(full).sign(key) };
  },
  // What a JWE holds, for a private key: a second opinion on what others encrypt.
  decrypt: async ({ token, key }) => {
    const { plaintext, protectedHeader } = await compactDecrypt(token, crypto.createPrivateKey(key));
    return { header: protectedHeader, text: new TextDecoder().decode(plaintext) };
  },
  // The sessions of a user: [{ uid, acr, auth_time, clients: { CLIENT: SID } }].
  sessions: async ({ user }) => sessionsOf(user).map(({ uid, acr, loginTs, authorizations = {} }) => ({
    uid, acr, auth_time: loginTs, clients: Object.fromEntries(Object.entries(authorizations).map(([id, { sid }]) => [id, sid])),
  })),
  // Ends a user's sessions and tells every client with a back-channel logout address; with `client` those sessions that it
  // has a part in, and it alone: the others are of other tests.
  backchannel: async ({ user, client: only }) => {
    const told = [];
    for (const session of sessionsOf(user)) {
      if (only && !session.authorizations?.[only]) continue;
      for (const [clientId, { sid }] of Object.entries(session.authorizations ?? {})) {
        const client = await current.Client.find(clientId);
        if (!client?.backchannelLogoutUri || (only && only !== clientId)) continue;
        const error = await client.backchannelLogout(user, sid).then(() => null, String);
        told.push({ client_id: clientId, sid, error });
      }
      store.delete(`Session:${session.jti}`);
    }
    return told;
  },
  sent: async () => sent,
  seen: async () => seen,
  forget: async () => { seen.length = 0; },
  // Ends what one model holds: {"model":"RefreshToken"} makes the next refresh fail with invalid_grant.
  revoke: async ({ model }) => {
    for (const key of store.keys()) if (key.startsWith(`${model}:`)) store.delete(key);
  },
};

function sessionsOf(user) {
  const all = [...store].filter(([key]) => key.startsWith('Session:')).map(([, { payload }]) => payload);
  return all.filter((session) => session.accountId === user);
}

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
  const entry = { method: req.method, path: pathname, query: search, authorization: req.headers.authorization, origin: req.headers.origin,
    certificate: Boolean(req.socket.getPeerX509Certificate?.()) };
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

function listen(server, port) {
  // Node hangs up after five seconds of silence, and whoever asks at that moment gets no answer. No test is about that.
  Object.assign(server, { keepAliveTimeout: 0, headersTimeout: 0, requestTimeout: 0 });
  return new Promise((resolve) => { server.listen(port, settings.host, resolve); });
}

function tlsServer(certificates) {
  const files = { cert: fs.readFileSync(settings.tls.cert), key: fs.readFileSync(settings.tls.key) };
  // Certificates nobody vouches for are let in: a client may have registered one that it signed itself.
  const asked = certificates && { requestCert: true, rejectUnauthorized: false, ca: fs.readFileSync(settings.tls.client_ca) };
  return https.createServer({ ...files, ...asked }, listener);
}

const withCertificates = Boolean(settings.tls?.client_ca);
const server = settings.tls ? tlsServer(withCertificates && !settings.mtls_aliases) : http.createServer(listener);
const mtlsServer = withCertificates && settings.mtls_aliases ? tlsServer(true) : null;
let keys = await newKeys();
let current;
settings.clients.forEach(addClient);
await listen(server, settings.port);
if (mtlsServer) await listen(mtlsServer, 0);
const { port } = server.address();
const issuer = settings.issuer ?? `${settings.tls ? 'https' : 'http'}://${settings.host}:${port}`;
current = newProvider(issuer, keys);
console.log(`READY ${JSON.stringify({ port, issuer })}`);
