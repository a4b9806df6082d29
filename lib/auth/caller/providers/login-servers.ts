/** How login servers that one runs oneself mark machines and people. */
import { clientConnection, ownClient, personSession, statedKind } from './markers.ts'
import type { Provider } from './provider.ts'
import { human, isRecord, machine, type TokenShape, unknown, type Verdict } from './token-shape.ts'

const forgeRock: Provider = {
  name: 'forgerock',
  issued: token =>
    token.hostIs('.forgeblocks.com') ||
    token.has('auditTrackingId') ||
    /^OAUTH2_STATE/.test(token.text('cts') ?? ''),
  judge(token) {
    if (/^\(age!.+\)$/.test(token.sub ?? '')) return machine('sub is an agent')
    if (/^\(usr!.+\)$/.test(token.sub ?? '')) return human('sub is a user')
    if (token.text('client_id') === 'service-account') return machine('client_id of service accounts')
    return (
      statedKind(token) ?? ownClient(token) ?? personSession(token) ?? unknown('auth_time is on every token')
    )
  }
}

/** Regular and lightweight tokens name session, kind of token and grant in `jti`: `onrtac:…`. */
const keycloakId = /^(on|of|tr)(rt|lt)([a-z]{2}):/
const keycloakPersonGrants = new Set(['ac', 'ro', 'dg', 'cb'])

const keycloak: Provider = {
  name: 'keycloak',
  issued: token =>
    /^(?:\/auth)?(?:\/[^/]+)?\/realms\/[^/]+\/?$/.test(token.path) || keycloakId.test(token.jti),
  judge(token) {
    const [, session = '', form = '', grant = ''] = keycloakId.exec(token.jti) ?? []
    const connection = clientConnection(token)
    if (connection !== undefined) return connection
    const account = serviceAccount(token)
    const sid = token.text('sid') ?? token.text('session_state')
    if (grant === 'cc') {
      return form === 'rt' || account === 'own'
        ? machine('the grant in jti')
        : unknown('a lightweight token shows no account')
    }
    if (account === 'own') {
      if (sid === undefined) return machine('preferred_username is the service account')
      return token.hasAny('auth_time', 'given_name', 'nonce')
        ? human('sid')
        : unknown('a service account’s name with a session')
    }
    if (sid !== undefined) return human('sid')
    if (account === 'other') {
      return session === 'tr'
        ? machine('preferred_username is a service account')
        : unknown('named like a service account')
    }
    if (session !== 'tr' && keycloakPersonGrants.has(grant)) return human('the grant in jti')
    return keycloakPerson(token)
  }
}

function keycloakPerson(token: TokenShape): Verdict {
  const name = token.text('preferred_username')
  if (name !== undefined && token.hasAny('email', 'given_name', 'family_name'))
    return human('preferred_username')
  return personSession(token) ?? unknown('no user session and no service account')
}

/** Whether the token carries a service account's name: its own client's, another's, or none. Users can register such names too. */
function serviceAccount(token: TokenShape): 'own' | 'other' | undefined {
  const name = token.text('preferred_username') ?? token.text('username')
  if (!name?.startsWith('service-account-')) return undefined
  const client = token.text('client_id') ?? token.text('azp') ?? token.text('clientId') ?? ''
  return name === `service-account-${client.toLowerCase()}` ? 'own' : 'other'
}

const authentik: Provider = {
  name: 'authentik',
  issued: token => token.path.includes('/application/o/'),
  judge(token) {
    if (token.text('sid') === undefined && token.text('email') === undefined && isGeneratedUser(token)) {
      return machine('preferred_username is the client’s generated user')
    }
    // auth_time and acr are on service accounts' tokens too.
    const session = personSession(token)
    if (session !== undefined) return session
    const named = token.text('name') !== token.text('preferred_username')
    return token.text('email') !== undefined && named
      ? human('email')
      : unknown('a service account looks the same')
  }
}

function isGeneratedUser(token: TokenShape): boolean {
  return /^ak-.+-client_credentials$/.test(token.text('preferred_username') ?? '')
}

const zitadel: Provider = {
  name: 'zitadel',
  issued: token =>
    token.hostIs('.zitadel.cloud', '.zitadel.app') ||
    /^V\d+_\d+-at_\d+$/.test(token.jti) ||
    Object.keys(token.claims).some(claim => claim.startsWith('urn:zitadel:')),
  judge(token) {
    if (token.sub === undefined) return unknown('no sub')
    const session = personSession(token)
    if (session !== undefined) return session
    if (token.text('email') !== undefined || token.text('family_name') !== undefined)
      return human('email or family_name')
    // A service user's tokens name that user as the client; an application's id is a number, and its project's with it.
    const client = token.text('client_id') ?? token.text('azp') ?? ''
    const application = /^\d{15,}(?:@[\w-]+)?$/.test(client) && token.words('aud').includes(client)
    return application && client !== token.sub && token.record('act') === undefined
      ? human('client_id is an application')
      : unknown('a service user looks the same')
  }
}

const hydra: Provider = {
  name: 'hydra',
  issued: token =>
    token.hostIs('.oryapis.com') || (isRecord(token.claims['ext']) && Array.isArray(token.claims['scp'])),
  judge(token) {
    const client = ownClient(token)
    if (client !== undefined) return client
    // A client's own token always has the client as its subject; an assertion's subject may be anything.
    if (token.scopes.includes('openid') || token.scopes.some(scope => /^offline(?:_access)?$/.test(scope))) {
      return human('scope openid or offline')
    }
    return token.hostIs('.oryapis.com') &&
      token.text('client_id') !== undefined &&
      /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(token.sub ?? '')
      ? human('sub is an identity, not the client')
      : undefined
  }
}

const uaa: Provider = {
  name: 'uaa',
  issued: token =>
    token.hostIs(
      '.hana.ondemand.com',
      '.accounts.ondemand.com',
      '.accounts400.ondemand.com',
      '.accounts.cloud.sap'
    ) ||
    token.has('rev_sig') ||
    (token.has('zid') && token.has('cid')),
  judge(token) {
    for (const claim of ['user_id', 'user_name', 'user_uuid']) {
      if (token.text(claim) !== undefined) return human(claim)
    }
    return statedKind(token) ?? ownClient(token) ?? undefined
  }
}

const wso2: Provider = {
  name: 'wso2',
  issued: token =>
    /^(?:APPLICATION|APPLICATION_USER|AGENT)$/.test(token.text('aut') ?? '') ||
    token.host === 'api.asgardeo.io',
  judge(token) {
    const aut = token.text('aut')
    if (aut === 'APPLICATION_USER') return human('aut=APPLICATION_USER')
    if (aut === 'AGENT') return machine('aut=AGENT')
    if (aut !== 'APPLICATION') return undefined
    if (ownClient(token) !== undefined) return machine('aut=APPLICATION')
    // Older servers wrote it on people's tokens too, and the owner's name on the client's.
    if (token.scopes.includes('openid') || personSession(token) !== undefined)
      return unknown('aut=APPLICATION of an older server')
    const qualified = token.sub?.includes('@') && !token.scopes.includes('am_application_scope')
    return qualified ? unknown('aut=APPLICATION with a user’s name') : machine('aut=APPLICATION')
  }
}

const fusionAuth: Provider = {
  name: 'fusionauth',
  issued: token =>
    token.hostIs('.fusionauth.io') || token.header['gty'] !== undefined || token.has('authenticationType'),
  judge(token) {
    const said = statedKind(token)
    if (said !== undefined) return said
    return token.has('authenticationType') ? human('authenticationType') : undefined
  },
  clientId: token => token.text('applicationId')
}

const casdoor: Provider = {
  name: 'casdoor',
  issued: token => token.has('owner') && token.has('tokenType'),
  judge(token) {
    const type = token.text('type')
    if (type === 'application') return machine('type=application')
    return type === 'normal-user' || type === 'paid-user' ? human('type names a user') : undefined
  }
}

export const loginServers: readonly Provider[] = [
  forgeRock,
  keycloak,
  authentik,
  zitadel,
  hydra,
  uaa,
  wso2,
  fusionAuth,
  casdoor
]
