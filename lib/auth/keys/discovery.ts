/** Finds an issuer's key set in its metadata (OpenID Connect Discovery, RFC 8414). */
import { checkEndpoint, type FetchPolicy, fetchJson } from './endpoint.ts'

/** The metadata contradicts the configuration: waiting does not help, somebody must change one of the two. */
export class DiscoveryError extends Error {
  override readonly name = 'DiscoveryError'
  readonly code = 'ERR_DISCOVERY'
}

/**
 * The issuer's JWKS URL. The metadata must name exactly the configured issuer (RFC 8414, section 3.3); the JWKS may
 * live on another host.
 *
 * @throws DiscoveryError when the metadata names another issuer or no usable `jwks_uri`
 * @throws Error when neither well-known document can be fetched
 */
export async function discoverJwksUri(
  issuer: string,
  policy: FetchPolicy,
  stop: AbortSignal
): Promise<string> {
  const metadata = await fetchMetadata(issuer, policy, stop)
  const named = metadata['issuer']
  if (named !== issuer) {
    throw new DiscoveryError(
      `issuer mismatch: configured ${JSON.stringify(issuer)}, but its metadata says ${JSON.stringify(named)}${hint(issuer, named)}`
    )
  }
  try {
    return checkEndpoint(`jwks_uri of ${issuer}`, metadata['jwks_uri'])
  } catch (error) {
    throw new DiscoveryError((error as Error).message)
  }
}

async function fetchMetadata(
  issuer: string,
  policy: FetchPolicy,
  stop: AbortSignal
): Promise<Record<string, unknown>> {
  let document: unknown
  try {
    document = await fetchJson(openidConfiguration(issuer), policy, stop)
  } catch (error) {
    if (stop.aborted) throw error
    document = await fetchJson(authorizationServer(issuer), policy, stop).catch(() => {
      throw error
    })
  }
  if (typeof document !== 'object' || document === null) {
    throw new DiscoveryError(`the metadata of ${issuer} is not a JSON object`)
  }
  return document as Record<string, unknown>
}

/** OpenID Connect Discovery 1.0, section 4: appended to the issuer, whose trailing slash goes. */
function openidConfiguration(issuer: string): string {
  return `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`
}

/** RFC 8414, section 3.1: between host and path. */
function authorizationServer(issuer: string): string {
  const { origin, pathname } = new URL(issuer)
  return `${origin}/.well-known/oauth-authorization-server${pathname.replace(/\/$/, '')}`
}

function hint(configured: string, named: unknown): string {
  if (typeof named !== 'string') return ''
  if (named.replace(/\/$/, '') === configured.replace(/\/$/, ''))
    return ' (they differ in the trailing slash)'
  return named.toLowerCase() === configured.toLowerCase() ? ' (they differ in upper and lower case)' : ''
}
