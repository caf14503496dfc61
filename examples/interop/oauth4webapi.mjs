// oauth4webapi, the strictest reader of answers, request by request.
import * as oauth from 'oauth4webapi'
import { run } from './scenario.mjs'

const methods = {
  none: oauth.None,
  basic: oauth.ClientSecretBasic,
  post: oauth.ClientSecretPost,
  privateKey: ({ modify, ...key }) => oauth.PrivateKeyJwt(key, { [oauth.modifyAssertion]: modify }),
  sharedKey: oauth.ClientSecretJwt,
}
const http = { [oauth.allowInsecureRequests]: true } // on loopback

await run({
  async connect(issuer, id, method, secret) {
    const discovered = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...http })
    const as = await oauth.processDiscoveryResponse(issuer, discovered)
    const client = { client_id: id }
    const auth = methods[method](secret)
    return {
      async authorize(params) {
        const verifier = oauth.generateRandomCodeVerifier()
        const state = oauth.generateRandomState()
        const url = new URL(as.authorization_endpoint)
        url.search = new URLSearchParams({
          ...params,
          client_id: id,
          response_type: 'code',
          state,
          code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
          code_challenge_method: 'S256',
        })
        return { url, state, verifier }
      },
      async exchange(callback, { state, verifier }) {
        const params = oauth.validateAuthResponse(as, client, callback, state)
        const redirectURI = callback.origin + callback.pathname
        const answer = await oauth.authorizationCodeGrantRequest(as, client, auth, params, redirectURI, verifier, http)
        return oauth.processAuthorizationCodeResponse(as, client, answer)
      },
      async userinfo(token) {
        return oauth.processUserInfoResponse(as, client, 'alice', await oauth.userInfoRequest(as, client, token, http))
      },
      async refresh(token) {
        return oauth.processRefreshTokenResponse(as, client, await oauth.refreshTokenGrantRequest(as, client, auth, token, http))
      },
      async revoke(token) {
        return oauth.processRevocationResponse(await oauth.revocationRequest(as, client, auth, token, http))
      },
      async introspect(token) {
        return oauth.processIntrospectionResponse(as, client, await oauth.introspectionRequest(as, client, auth, token, http))
      },
      async credentials(scope) {
        const answer = await oauth.clientCredentialsGrantRequest(as, client, auth, new URLSearchParams({ scope }), http)
        return oauth.processClientCredentialsResponse(as, client, answer)
      },
    }
  },
})
