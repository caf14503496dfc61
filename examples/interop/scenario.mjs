// What every client library goes through here. A library is an object with
//
//	connect(issuer, id, method, secret)  discovery; method is none, basic, post, sharedKey,
//	                                     or privateKey: then secret is {key, kid, modify}
//
// which resolves to a client that can
//
//	authorize(params)                 {url, state, verifier} of a new authorization request
//	exchange(callback, request)       check state and iss of the callback, redeem its code
//	userinfo(token), refresh(token), revoke(token), introspect(token), credentials(scope)
//
// The script gets the issuer and the private keys of the client "signer" (JWKs) as its
// arguments and prints one line of JSON; that the values in it are right is for
// interop_test.go to say.
import { createServer } from 'node:http'
import { once } from 'node:events'

const secret = 's3cret: 50%+more & "so"'
const machineSecret = 'machine-secret'
const sharedKey = 'a key of client_secret_jwt, in the clear'
const scope = 'profile notes:read'

export async function run(library) {
  const issuer = new URL(process.argv[2])
  const app = await application()
  try {
    const result = {
      none: await journey(await library.connect(issuer, 'native', 'none'), app, false),
      basic: await journey(await library.connect(issuer, 'web:app+1', 'basic', secret), app, true),
      post: await journey(await library.connect(issuer, 'web:app+1', 'post', secret), app, true),
      machine: await credentials(await library.connect(issuer, 'machine', 'basic', machineSecret)),
      failures: await failures(library, issuer, app),
      ...(await assertions(library, issuer, app)),
    }
    console.log(JSON.stringify(result))
  } finally {
    app.close()
  }
}

// application is the client's side of the redirect: a listener on a free
// loopback port, and visit, which does as a browser does with a URL.
async function application() {
  const server = createServer((_, response) => response.end('You may close this window.'))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const redirectURI = `http://127.0.0.1:${server.address().port}/callback`
  return {
    redirectURI,
    async visit(url) {
      const answer = await fetch(url)
      const page = await answer.text()
      if (!answer.url.startsWith(redirectURI)) {
        throw new Error(`the browser is left at ${answer.url}: ${answer.status} ${page}`)
      }
      return new URL(answer.url)
    },
    close() {
      server.closeAllConnections()
      server.close()
    },
  }
}

// approved is a callback with a code, and the request that it answers.
async function approved(client, app, more) {
  const request = await client.authorize({ redirect_uri: app.redirectURI, scope, ...more })
  return { request, callback: await app.visit(request.url) }
}

// journey is the life of one authorization: code, userinfo, refresh,
// introspection for those who may, revocation.
async function journey(client, app, introspects) {
  const { request, callback } = await approved(client, app)
  const first = await client.exchange(callback, request)
  const claims = await client.userinfo(first.access_token)
  const second = await client.refresh(first.refresh_token)
  const result = {
    callback: [...callback.searchParams.keys()].sort(),
    iss: callback.searchParams.get('iss'),
    tokenType: first.token_type,
    scope: first.scope,
    expiresIn: first.expires_in,
    claims,
    claimsAfterRefresh: await client.userinfo(second.access_token),
    rotated: second.refresh_token !== first.refresh_token && second.access_token !== first.access_token,
    retried: (await client.refresh(first.refresh_token)).refresh_token === second.refresh_token,
  }
  if (introspects) result.before = await client.introspect(second.access_token)
  await client.revoke(second.refresh_token)
  if (introspects) result.after = await client.introspect(second.access_token)
  result.userinfoAfter = await failure(client.userinfo(second.access_token))
  result.refreshAfter = await failure(client.refresh(second.refresh_token))
  return result
}

async function credentials(client) {
  const tokens = await client.credentials('notes:read')
  return { members: Object.keys(tokens).sort(), scope: tokens.scope, introspected: await client.introspect(tokens.access_token) }
}

async function failures(library, issuer, app) {
  const native = await library.connect(issuer, 'native', 'none')
  const wrong = async (method) => failure((await library.connect(issuer, 'machine', method, 'wrong')).credentials('notes:read'))
  const result = {
    wrongSecretInBody: await wrong('post'),
    wrongSecretInHeader: await wrong('basic'),
    unknownScope: await failure((await library.connect(issuer, 'machine', 'post', machineSecret)).credentials('no:such')),
  }

  let { request, callback } = await approved(native, app)
  const other = new URL(callback)
  other.searchParams.set('iss', 'https://elsewhere.example')
  result.otherIssuer = await failure(native.exchange(other, request))
  other.searchParams.delete('iss')
  result.noIssuer = await failure(native.exchange(other, request))
  result.otherState = await failure(native.exchange(callback, { ...request, state: 'of-another-tab' }))
  result.wrongVerifier = await failure(native.exchange(callback, { ...request, verifier: 'w'.repeat(43) }))
  result.rightVerifierThen = (await native.exchange(callback, request)).token_type // a failed attempt burns nothing

  // "decision" is a parameter of this test's own; the server hands it to the host.
  ;({ request, callback } = await approved(native, app, { decision: 'deny' }))
  result.denied = await failure(native.exchange(callback, request))
  result.deniedCallback = Object.fromEntries(callback.searchParams)
  result.deniedState = request.state
  return result
}

const webCrypto = {
  ES256: { name: 'ECDSA', namedCurve: 'P-256' },
  ES384: { name: 'ECDSA', namedCurve: 'P-384' },
  RS256: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
  PS256: { name: 'RSA-PSS', hash: 'SHA-256' },
  EdDSA: { name: 'Ed25519' },
}

// assertions is what clients do that have a key instead of a secret (RFC 7523).
async function assertions(library, issuer, app) {
  const signed = {}
  const keys = {}
  for (const { alg, kid, ...jwk } of JSON.parse(process.argv[3])) {
    // Both libraries call EdDSA by its name of RFC 9864, whatever the metadata says.
    const modify = alg === 'EdDSA' ? (header) => (header.alg = alg) : undefined
    keys[alg] = { key: await crypto.subtle.importKey('jwk', jwk, webCrypto[alg], false, ['sign']), kid }
    signed[alg] = await journey(await library.connect(issuer, 'signer', 'privateKey', { ...keys[alg], modify }), app, true)
  }
  const es = keys.ES256
  const remote = await journey(await library.connect(issuer, 'remote', 'privateKey', es), app, true)
  const shared = await journey(await library.connect(issuer, 'shared', 'sharedKey', sharedKey), app, true)

  const { privateKey } = await crypto.subtle.generateKey(webCrypto.ES256, false, ['sign'])
  const attempt = async (key, modify) => {
    const client = await library.connect(issuer, 'signer', 'privateKey', { ...key, modify })
    return () => client.credentials('notes:read')
  }
  const refused = async (key, modify) => failure((await attempt(key, modify))())
  const twice = await attempt(es, (_, claims) => (claims.jti = 'twice'))
  const asserted = {
    endpointAudience: await refused(es, (_, claims) => (claims.aud = `${issuer.href}oauth/token`)),
    expired: await refused(es, (_, claims) => (claims.exp = claims.iat - 1)),
    otherClient: await refused(es, (_, claims) => (claims.sub = 'web:app+1')),
    otherKey: await refused({ key: privateKey, kid: es.kid }),
    otherName: (await (await attempt(keys.EdDSA))()).token_type,
    once: (await twice()).token_type,
    twice: await failure(twice()),
  }
  return { signed, remote, shared, asserted }
}

// failure says how the library saw a promise fail.
async function failure(promise) {
  try {
    await promise
  } catch (e) {
    if (!e.code) throw e // a mistake in these scripts, or no connection
    return { code: e.code, error: e.error, status: e.status, challenge: e.cause?.[0]?.parameters?.error }
  }
  throw new Error('what had to fail went well')
}
