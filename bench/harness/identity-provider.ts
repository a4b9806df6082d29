/** Signs real tokens for the servers of the end-to-end benchmarks. */
import { exportJWK, exportPKCS8, exportSPKI, generateKeyPair, SignJWT } from 'jose'
import type { Setting } from '../servers/serve.ts'

const issuer = 'http://127.0.0.1/issuer/'
const audience = 'orders-api'

/** A key, the setting that servers need to trust it, and tokens signed with it. */
export async function identityProvider(
  folder: string
): Promise<{ setting: Setting; sign: (i: number) => Promise<string> }> {
  const { publicKey, privateKey } = await generateKeyPair('RS256', { extractable: true })
  const jwk = { ...(await exportJWK(publicKey)), kid: 'bench', alg: 'RS256', use: 'sig' }
  const setting = {
    issuer,
    audience,
    jwks: { keys: [jwk] },
    publicKey: await exportSPKI(publicKey),
    privateKey: await exportPKCS8(privateKey),
    folder,
    stages: []
  }
  const sign = (i: number): Promise<string> =>
    new SignJWT({
      scope: 'orders:read orders:write',
      email: `person-${i}@example.com`,
      token_use: 'api',
      sid: 's'
    })
      .setProtectedHeader({ alg: 'RS256', kid: 'bench', typ: 'at+jwt' })
      .setIssuer(issuer)
      .setAudience(audience)
      .setSubject(`person-${i}`)
      .setJti(`token-${i}`)
      .setIssuedAt()
      .setExpirationTime('2h')
      .sign(privateKey)
  return { setting, sign }
}
