/** A small identity provider on loopback, with real keys, for the demo, the examples and the tests. Not for production. */
import { createHash, randomUUID, timingSafeEqual } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  type CryptoKey,
  exportJWK,
  generateKeyPair,
  type JWK,
  type JWTHeaderParameters,
  type JWTPayload,
  SignJWT
} from 'jose'

export type LocalAlgorithm = 'RS256' | 'PS256' | 'ES256' | 'EdDSA'

/** How the identity provider misbehaves: for tests of outages. */
export type Fault = 'none' | 'down' | 'slow' | 'html' | 'redirect' | 'empty' | 'error' | 'huge'

export interface LocalClient {
  id: string
  secret: string
  /** Scopes that the client may ask for; it gets all of them when it asks for none. */
  scopes?: readonly string[]
  /** Claims added to the client's tokens, for instance `token_use: 'api'`. */
  claims?: JWTPayload
}

export interface LocalPerson {
  username: string
  password: string
  /** Claims of the person's tokens; `sub` is the user name unless it stands here. */
  claims?: JWTPayload
  scopes?: readonly string[]
}

export interface LocalIssuerOptions {
  port?: number
  /** Default `https://api.example.com`. */
  audience?: string
  algorithms?: readonly LocalAlgorithm[]
  clients?: readonly LocalClient[]
  people?: readonly LocalPerson[]
  /** Seconds a token lives. Default 3600. */
  tokenLifetime?: number
  /** Added to the origin, for issuers with a path, such as `/realms/demo`. */
  path?: string
}

export interface IssueOptions {
  alg?: LocalAlgorithm
  /** Further header parameters; `kid: undefined` leaves the key id out. */
  header?: Partial<JWTHeaderParameters>
  /** Signs with a key that `rotate` has taken out of the published set. */
  retired?: boolean
}

interface SigningKey {
  alg: LocalAlgorithm
  kid: string
  privateKey: CryptoKey
  jwk: JWK
}

/**
 * Issues and publishes: discovery at `/.well-known/openid-configuration`, keys at `/jwks`, tokens at `/token` for
 * `client_credentials` and for `urn:ostiary:demo:password`, which trades a demo person's name and password for a
 * token: a shortcut that no real provider should offer, and that says so in its name.
 */
export class LocalIssuer {
  fault: Fault = 'none'
  /** ms before an answer while `fault` is `slow`. */
  slowMs = 300
  /** Replaces members of the discovery document, for instance a wrong `issuer`. */
  metadata: Record<string, unknown> = {}
  readonly requests = { discovery: 0, jwks: 0, token: 0 }
  readonly audience: string

  readonly #algorithms: readonly LocalAlgorithm[]
  readonly #clients: readonly LocalClient[]
  readonly #people: readonly LocalPerson[]
  readonly #lifetime: number
  readonly #path: string
  readonly #server: Server
  #origin = ''
  #keys: SigningKey[] = []
  #retired: SigningKey[] = []

  constructor(options: LocalIssuerOptions = {}) {
    this.audience = options.audience ?? 'https://api.example.com'
    this.#algorithms = options.algorithms ?? ['RS256', 'EdDSA']
    this.#clients = options.clients ?? []
    this.#people = options.people ?? []
    this.#lifetime = options.tokenLifetime ?? 3600
    this.#path = options.path ?? ''
    this.#server = createServer((req, res) => {
      this.#answer(req, res).catch(error => {
        json(res, 500, { error: 'server_error', error_description: String(error) })
      })
    })
    // Clients close idle connections: a server that does so may meet a request that is on its way.
    this.#server.keepAliveTimeout = 0
  }

  /** Makes keys and listens on loopback. */
  static async start(options: LocalIssuerOptions = {}): Promise<LocalIssuer> {
    const issuer = new LocalIssuer(options)
    await issuer.rotate()
    issuer.#server.listen(options.port ?? 0, '127.0.0.1')
    await once(issuer.#server, 'listening')
    issuer.#origin = `http://127.0.0.1:${(issuer.#server.address() as AddressInfo).port}`
    return issuer
  }

  /** The `iss` of its tokens. */
  get url(): string {
    return this.#origin + this.#path
  }

  get jwksUri(): string {
    return `${this.url}/jwks`
  }

  get tokenEndpoint(): string {
    return `${this.url}/token`
  }

  /** The published key set. */
  get jwks(): { keys: JWK[] } {
    return { keys: this.#keys.map(key => key.jwk) }
  }

  /** Replaces every key; tokens of the old ones are not in the published set any more. */
  async rotate(): Promise<void> {
    const keys = await Promise.all(this.#algorithms.map(makeKey))
    this.#retired = this.#keys
    this.#keys = keys
  }

  /** A signed token with `claims` over the usual ones; a claim set to undefined is left out. */
  issue(claims: JWTPayload = {}, options: IssueOptions = {}): Promise<string> {
    const now = Math.floor(Date.now() / 1000)
    const key = this.key(options)
    return new SignJWT({
      iss: this.url,
      aud: this.audience,
      sub: 'someone',
      iat: now,
      exp: now + this.#lifetime,
      jti: randomUUID(),
      ...claims
    })
      .setProtectedHeader({ alg: key.alg, typ: 'at+jwt', kid: key.kid, ...options.header })
      .sign(key.privateKey)
  }

  /** The key that `issue` would sign with, for tests that build tokens by hand. */
  key({ alg = this.#algorithms[0] as LocalAlgorithm, retired = false }: IssueOptions = {}): SigningKey {
    const found = (retired ? this.#retired : this.#keys).find(key => key.alg === alg)
    if (found === undefined)
      throw new Error(`LocalIssuer: there is no ${retired ? 'retired ' : ''}${alg} key`)
    return found
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.#server.closeAllConnections()
    await closed
  }

  async #answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const path = (req.url ?? '').split('?', 1)[0]
    if (path === `${this.#path}/.well-known/openid-configuration`) {
      this.requests.discovery++
      await this.#publish(res, this.#discovery())
    } else if (path === `${this.#path}/jwks`) {
      this.requests.jwks++
      await this.#publish(res, this.fault === 'empty' ? { keys: [] } : this.jwks)
    } else if (path === `${this.#path}/token` && req.method === 'POST') {
      this.requests.token++
      await this.#grant(req, res)
    } else {
      json(res, 404, { error: 'not_found' })
    }
  }

  #discovery(): Record<string, unknown> {
    return {
      issuer: this.url,
      jwks_uri: this.jwksUri,
      token_endpoint: this.tokenEndpoint,
      response_types_supported: ['token'],
      subject_types_supported: ['public'],
      grant_types_supported: ['client_credentials', demoGrant],
      token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post'],
      ...this.metadata
    }
  }

  async #publish(res: ServerResponse, document: unknown): Promise<void> {
    switch (this.fault) {
      case 'down':
        res.destroy()
        return
      case 'error':
        json(res, 503, { error: 'temporarily_unavailable' })
        return
      case 'html':
        res.writeHead(200, { 'Content-Type': 'text/html' }).end('<html>please log in</html>')
        return
      case 'redirect':
        res.writeHead(302, { Location: `${this.#origin}/elsewhere` }).end()
        return
      case 'huge':
        json(res, 200, { keys: this.jwks.keys, padding: 'x'.repeat(1_200_000) })
        return
      case 'slow':
        await new Promise(resolve => setTimeout(resolve, this.slowMs))
    }
    json(res, 200, document)
  }

  async #grant(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const form = await readForm(req)
    switch (form['grant_type']) {
      case 'client_credentials':
        return this.#clientCredentials(form, req.headers.authorization, res)
      case demoGrant:
        return this.#demoPerson(form, res)
      default:
        json(res, 400, { error: 'unsupported_grant_type' })
    }
  }

  async #clientCredentials(
    form: Record<string, string>,
    authorization: string | undefined,
    res: ServerResponse
  ): Promise<void> {
    const [id, secret] = clientCredentials(form, authorization)
    const client = this.#clients.find(candidate => candidate.id === id)
    if (client === undefined || !same(client.secret, secret)) {
      json(res, 401, { error: 'invalid_client' })
      return
    }
    const scope = grantedScope(form['scope'], client.scopes)
    if (scope === undefined) {
      json(res, 400, { error: 'invalid_scope' })
      return
    }
    await this.#grantToken(res, { sub: client.id, client_id: client.id, ...client.claims }, scope)
  }

  async #demoPerson(form: Record<string, string>, res: ServerResponse): Promise<void> {
    const person = this.#people.find(candidate => candidate.username === form['username'])
    if (person === undefined || !same(person.password, form['password'] ?? '')) {
      json(res, 400, { error: 'invalid_grant' })
      return
    }
    const scope = grantedScope(form['scope'], person.scopes)
    if (scope === undefined) {
      json(res, 400, { error: 'invalid_scope' })
      return
    }
    const claims = { sub: person.username, client_id: 'demo-app', sid: randomUUID(), ...person.claims }
    await this.#grantToken(res, claims, scope)
  }

  async #grantToken(res: ServerResponse, claims: JWTPayload, scope: string): Promise<void> {
    const granted = scope === '' ? claims : { scope, ...claims }
    json(res, 200, {
      access_token: await this.issue(granted),
      token_type: 'Bearer',
      expires_in: this.#lifetime,
      ...(scope === '' ? {} : { scope })
    })
  }
}

const demoGrant = 'urn:ostiary:demo:password'

async function makeKey(alg: LocalAlgorithm): Promise<SigningKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg)
  const kid = `${alg.toLowerCase()}-${randomUUID().slice(0, 8)}`
  return { alg, kid, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' } }
}

async function readForm(req: IncomingMessage): Promise<Record<string, string>> {
  let body = ''
  for await (const chunk of req) {
    body += chunk
    if (body.length > 16_384) throw new Error('the form is too long')
  }
  return req.headers['content-type']?.startsWith('application/json')
    ? (JSON.parse(body) as Record<string, string>)
    : Object.fromEntries(new URLSearchParams(body))
}

/** RFC 6749, section 2.3.1: HTTP Basic, or parameters in the body. */
function clientCredentials(
  form: Record<string, string>,
  authorization: string | undefined
): [string, string] {
  const basic = /^Basic ([\w+/]+=*)$/i.exec(authorization ?? '')?.[1]
  if (basic === undefined) return [form['client_id'] ?? '', form['client_secret'] ?? '']
  const [id = '', secret = ''] = Buffer.from(basic, 'base64').toString().split(':', 2).map(decodeURIComponent)
  return [id, secret]
}

/** What was asked for, all that is allowed when nothing was, or undefined when more was asked for than is allowed. */
function grantedScope(asked: string | undefined, allowed: readonly string[] = []): string | undefined {
  const scopes = asked?.split(' ').filter(scope => scope !== '') ?? allowed
  return scopes.every(scope => allowed.includes(scope)) ? scopes.join(' ') : undefined
}

function same(expected: string, given: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(expected), digest(given))
}

function json(res: ServerResponse, status: number, body: unknown): void {
  const text = JSON.stringify(body)
  res.writeHead(status, {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(text),
    'Cache-Control': 'no-store'
  })
  res.end(text)
}
