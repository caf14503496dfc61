// openid-client against a server that speaks OAuth and not OpenID Connect.
import * as client from 'openid-client'
import { run } from './scenario.mjs'

const methods = {
  none: client.None,
  basic: client.ClientSecretBasic,
  post: client.ClientSecretPost,
  privateKey: ({ modify, ...key }) => client.PrivateKeyJwt(key, { [client.modifyAssertion]: modify }),
  sharedKey: client.ClientSecretJwt,
}

await run({
  async connect(issuer, id, method, secret) {
    const config = await client.discovery(issuer, id, undefined, methods[method](secret), {
      algorithm: 'oauth2', // RFC 8414; the default is OpenID Connect Discovery
      execute: [client.allowInsecureRequests], // http, on loopback
    })
    return {
      async authorize(params) {
        const verifier = client.randomPKCECodeVerifier()
        const state = client.randomState()
        const url = client.buildAuthorizationUrl(config, {
          ...params,
          state,
          code_challenge: await client.calculatePKCECodeChallenge(verifier),
          code_challenge_method: 'S256',
        })
        return { url, state, verifier }
      },
      exchange: (callback, { state, verifier }) =>
        client.authorizationCodeGrant(config, callback, { pkceCodeVerifier: verifier, expectedState: state }),
      userinfo: (token) => client.fetchUserInfo(config, token, 'alice'),
      refresh: (token) => client.refreshTokenGrant(config, token),
      revoke: (token) => client.tokenRevocation(config, token),
      introspect: (token) => client.tokenIntrospection(config, token),
      credentials: (scope) => client.clientCredentialsGrant(config, { scope }),
    }
  },
})
