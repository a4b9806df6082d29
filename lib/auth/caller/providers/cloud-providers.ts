/** How the clouds' own directories mark machines and people. */
import { isLogout, isServiceAccount, judgeByMarkers, ownClient, personSession } from './markers.ts'
import type { Provider } from './provider.ts'
import { human, isRecord, machine, type TokenShape, unknown, type Verdict } from './token-shape.ts'

const cognito: Provider = {
  name: 'cognito',
  issued: token => /^(?:issuer-)?cognito-idp\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?$/.test(token.host),
  judge(token) {
    const client = ownClient(token)
    // A pre-token-generation trigger may add a name or an e-mail to a machine's token, but cannot change these.
    if (client !== undefined) return client
    if (token.hasAny('username', 'cognito:username')) return human('username')
    return token.sub === undefined ? undefined : unknown('neither username nor sub of the client')
  }
}

const cognitoIdentity: Provider = {
  name: 'cognito-identity',
  issued: token => token.host === 'cognito-identity.amazonaws.com',
  judge: () => unknown('an identity pool serves people and devices'),
  clientId: () => null
}

const entra: Provider = {
  name: 'entra',
  issued: token =>
    token.hostIs(
      'sts.windows.net',
      'login.microsoftonline.com',
      'login.microsoftonline.us',
      'login.windows.net'
    ) ||
    token.hostIs(
      'sts.chinacloudapi.cn',
      'login.partner.microsoftonline.cn',
      '.ciamlogin.com',
      '.b2clogin.com'
    ) ||
    (token.has('tid') && token.has('uti') && token.has('ver')) ||
    /^b2c_1/i.test(token.text('tfp') ?? token.text('acr') ?? ''),
  judge(token) {
    const agent = token.words('xms_sub_fct')
    if (agent.includes('13')) return unknown('xms_sub_fct names an agent’s user account')
    if (token.text('idtyp') === 'app' || token.text('idtyp') === 'device')
      return machine(`idtyp=${token.text('idtyp')}`)
    if (token.text('idtyp') === 'user') return human('idtyp=user')
    if (agent.includes('11')) return machine('xms_sub_fct names an agent')
    if (token.has('xms_mirid')) return machine('xms_mirid')
    if (token.text('scp') !== undefined) return human('scp: delegated permissions')
    return entraWithoutScopes(token)
  },
  clientId: token => {
    const { aud } = token.claims
    const idToken =
      !token.hasAny('azp', 'appid', 'scp', 'roles') &&
      token.hasAny('preferred_username', 'emails', 'tfp', 'name')
    return idToken && typeof aud === 'string' ? aud : undefined
  }
}

/** No `scp`: an application's own token, or an ID token. In B2C a person's `sub` is the `oid` too. */
function entraWithoutScopes(token: TokenShape): Verdict {
  for (const claim of [
    'nonce',
    'upn',
    'unique_name',
    'preferred_username',
    'emails',
    'tfp',
    'at_hash',
    'c_hash',
    'puid'
  ]) {
    if (token.has(claim)) return human(claim)
  }
  if (/^b2c_1/i.test(token.text('acr') ?? '')) return human('acr names a user flow')
  const person = token.hasAny('given_name', 'family_name', 'email', 'name', 'amr')
  const clientMarked = token.hasAny('appid', 'azp', 'appidacr', 'azpacr')
  if (token.sub !== undefined && token.sub === token.text('oid') && !person)
    return machine('sub equals oid, no scp')
  const byClient = ownClient(token)
  if (byClient !== undefined && !person) return byClient
  if (token.text('appidacr') === '0' || token.text('azpacr') === '0') return human('a public client')
  return person && !clientMarked
    ? human('a profile in an ID token')
    : unknown('neither scp nor sub equal to oid')
}

const google: Provider = {
  name: 'google',
  issued: token =>
    token.hostIs('accounts.google.com', 'cloud.google.com') ||
    token.iss === 'accounts.google.com' ||
    isServiceAccount(token.iss),
  judge(token) {
    if (isServiceAccount(token.iss) && token.sub !== undefined && token.sub !== token.iss) {
      return unknown('a service account speaks for somebody')
    }
    if (isServiceAccount(token.text('email')) || isServiceAccount(token.sub) || isServiceAccount(token.iss)) {
      return machine('a Google service account')
    }
    if (token.has('google') && isRecord(token.record('google')?.['compute_engine']))
      return machine('google.compute_engine')
    if (token.clientClaimOfSubject('azp') !== undefined) return machine('sub equals azp')
    if (token.host === 'cloud.google.com') {
      return token.text('email') !== undefined || token.has('gcip')
        ? human('email')
        : unknown('no e-mail behind the proxy')
    }
    return googlePerson(token) ?? unknown('neither a service account nor a person’s client')
  },
  clientId: token =>
    token.text('azp') ?? (isOauthClient(token.claims.aud) ? (token.claims.aud as string) : null)
}

function googlePerson(token: TokenShape): Verdict | undefined {
  if (isOauthClient(token.claims['azp'])) return human('a person’s OAuth client')
  // Service accounts ask for tokens for such audiences too, to pass a proxy.
  if (isOauthClient(token.claims.aud) && token.text('email') !== undefined) return human('email')
  return token.text('hd') !== undefined ? human('hd') : personSession(token)
}

function isOauthClient(value: unknown): boolean {
  return typeof value === 'string' && value.endsWith('.apps.googleusercontent.com')
}

const firebase: Provider = {
  name: 'firebase',
  issued: token => token.hostIs('securetoken.google.com', 'session.firebase.google.com'),
  judge(token) {
    const sign = token.record('firebase') ?? {}
    const method = sign['sign_in_provider']
    const linked = isRecord(sign['identities']) && Object.keys(sign['identities']).length > 0
    if (typeof method !== 'string' || method === '') return unknown('no sign_in_provider')
    return method === 'custom' && !linked
      ? unknown('sign_in_provider=custom serves people and programs')
      : human('sign_in_provider')
  },
  clientId: () => null
}

const ibm: Provider = {
  name: 'ibm-cloud',
  issued: token =>
    token.hostIs('iam.cloud.ibm.com', '.iam.cloud.ibm.com', 'iam.test.cloud.ibm.com') ||
    token.has('iam_id') ||
    isIbmProfile(token) ||
    /^(?:iam-)?ServiceId-/.test(token.sub ?? ''),
  judge: token =>
    ibmPrincipal(token.text('iam_id') ?? token.sub ?? '', token.text('sub_type')) ?? judgeIbmProfile(token)
}

function ibmPrincipal(id: string, subjectType: string | undefined): Verdict | undefined {
  if (/^(?:iam-)?ServiceId-/.test(id) || subjectType === 'ServiceId') return machine('a service id')
  if (id.startsWith('crn-') || subjectType === 'CRN') return machine('a CRN')
  return /^(?:IBMid|HMRE)-/.test(id) ? human('iam_id of a person') : undefined
}

/** A trusted profile is a role: `authn` says who took it on. */
function judgeIbmProfile(token: TokenShape): Verdict {
  const behind = token.record('authn') ?? {}
  const { iam_id: id, sub_type: subjectType } = behind
  const verdict = ibmPrincipal(
    typeof id === 'string' ? id : '',
    typeof subjectType === 'string' ? subjectType : undefined
  )
  if (verdict !== undefined) return verdict
  return isIbmProfile(token) || !token.has('family_name')
    ? unknown('neither a service id nor a person’s id')
    : human('family_name')
}

function isIbmProfile(token: TokenShape): boolean {
  return (
    token.text('sub_type') === 'Profile' || /^(?:iam-)?Profile-/.test(token.text('iam_id') ?? token.sub ?? '')
  )
}

const oracle: Provider = {
  name: 'oracle',
  issued: token =>
    token.hostIs('identity.oraclecloud.com', '.identity.oraclecloud.com') || token.has('user.tenant.name'),
  judge(token) {
    if (/^ocid1\.(?:instance|resource|fnfunc|cluster)/.test(token.sub ?? ''))
      return machine('sub is a resource')
    return judgeByMarkers(token)
  }
}

/**
 * The audience of an ID token, and of a logout token, is the client (OpenID Connect Core, section 2; Back-Channel Logout,
 * section 2.4).
 */
export function idTokenAudience(token: TokenShape): string | null | undefined {
  const { aud } = token.claims
  const marked =
    token.hasAny('nonce', 'at_hash', 'c_hash') ||
    token.text('token_use') === 'id' ||
    token.text('typ') === 'ID' ||
    token.jti.startsWith('ID.') ||
    isLogout(token)
  // Profile claims without a scope; a resource would be named by a URL.
  const profile =
    token.hasAny('email_verified', 'picture', 'updated_at') &&
    token.scopes.length === 0 &&
    !String(aud).includes(':')
  const idToken = marked || profile
  return idToken && typeof aud === 'string' && aud !== '' ? aud : undefined
}

export const cloudProviders: readonly Provider[] = [
  cognito,
  cognitoIdentity,
  entra,
  firebase,
  google,
  ibm,
  oracle
]
