/** Bearer tokens: from memory, by signature, and refused. */
import { randomBytes } from 'node:crypto'
import { createVerifier } from 'fast-jwt'
import { exportJWK, exportSPKI, generateKeyPair, importJWK, type JWK, jwtVerify, SignJWT } from 'jose'
import { Refusal } from '../lib/auth/token/refusal.ts'
import { TokenVerifier } from '../lib/auth/token/token-verifier.ts'
import type { Contender, Row, Suite } from './suite.ts'

const issuer = 'https://login.example.com/'
const audience = 'orders-api'
const fastJwtCached = 'fast-jwt (cache)'
const bareJose = 'jose.jwtVerify'

interface Setting {
  jwk: JWK
  pem: string
  key: Parameters<typeof jwtVerify>[1]
  sign(claims?: Record<string, unknown>, header?: Record<string, unknown>): Promise<string>
}

export const suite: Suite = {
  async *rows() {
    const setting = await prepare()
    yield* cached(setting)
    yield* unseen(setting)
    yield* junk(setting)
  }
}

/** RS256, as most providers sign; tokens of about 540 bytes. */
async function prepare(): Promise<Setting> {
  const { privateKey, publicKey } = await generateKeyPair('RS256', { extractable: true })
  const jwk = { ...(await exportJWK(publicKey)), kid: 'bench', alg: 'RS256' }
  const now = Math.floor(Date.now() / 1000)
  return {
    jwk,
    pem: await exportSPKI(publicKey),
    key: (await importJWK(jwk, 'RS256')) as Setting['key'],
    sign: (claims = {}, header = {}) =>
      new SignJWT({ iss: issuer, aud: audience, sub: 'ada', iat: now, exp: now + 86_400, ...claims })
        .setProtectedHeader({ alg: 'RS256', kid: 'bench', ...header })
        .sign(privateKey)
  }
}

function verifierOf({ jwk }: Setting, maxEntries: number, hashTokens = false): TokenVerifier {
  return new TokenVerifier({
    issuer,
    audience,
    preset: 'auth0',
    jwks: { keys: [jwk] },
    cache: { maxEntries, hashTokens }
  })
}

/** A token seen before, as a string that is new at every call, as the HTTP parser makes it. */
async function* cached(setting: Setting): AsyncIterable<Row> {
  const token = await setting.sign({ jti: randomBytes(16).toString('hex') })
  const ostiary = verifierOf(setting, 10_000)
  const hashing = verifierOf(setting, 10_000, true)
  const fastJwt = createVerifier({
    key: setting.pem,
    cache: 10_000,
    algorithms: ['RS256'],
    allowedIss: issuer,
    allowedAud: audience
  })
  await ostiary.verify(token)
  await hashing.verify(token)
  fastJwt(token)
  const each = 1_000
  const repeated = ` ${token}`.repeat(each)
  const length = token.length + 1
  const overFresh =
    (verify: (fresh: string) => unknown): (() => void) =>
    () => {
      for (let i = 0; i < each; i++) {
        const from = i * length + 1
        if (verify(repeated.slice(from, from + length - 1)) instanceof Refusal) throw new Error('refused')
      }
    }
  yield {
    name: `a token of ${token.length} bytes that was verified before`,
    contenders: [
      { name: 'ostiary', operations: each, run: overFresh(fresh => ostiary.check(fresh)) },
      { name: fastJwtCached, operations: each, run: overFresh(fastJwt) },
      { name: 'ostiary (hashTokens)', operations: each, run: overFresh(fresh => hashing.check(fresh)) }
    ],
    targets: [{ peer: fastJwtCached, ratio: 10 }]
  }
}

/** A token not seen before: the price of one signature, and what stands around it. */
async function* unseen(setting: Setting): AsyncIterable<Row> {
  const token = await setting.sign({ jti: 'bench' })
  const uncached = verifierOf(setting, 0)
  await uncached.ready()
  const options = { issuer, audience, algorithms: ['RS256'] }
  const bare = () => jwtVerify(token, setting.key, options)
  yield {
    name: 'a token never seen, one after the other',
    contenders: [
      { name: 'ostiary', operations: 10, run: sequential(10, () => uncached.verify(token)) },
      { name: bareJose, operations: 10, run: sequential(10, bare) }
    ],
    targets: [{ peer: bareJose, ratio: 1 / 1.1 }]
  }
  const tokens = await Promise.all(Array.from({ length: 64 }, (_, i) => setting.sign({ jti: `t${i}` })))
  yield {
    name: 'tokens never seen, 64 in parallel',
    contenders: [
      { name: 'ostiary', operations: 64, run: parallel(tokens, one => uncached.verify(one)) },
      { name: bareJose, operations: 64, run: parallel(tokens, one => jwtVerify(one, setting.key, options)) }
    ],
    targets: [{ peer: bareJose, ratio: 1 / 1.1 }]
  }
}

/** What each kind of junk costs, beside a token that is good and new. */
async function* junk(setting: Setting): AsyncIterable<Row> {
  const verifier = verifierOf(setting, 0)
  const good = await setting.sign()
  await verifier.verify(good)
  const now = Math.floor(Date.now() / 1000)
  const kinds: Record<string, string> = {
    'random text': randomBytes(400).toString('base64url'),
    'too long': 'a'.repeat(9_000),
    'three random segments': [60, 200, 256]
      .map(length => randomBytes(length).toString('base64url'))
      .join('.'),
    'alg none': good.replace(/^[^.]+/, Buffer.from('{"alg":"none"}').toString('base64url')),
    'another issuer': await setting.sign({ iss: 'https://evil.example.com/' }),
    'another audience': await setting.sign({ aud: 'other' }),
    expired: await setting.sign({ exp: now - 3_600 }),
    'unknown kid': await setting.sign({}, { kid: 'other' }),
    'a bad signature, again': `${good.slice(0, -2)}${good.endsWith('AA') ? 'BA' : 'AA'}`
  }
  await verifier.check(kinds['a bad signature, again'] as string)
  for (const [kind, token] of Object.entries(kinds)) {
    const refused = verifier.check(token)
    if (!(refused instanceof Refusal)) throw new Error(`${kind} is not refused at once`)
  }
  const each = 100
  const contenders = Object.entries(kinds).map(
    ([name, token]): Contender => ({
      name: `junk: ${name}`,
      operations: each,
      run() {
        for (let i = 0; i < each; i++) verifier.check(token)
      }
    })
  )
  yield {
    name: 'junk, beside a good token never seen',
    contenders: [
      { name: 'ostiary, a good token', operations: 10, run: sequential(10, () => verifier.verify(good)) },
      ...contenders
    ]
  }
}

function sequential(times: number, run: () => Promise<unknown>): () => Promise<void> {
  return async () => {
    for (let i = 0; i < times; i++) await run()
  }
}

function parallel(
  tokens: readonly string[],
  verify: (token: string) => Promise<unknown>
): () => Promise<void> {
  return async () => {
    await Promise.all(tokens.map(verify))
  }
}
