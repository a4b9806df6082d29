/** What shows a machine or a person in a token of any issuer. */
import { human, machine, type TokenShape, unknown, type Verdict } from './token-shape.ts'

/** Claims that carry the id of the client that got the token, most telling first. */
export const clientClaims = ['client_id', 'azp', 'cid', 'appid', 'clientId'] as const

const machineGrants = new Set(['client_credentials', 'client-credentials'])
const personGrants = new Set([
  'authorization_code',
  'password',
  'implicit',
  'refresh_token',
  'device_code',
  'urn:ietf:params:oauth:grant-type:device_code',
  'urn:openid:params:grant-type:ciba'
])
const machineProfiles = new Set(['service', 'ai_agent'])

const email = /^[^\s@|]+@[^\s@|]+\.[^\s@|]+$/
const serviceAccountEmail = /@(?:[a-z0-9-]+\.)*gserviceaccount\.com$/i
/** Mailboxes and user names of programs. Only ever turn `human` into `unknown`. */
const robots = 'svc|service|sa|bot|robot|system|daemon|cron|job|worker|agent|api|automation'
const robotName = new RegExp(
  `^(?:${robots}|ci|cd|app|no-?reply)(?:$|[-_.+@\\d])|[-_.](?:${robots})(?:$|@)`,
  'i'
)
/** The connections through which Auth0 knows people; its subjects start with one and a bar. */
const connections =
  'auth0|google-oauth2|google-apps|windowslive|waad|adfs|ad|samlp|oidc|oauth2|okta|pingfederate|facebook|apple|github|bitbucket|' +
  'linkedin|twitter|email|sms|amazon|slack|discord|paypal|salesforce|shopify|yahoo|custom'
const connectionSubject = new RegExp(`^(?:${connections})\\|.`)

/** Judges a token of an issuer that no rule of its own knows. Where the claims speak both ways nobody is believed. */
export function judgeByMarkers(token: TokenShape): Verdict {
  const said = statedKind(token) ?? workloadSubject(token) ?? clientConnection(token)
  if (said !== undefined) return said
  const client = ownClient(token)
  const session = personSession(token)
  if (client !== undefined)
    return session === undefined ? client : unknown(`${client.reason}, but ${session.reason}`)
  if (session !== undefined) return session
  return withoutSubject(token) ?? personProfile(token) ?? unknown('no claim tells machine from human')
}

/** Claims whose value names the kind of subject or the grant. */
export function statedKind(token: TokenShape): Verdict | undefined {
  let said: Verdict | undefined
  for (const verdict of statements(token)) {
    if (said !== undefined && said.kind !== verdict.kind)
      return unknown(`${said.reason}, but ${verdict.reason}`)
    said ??= verdict
  }
  return said
}

function statements(token: TokenShape): Verdict[] {
  return [statedSubject(token), statedProfile(token), statedGrant(token), statedTokenUse(token)].filter(
    verdict => verdict !== undefined
  )
}

function statedSubject(token: TokenShape): Verdict | undefined {
  switch (token.text('idtyp')) {
    case 'app':
    case 'device':
      return machine(`idtyp=${token.text('idtyp')}`)
    case 'user':
      return human('idtyp=user')
  }
  switch (token.text('sub_type')?.toLowerCase()) {
    case 'client':
    case 'serviceid':
    case 'service':
      return machine('sub_type names a client')
    case 'user':
      return human('sub_type=user')
  }
  return undefined
}

function statedProfile(token: TokenShape): Verdict | undefined {
  const profiles = token.words('sub_profile')
  const person = profiles.includes('user')
  if (profiles.some(profile => machineProfiles.has(profile))) {
    return person ? unknown('sub_profile names both') : machine('sub_profile names a service')
  }
  return person ? human('sub_profile=user') : undefined
}

function statedGrant(token: TokenShape): Verdict | undefined {
  const byClient = token.grants.some(grant => machineGrants.has(grant)) || token.text('gtp') === 'cc'
  const byPerson = token.grants.some(grant => personGrants.has(grant))
  if (byClient) {
    // A refreshed client-credentials token lists both grants.
    return token.grants.some(grant => personGrants.has(grant) && grant !== 'refresh_token')
      ? unknown('the grants name both')
      : machine('grant=client_credentials')
  }
  if (!byPerson) return undefined
  return ownClient(token) === undefined
    ? human('the grant is a person’s')
    : unknown('a person’s grant, but sub is the client')
}

function statedTokenUse(token: TokenShape): Verdict | undefined {
  if (token.text('token_use') === 'api') return machine('token_use=api')
  return token.text('role') === 'service_role' ? machine('role=service_role') : undefined
}

/** Subjects in the form of a workload's name. */
export function workloadSubject(token: TokenShape): Verdict | undefined {
  const { sub } = token
  if (sub?.startsWith('spiffe://')) return machine('sub is a SPIFFE ID')
  if (sub?.startsWith('wimse://') || token.header.typ === 'wit+jwt')
    return machine('sub is a workload identifier')
  if (/^system:(?:serviceaccount|node):/.test(sub ?? '')) return machine('sub is a Kubernetes account')
  if (sub !== undefined && /^[A-Za-z0-9_-]+@clients$/.test(sub)) return machine('sub ends in @clients')
  if (
    isServiceAccount(sub) ||
    isServiceAccount(token.text('email')) ||
    (sub === undefined && isServiceAccount(token.iss))
  )
    return machine('a Google service account')
  return sub?.startsWith('arn:aws') ? awsPrincipal(sub) : undefined
}

/** An IAM role belongs to a program, unless people sign in to it: their sessions are named after mailboxes. */
function awsPrincipal(arn: string): Verdict {
  const role = /^arn:aws[a-z-]*:(?:iam::\d+:role|sts::\d+:assumed-role)\/(.+)$/.exec(arn)
  return role !== null && !/(?:^|\/)AWSReservedSSO_|@/.test(role[1])
    ? machine('sub is an IAM role')
    : unknown('sub is an IAM principal that may be a person')
}

export function isServiceAccount(text: string | undefined): boolean {
  return text !== undefined && serviceAccountEmail.test(text)
}

/** Keycloak notes where a client asked from only when the client asked for itself. */
export function clientConnection(token: TokenShape): Verdict | undefined {
  return token.text('clientHost') !== undefined && token.text('clientAddress') !== undefined
    ? machine('clientHost and clientAddress')
    : undefined
}

/** A token whose subject is the client itself. */
export function ownClient(token: TokenShape): Verdict | undefined {
  const claim = token.clientClaimOfSubject(...clientClaims)
  if (claim !== undefined) return machine(`sub equals ${claim}`)
  if (token.sub === undefined || clientClaims.some(name => token.has(name))) return undefined
  if (token.sub === token.iss && !token.has('sub_jwk') && !/^(?:did|urn):/.test(token.sub))
    return machine('sub equals iss')
  return token.sub === token.onlyAudience ? machine('sub equals aud') : undefined
}

/** Claims that only a person's sign-in leaves behind. */
export function personSession(token: TokenShape): Verdict | undefined {
  for (const claim of ['sid', 'session_id', 'session_state', 'nonce', 'at_hash', 'c_hash']) {
    if (token.text(claim) !== undefined) return human(claim)
  }
  // Some providers write `amr`, or `auth_time`, on tokens of machines: one alone does not count.
  const authenticated = [token.has('auth_time'), token.text('idp') !== undefined, hasMethod(token)]
  if (authenticated.filter(Boolean).length > 1) return human('auth_time, idp, amr: two of them')
  if (isLogout(token)) return human('a back-channel logout')
  return token.header.typ === 'oauth-id-jag+jwt' ? human('typ=oauth-id-jag+jwt') : undefined
}

/** `amr` may also hold the grant, as a URN. */
function hasMethod({ claims: { amr } }: TokenShape): boolean {
  return Array.isArray(amr) && amr.some(method => !String(method).startsWith('urn:'))
}

export function isLogout(token: TokenShape): boolean {
  return token.record('events')?.['http://schemas.openid.net/event/backchannel-logout'] !== undefined
}

/** RFC 6749, section 4.4: a client that acts for itself; some issuers then leave `sub` out. */
function withoutSubject(token: TokenShape): Verdict | undefined {
  if (token.sub !== undefined) return undefined
  const profile = personProfile(token)
  if (profile !== undefined)
    return userNameClaims.includes(profile.reason) ? profile : unknown(`${profile.reason} without sub`)
  const client = ['client_id', 'appid'].find(claim => token.text(claim) !== undefined)
  return client === undefined ? undefined : machine(`${client} without sub`)
}

const userNameClaims = ['cognito:username', 'username', 'user_name', 'Username', 'upn', 'unique_name']

/** Claims that describe a person. Weak: they count where nothing points to a machine. */
export function personProfile(token: TokenShape): Verdict | undefined {
  const { sub } = token
  if (sub !== undefined && connectionSubject.test(sub)) return human('sub names a sign-in connection')
  if (sub?.startsWith('mailto:')) return human('sub is a mailbox')
  for (const claim of userNameClaims) {
    const name = token.text(claim)
    if (name !== undefined && !robotName.test(name) && !name.startsWith('service-account-'))
      return human(claim)
  }
  if (token.text('given_name') !== undefined && token.text('family_name') !== undefined) {
    return human('given_name and family_name')
  }
  const address = token.text('email')
  if (address !== undefined)
    return robotName.test(address) ? unknown('email may be a robot’s') : human('email')
  if (token.scopes.includes('openid')) return human('scope openid')
  return emailSubject(token)
}

/** A mailbox as subject names a person if no client is named beside it, or if somebody acts for that person (RFC 8693). */
function emailSubject(token: TokenShape): Verdict | undefined {
  if (token.sub === undefined || !email.test(token.sub) || robotName.test(token.sub)) return undefined
  if (token.record('act') !== undefined || token.record('may_act') !== undefined)
    return human('act for a mailbox')
  return clientClaims.some(name => token.has(name)) ? undefined : human('sub is a mailbox')
}
