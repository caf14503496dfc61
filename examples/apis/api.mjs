// The API of main.go for Node, with jose: node api.mjs ISSUER AUDIENCE [ALGORITHM…]
import { createServer } from 'node:http'
import { createRemoteJWKSet, jwtVerify } from 'jose'

const [issuer, audience, ...algorithms] = process.argv.slice(2)
if (algorithms.length === 0) algorithms.push('ES256', 'RS256', 'PS256', 'EdDSA', 'ES384')
const seconds = (name, usual) => 1000 * Number(process.env[name] ?? usual)

// What jose says of a token. Any other error is about the keys: then nobody gets
// in, and nobody is told that the token was bad.
const refusals = new Set([
  'ERR_JWT_CLAIM_VALIDATION_FAILED', 'ERR_JWT_EXPIRED', 'ERR_JWT_INVALID', 'ERR_JWS_INVALID', 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED',
  'ERR_JOSE_ALG_NOT_ALLOWED', 'ERR_JOSE_NOT_SUPPORTED', 'ERR_JWKS_NO_MATCHING_KEY', 'ERR_JWKS_MULTIPLE_MATCHING_KEYS',
])

// discover finds the keys of the authorization server (RFC 8414, section 3).
async function discover() {
  const url = new URL(issuer)
  // Section 3.1: the well-known part goes between the host and the path.
  url.pathname = '/.well-known/oauth-authorization-server' + (url.pathname === '/' ? '' : url.pathname)
  const answer = await fetch(url, { redirect: 'error', signal: AbortSignal.timeout(5000) })
  if (answer.status !== 200) throw new Error(`metadata: status ${answer.status}`)
  const metadata = await answer.json()
  if (metadata.issuer !== issuer) throw new Error('metadata: another issuer') // section 3.3
  return createRemoteJWKSet(new URL(metadata.jwks_uri), {
    cacheMaxAge: seconds('KEYS_MAX_AGE', 300), // so long a withdrawn key is believed
    cooldownDuration: seconds('KEYS_COOLDOWN', 10), // between two looks for a new key
  })
}

// verify checks a token (RFC 9068, section 4), and that it is no one's who has to
// prove a key, which nobody here could check (RFC 9449, section 7.2).
let keys
async function verify(token) {
  keys ??= await discover()
  const { payload } = await jwtVerify(token, keys, {
    issuer,
    audience,
    typ: 'at+jwt',
    algorithms,
    requiredClaims: ['iss', 'exp', 'aud', 'sub', 'client_id', 'iat', 'jti'],
    maxTokenAge: '1 day', // without it, jose does not look at iat
  })
  return payload.cnf === undefined ? payload : undefined
}

// isCanonical says whether a part is the one base64url form of its bytes: jose does
// not look at the spare bits of the last letter, and one token would have many forms.
const isCanonical = (part) => Buffer.from(part, 'base64url').toString('base64url') === part

async function answer(request) {
  const scope = { GET: 'notes:read', POST: 'notes:write' }[request.method]
  if (scope === undefined || request.url !== '/notes') return { status: 404 }
  const challenge = (error) => `Bearer scope="${scope}"` + (error ? `, error="${error}"` : '')
  const authorization = request.headers.authorization
  // RFC 6750, section 3.1: no error code where no token was sent.
  if (!/^bearer( |$)/i.test(authorization ?? '')) return { status: 401, challenge: challenge() }
  // RFC 7515, section 2: three parts in base64url, without padding.
  const token = /^bearer +([\w-]+\.[\w-]+\.[\w-]+)$/i.exec(authorization)?.[1]
  let claims
  try {
    claims = token?.split('.').every(isCanonical) && (await verify(token))
  } catch (error) {
    if (!refusals.has(error.code)) return { status: 503 }
  }
  if (!claims) return { status: 401, challenge: challenge('invalid_token') }
  if (!(claims.scope ?? '').split(' ').includes(scope)) return { status: 403, challenge: challenge('insufficient_scope') }
  // RFC 9068, section 2.2: where no user is involved, sub names the client.
  const user = claims.sub === `client:${claims.client_id}` ? '' : claims.sub
  return { status: 200, body: { client: claims.client_id, user, scope: claims.scope } }
}

const server = createServer(async (request, response) => {
  const { status, challenge, body } = await answer(request)
  if (challenge) response.setHeader('WWW-Authenticate', challenge)
  if (body) response.setHeader('Content-Type', 'application/json')
  response.writeHead(status).end(body && JSON.stringify(body))
})
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`))
