/** Tells clients where to get tokens for this server: OAuth 2.0 Protected Resource Metadata (RFC 9728). */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Exchange, exchangeOf } from '../http/exchange.ts'
import { type Next, type Stage, type StageMiddleware, stageMiddleware } from '../http/pipeline.ts'
import { answerProblem } from '../http/problem.ts'
import { checkInteger, checkText, isTexts, shown, wrongOption } from '../options.ts'
import { checkEndpoint } from './keys/endpoint.ts'

export interface ProtectedResourceMetadataOptions {
  /** The resource identifier: the URL by which clients know this server. Tokens should have it as their audience (RFC 8707). */
  resource: string
  /** Issuers whose tokens are taken. */
  authorizationServers: readonly string[]
  scopesSupported?: readonly string[]
  /** How tokens are presented. Default, and all that `authenticate` reads: `['header']`. */
  bearerMethodsSupported?: readonly ('header' | 'body' | 'query')[]
  resourceName?: string
  resourceDocumentation?: string
  resourcePolicyUri?: string
  resourceTosUri?: string
  /** Keys of the resource itself, if it signs its answers. */
  jwksUri?: string
  resourceSigningAlgValuesSupported?: readonly string[]
  tlsClientCertificateBoundAccessTokens?: boolean
  authorizationDetailsTypesSupported?: readonly string[]
  dpopSigningAlgValuesSupported?: readonly string[]
  dpopBoundAccessTokensRequired?: boolean
  /** Further members of the document, by their names in it; they cannot replace one of the others. */
  extensions?: Readonly<Record<string, unknown>>
  /** How long clients may keep the document. Default 3600. */
  maxAgeSeconds?: number
}

export interface ProtectedResourceMetadata extends StageMiddleware {
  /** As a bare listener it answers everything else with 404; as middleware it passes it on. */
  (req: IncomingMessage, res: ServerResponse, next?: Next): void
  /** Where the document is: what `resourceMetadata` of `authenticate` takes. */
  readonly url: string
  readonly path: string
}

const wellKnown = '/.well-known/oauth-protected-resource'

/**
 * Serves the document at `/.well-known/oauth-protected-resource` and the resource's path (RFC 9728, section 3.1). Goes in front of
 * `authenticate`: who has no token yet must be able to read it.
 * @throws TypeError when an option is not what it must be
 */
export function protectedResourceMetadata(
  options: ProtectedResourceMetadataOptions
): ProtectedResourceMetadata {
  const document = Buffer.from(JSON.stringify(documentOf(options)))
  const { maxAgeSeconds = 3_600 } = options
  checkInteger(owner, 'maxAgeSeconds', maxAgeSeconds, 0)
  const { origin, pathname, search } = new URL(options.resource)
  const path = wellKnown + (pathname === '/' ? '' : pathname)
  const middleware = stageMiddleware(new MetadataStage(path, document, maxAgeSeconds))
  const { stage, wrap, upgrade } = middleware
  const listener = wrap(req => answerProblem(exchangeOf(req), { status: 404 }))
  const serve = (req: IncomingMessage, res: ServerResponse, next?: Next) =>
    next === undefined ? listener(req, res) : middleware(req, res, next)
  return Object.assign(serve, { stage, wrap, upgrade, path, url: origin + path + search })
}

class MetadataStage implements Stage {
  readonly name = 'protectedResourceMetadata'
  readonly #path: string
  readonly #document: Buffer
  readonly #headers: Readonly<Record<string, string | number>>

  constructor(path: string, document: Buffer, maxAgeSeconds: number) {
    this.#path = path
    this.#document = document
    this.#headers = {
      'Content-Type': 'application/json',
      'Content-Length': document.length,
      'Cache-Control': `public, max-age=${maxAgeSeconds}`,
      'Access-Control-Allow-Origin': '*'
    }
  }

  enter(exchange: Exchange): boolean {
    if (exchange.path !== this.#path) return true
    const { req, res } = exchange
    switch (req.method) {
      case 'GET':
        res.writeHead(200, this.#headers).end(this.#document)
        return false
      case 'HEAD':
        res.writeHead(200, this.#headers).end()
        return false
      case 'OPTIONS':
        res.writeHead(204, { ...preflight, Allow: allowed }).end()
        return false
      default:
        answerProblem(exchange, { status: 405, headers: { Allow: allowed } })
        return false
    }
  }
}

const allowed = 'GET, HEAD, OPTIONS'
/** Browsers' clients ask with a header that names the version of their protocol. */
const preflight = {
  'Access-Control-Allow-Origin': '*',
  'Access-Control-Allow-Methods': allowed,
  'Access-Control-Allow-Headers': '*',
  'Access-Control-Max-Age': '86400'
}
const owner = 'protectedResourceMetadata'

function documentOf(options: ProtectedResourceMetadataOptions): Record<string, unknown> {
  const document = {
    resource: checkEndpoint(`${owner}: resource`, options.resource),
    authorization_servers: urls('authorizationServers', options.authorizationServers),
    scopes_supported: words('scopesSupported', options.scopesSupported),
    bearer_methods_supported: methods(options.bearerMethodsSupported ?? ['header']),
    resource_name: text('resourceName', options.resourceName),
    resource_documentation: url('resourceDocumentation', options.resourceDocumentation),
    resource_policy_uri: url('resourcePolicyUri', options.resourcePolicyUri),
    resource_tos_uri: url('resourceTosUri', options.resourceTosUri),
    jwks_uri: url('jwksUri', options.jwksUri),
    resource_signing_alg_values_supported: algorithms(
      'resourceSigningAlgValuesSupported',
      options.resourceSigningAlgValuesSupported
    ),
    tls_client_certificate_bound_access_tokens: options.tlsClientCertificateBoundAccessTokens,
    authorization_details_types_supported: words(
      'authorizationDetailsTypesSupported',
      options.authorizationDetailsTypesSupported
    ),
    dpop_signing_alg_values_supported: algorithms(
      'dpopSigningAlgValuesSupported',
      options.dpopSigningAlgValuesSupported
    ),
    dpop_bound_access_tokens_required: options.dpopBoundAccessTokensRequired
  }
  for (const name of Object.keys(options.extensions ?? {})) {
    if (name in document) throw new TypeError(`${owner}: extensions must not hold ${name}`)
  }
  return { ...document, ...options.extensions }
}

function fail(option: string, rule: string, value: unknown): never {
  throw wrongOption(owner, option, rule, shown(value))
}

function url(option: string, value: string | undefined): string | undefined {
  return value === undefined ? undefined : checkEndpoint(`${owner}: ${option}`, value)
}

function urls(option: string, values: readonly string[]): readonly string[] {
  if (!Array.isArray(values) || values.length === 0) fail(option, 'a list of issuers', values)
  return values.map(value => checkEndpoint(`${owner}: ${option}`, value))
}

function text(option: string, value: string | undefined): string | undefined {
  if (value !== undefined) checkText(owner, option, value)
  return value
}

function words(option: string, values: readonly string[] | undefined): readonly string[] | undefined {
  if (values === undefined) return undefined
  // RFC 9728, section 3.2: members without a value are left out, so an empty list has no meaning.
  return isTexts(values) ? values : fail(option, 'a list of non-empty strings', values)
}

function algorithms(option: string, values: readonly string[] | undefined): readonly string[] | undefined {
  const list = words(option, values)
  return list?.includes('none') ? fail(option, 'a list without none', values) : list
}

/** An empty list says that no method of RFC 6750 is taken. */
function methods(values: readonly string[]): readonly string[] {
  const known = ['header', 'body', 'query']
  return Array.isArray(values) && values.every(value => known.includes(value))
    ? values
    : fail('bearerMethodsSupported', `a list out of ${known.join(', ')}`, values)
}
