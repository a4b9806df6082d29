/** How login services that others run mark machines and people. */
import { ownClient, personProfile, personSession, statedKind, workloadSubject } from './markers.ts'
import type { Provider } from './provider.ts'
import { human, machine, unknown } from './token-shape.ts'

const auth0: Provider = {
  name: 'auth0',
  issued: token =>
    token.hostIs('.auth0.com', '.auth0app.com') || /^[A-Za-z0-9_-]+@clients$/.test(token.sub ?? ''),
  judge(token) {
    const profile = token.has('sub_profile') ? statedKind(token) : undefined
    if (profile !== undefined) return profile
    if (token.sub?.includes('|')) return human('sub names a sign-in connection')
    const said = workloadSubject(token) ?? statedKind(token)
    if (said !== undefined) return said
    return token.sub?.startsWith('agt_') ? machine('sub is an agent') : undefined
  }
}

const okta: Provider = {
  name: 'okta',
  issued: token =>
    token.hostIs('.okta.com', '.oktapreview.com', '.okta-emea.com', '.okta-gov.com', '.okta.mil') ||
    (/^(?:AT|ID)\./.test(token.jti) && token.claims['ver'] === 1),
  judge(token) {
    if (token.text('uid') !== undefined) return human('uid')
    const client = ownClient(token)
    if (client !== undefined) return client
    if (/^(?:0oa|wlp)[A-Za-z0-9]{10,}$/.test(token.sub ?? '')) return machine('sub is a client')
    if (/^00u[A-Za-z0-9]{10,}$/.test(token.sub ?? '')) return human('sub is a user id')
    return personSession(token) ?? unknown('neither uid nor sub of the client')
  }
}

const ping: Provider = {
  name: 'pingone',
  issued: token => token.host.startsWith('auth.pingone.') || token.has('p1.rid'),
  judge(token) {
    if (token.sub === undefined) return undefined
    const client = ownClient(token)
    if (client !== undefined) return client
    return token.hasAny('sid', 'auth_time', 'acr') ? human('sid, acr or auth_time') : undefined
  }
}

const logto: Provider = {
  name: 'logto',
  issued: token => token.hostIs('.logto.app'),
  judge(token) {
    const client = ownClient(token)
    if (client !== undefined) return client
    // A client's own token always has the client as its subject.
    return token.sub !== undefined && token.text('client_id') !== undefined
      ? human('sub is not the client')
      : undefined
  }
}

const salesforce: Provider = {
  name: 'salesforce',
  issued: token =>
    token.header['tty'] === 'sfdc-core-token' ||
    token.hostIs('.salesforce.com') ||
    /^uid:005/.test(token.sub ?? ''),
  judge: token => personSession(token) ?? unknown('a client runs as a user')
}

const clerk: Provider = {
  name: 'clerk',
  issued: token =>
    token.hostIs('.clerk.accounts.dev', '.clerk.com') ||
    token.host.startsWith('clerk.') ||
    (/^user_/.test(token.sub ?? '') && /^sess_/.test(token.text('sid') ?? '')) ||
    /^mch_/.test(token.sub ?? ''),
  judge(token) {
    if (/^mch_/.test(token.sub ?? '')) return machine('sub is a machine')
    return /^user_/.test(token.sub ?? '') ? human('sub is a user') : undefined
  },
  // azp is the origin of the page.
  clientId: token => token.text('client_id') ?? (/^mch_/.test(token.sub ?? '') ? token.sub : null)
}

const workos: Provider = {
  name: 'workos',
  issued: token =>
    token.hostIs('api.workos.com', '.authkit.app', '.workos.com') ||
    /^app_consent_/.test(token.text('sid') ?? ''),
  judge(token) {
    if (/^client_/.test(token.sub ?? '')) return machine('sub is a client')
    return /^user_/.test(token.sub ?? '') ? human('sub is a user') : undefined
  }
}

const kinde: Provider = {
  name: 'kinde',
  issued: token => token.hostIs('.kinde.com') || /^kp_[0-9a-f]+$/.test(token.sub ?? ''),
  judge(token) {
    const said = statedKind(token)
    if (said !== undefined) return said
    return /^kp_/.test(token.sub ?? '') ? human('sub is a user') : undefined
  }
}

const stytch: Provider = {
  name: 'stytch',
  issued: token =>
    /^stytch\.com\//.test(token.iss) ||
    token.hostIs('.stytch.com', 'stytch.com', '.customers.stytch.dev') ||
    /^m2m-client-(?:test|live)-/.test(token.sub ?? '') ||
    token.has('https://stytch.com/session'),
  judge(token) {
    if (/^m2m-client-/.test(token.sub ?? '')) return machine('sub is a client')
    if (/^(?:user|member)-/.test(token.sub ?? '')) return human('sub is a user')
    return token.has('https://stytch.com/session') ? human('session') : undefined
  },
  clientId: token => (/^m2m-client-/.test(token.sub ?? '') ? token.sub : undefined)
}

const descope: Provider = {
  name: 'descope',
  issued: token => token.hostIs('.descope.com') || token.has('drn'),
  judge(token) {
    const client = ownClient(token)
    if (client !== undefined) return client
    return token.words('amr').length > 0 ? human('amr') : unknown('an access key looks the same')
  }
}

const supabase: Provider = {
  name: 'supabase',
  issued: token =>
    /^supabase(?:-demo)?$/.test(token.iss) ||
    token.hostIs('.supabase.co', '.supabase.in') ||
    token.path.endsWith('/auth/v1'),
  judge(token) {
    if (token.text('role') === 'service_role') return machine('role=service_role')
    if (token.sub === undefined)
      return token.text('role') === 'anon' ? machine('role=anon without sub') : undefined
    return token.text('session_id') === undefined ? undefined : human('session_id')
  }
}

const cloudflare: Provider = {
  name: 'cloudflare-access',
  issued: token => token.hostIs('.cloudflareaccess.com'),
  judge(token) {
    const service = token.hasAny('common_name', 'service_token_id')
    const person = token.text('email') !== undefined || token.text('identity_nonce') !== undefined
    if (service && person) return unknown('a certificate and a person')
    if (service)
      return token.sub === undefined ? machine('common_name without sub') : unknown('common_name with sub')
    return person ? human('email') : unknown('neither e-mail nor common_name')
  },
  clientId: token => token.text('common_name') ?? null
}

const frontegg: Provider = {
  name: 'frontegg',
  issued: token =>
    token.hostIs('.frontegg.com') ||
    (token.has('tenantId') && /^(?:user|tenant)(?:Api|Access)?Token$/.test(token.text('type') ?? '')),
  judge(token) {
    const type = token.text('type') ?? ''
    if (/^tenant(?:Api|Access)Token$/.test(type)) return machine('type names a tenant’s API token')
    if (/^user(?:Api|Access)Token$/.test(type)) return unknown('a person’s API token')
    return type === 'userToken' ? human('type=userToken') : undefined
  }
}

/** Services that sign in people and nobody else, for other sites. */
const social: Provider = {
  name: 'social-login',
  issued: token =>
    token.hostIs(
      'appleid.apple.com',
      'account.apple.com',
      'www.linkedin.com',
      'www.facebook.com',
      'access.line.me',
      'slack.com',
      'api.login.yahoo.com',
      'kauth.kakao.com'
    ),
  judge: token => (token.sub === undefined ? undefined : human('the issuer signs in people only'))
}

const contextForge: Provider = {
  name: 'mcp-context-forge',
  issued: token => token.iss === 'mcpgateway',
  judge(token) {
    const method = token.record('user')?.['auth_provider']
    if (token.text('token_use') === 'api' || method === 'api_token') return machine('token_use=api')
    return token.text('token_use') === 'session' ? human('token_use=session') : undefined
  },
  clientId: () => null
}

const gitlab: Provider = {
  name: 'gitlab',
  issued: token => token.host === 'gitlab.com' || token.has('sub_legacy'),
  judge: token =>
    personSession(token) ??
    (token.hasAny('sub_legacy', 'nickname') ? human('nickname') : personProfile(token)),
  clientId: token =>
    typeof token.claims.aud === 'string' && token.has('sub_legacy') ? token.claims.aud : undefined
}

export const hostedLogins: readonly Provider[] = [
  auth0,
  okta,
  ping,
  logto,
  salesforce,
  clerk,
  workos,
  kinde,
  stytch,
  descope,
  supabase,
  cloudflare,
  contextForge,
  gitlab,
  frontegg,
  social
]
