/** Further token shapes that providers document, with invented values: what a rule must get right that was learned from others. */

export type Shape = [
  what: string,
  expected: 'machine' | 'human' | 'unknown',
  clientId: string | null,
  claims: Record<string, unknown>,
  header?: Record<string, unknown>
]

const uuid = '0a0a0a0a-1111-4222-8333-444444444444'
const uuid2 = '5b5b5b5b-1111-4222-8333-444444444444'
const cognito = 'https://cognito-idp.us-east-1.amazonaws.com/us-east-1_Pool'
const auth0 = 'https://tenant.us.auth0.com/'
const okta = 'https://corp.okta.com/oauth2/aus1'
const tenant = '99999999-2222-4333-8444-555555555555'
const v1 = `https://sts.windows.net/${tenant}/`
const v2 = `https://login.microsoftonline.com/${tenant}/v2.0`
const keycloak = 'https://id.corp.example/realms/corp'
const google = 'https://accounts.google.com'
const forgeRock = {
  iss: 'https://am.corp.example/am/oauth2/realms/root/realms/corp',
  auditTrackingId: 'x-1',
  tokenName: 'access_token'
}
const ibm = {
  iss: 'https://iam.cloud.ibm.com/identity',
  client_id: 'default',
  amr: ['pwd'],
  scope: 'ibm openid'
}
const at = { typ: 'at+jwt', alg: 'RS256' }

export const shapes: readonly Shape[] = [
  [
    'Cognito, person',
    'human',
    'web',
    {
      iss: cognito,
      sub: uuid,
      token_use: 'access',
      client_id: 'web',
      username: 'jane',
      scope: 'openid',
      auth_time: 1,
      origin_jti: uuid
    }
  ],
  [
    'Cognito, person with groups through the SDK',
    'human',
    'web',
    {
      iss: cognito,
      sub: uuid,
      'cognito:groups': ['g'],
      token_use: 'access',
      client_id: 'web',
      username: uuid,
      scope: 'aws.cognito.signin.user.admin'
    }
  ],
  [
    'Cognito, machine with an e-mail from a trigger',
    'machine',
    'w1',
    {
      iss: cognito,
      sub: 'w1',
      client_id: 'w1',
      token_use: 'access',
      email: 'billing@corp.example',
      scope: 'a/b'
    }
  ],
  ['Cognito, neither', 'unknown', 'w1', { iss: cognito, sub: uuid, client_id: 'w1', token_use: 'access' }],
  [
    'Cognito identity pool',
    'unknown',
    null,
    {
      iss: 'https://cognito-identity.amazonaws.com',
      sub: `us-east-1:${uuid}`,
      aud: `us-east-1:${uuid2}`,
      amr: ['authenticated', 'developer']
    }
  ],
  [
    'AWS, single sign-on role',
    'unknown',
    null,
    {
      iss: 'https://x.tokens.sts.global.api.aws',
      sub: 'arn:aws:iam::123456789012:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Admin_0123456789abcdef'
    }
  ],
  [
    'AWS, IAM user',
    'unknown',
    null,
    { iss: 'https://x.tokens.sts.global.api.aws', sub: 'arn:aws:iam::123456789012:user/jane' }
  ],
  [
    'AWS, assumed role in China',
    'machine',
    null,
    {
      iss: 'https://x.tokens.sts.global.api.aws',
      sub: 'arn:aws-cn:sts::123456789012:assumed-role/Job/i-0123'
    }
  ],

  [
    'Auth0, machine',
    'machine',
    'abc',
    { iss: auth0, sub: 'abc@clients', aud: 'api', azp: 'abc', gty: 'client-credentials' }
  ],
  [
    'Auth0, machine in an organization',
    'machine',
    'abc',
    {
      iss: auth0,
      sub: 'abc@clients',
      aud: 'api',
      azp: 'abc',
      gty: 'client-credentials',
      org_id: 'org_1',
      permissions: ['a']
    }
  ],
  [
    'Auth0, machine with an e-mail from an action',
    'machine',
    'abc',
    {
      iss: auth0,
      sub: 'abc@clients',
      azp: 'abc',
      gty: 'client-credentials',
      email: 'x@corp.example',
      'https://corp/email': 'x@corp.example'
    }
  ],
  [
    'Auth0, custom domain, machine',
    'machine',
    'abc',
    { iss: 'https://login.corp.example/', sub: 'abc@clients', azp: 'abc', gty: 'client-credentials' }
  ],
  [
    'Auth0, custom domain, person',
    'human',
    'web',
    {
      iss: 'https://login.corp.example/',
      sub: 'google-oauth2|103547991597142817347',
      azp: 'web',
      scope: 'read'
    }
  ],
  [
    'Auth0, enterprise connection',
    'human',
    'web',
    { iss: auth0, sub: 'samlp|corp|jane@corp.example', azp: 'web', scope: 'read' }
  ],
  [
    'Auth0, refresh token grant',
    'human',
    'web',
    { iss: auth0, sub: 'auth0|1', azp: 'web', gty: 'refresh_token' }
  ],
  [
    'Auth0, ID token',
    'human',
    'web',
    { iss: auth0, sub: 'auth0|1', aud: 'web', sid: 's', nonce: 'n', name: 'Jane', email: 'jane@corp.example' }
  ],
  [
    'Auth0, device flow',
    'human',
    'tv',
    { iss: auth0, sub: 'auth0|1', azp: 'tv', gty: 'urn:ietf:params:oauth:grant-type:device_code' }
  ],

  [
    'Okta, machine',
    'machine',
    '0oa1client00000000h7',
    { iss: okta, ver: 1, jti: 'AT.x', cid: '0oa1client00000000h7', sub: '0oa1client00000000h7', scp: ['a'] }
  ],
  [
    'Okta, custom domain, machine',
    'machine',
    '0oa1client00000000h7',
    {
      iss: 'https://id.corp.example/oauth2/default',
      ver: 1,
      jti: 'AT.x',
      cid: '0oa1client00000000h7',
      sub: '0oa1client00000000h7',
      scp: ['a'],
      auth_time: 1
    }
  ],
  [
    'Okta, ID token',
    'human',
    '0oa1client00000000h7',
    {
      iss: okta,
      ver: 1,
      jti: 'ID.x',
      aud: '0oa1client00000000h7',
      sub: '00u1user0000000000h7',
      amr: ['pwd'],
      idp: '00o1',
      at_hash: 'x',
      nonce: 'n',
      name: 'Jane',
      preferred_username: 'jane@corp.example'
    }
  ],
  [
    'Okta, one service exchanged another’s token',
    'machine',
    '0oa2client00000000h7',
    { iss: okta, ver: 1, jti: 'AT.x', cid: '0oa2client00000000h7', sub: '0oa1client00000000h7', scp: ['a'] }
  ],
  [
    'Okta, subject renamed',
    'unknown',
    '0oa2client00000000h7',
    { iss: okta, ver: 1, jti: 'AT.x', cid: '0oa2client00000000h7', sub: 'orders', scp: ['a'] }
  ],

  [
    'Entra v1, app-only with idtyp',
    'machine',
    'app',
    {
      iss: v1,
      appid: 'app',
      appidacr: '2',
      oid: 'o1',
      sub: 'o1',
      tid: tenant,
      uti: 'u',
      ver: '1.0',
      idtyp: 'app',
      roles: ['a']
    }
  ],
  [
    'Entra v2, managed identity',
    'machine',
    'app',
    {
      iss: v2,
      azp: 'app',
      azpacr: '2',
      oid: 'o1',
      sub: 'o1',
      tid: tenant,
      uti: 'u',
      ver: '2.0',
      xms_mirid: '/subscriptions/x'
    }
  ],
  [
    'Entra v2, on behalf of',
    'human',
    'app',
    {
      iss: v2,
      azp: 'app',
      azpacr: '1',
      oid: 'o2',
      sub: 'pairwise',
      tid: tenant,
      uti: 'u',
      ver: '2.0',
      scp: 'access_as_user',
      roles: ['Admin']
    }
  ],
  [
    'Entra v2, ID token',
    'human',
    'app',
    {
      iss: v2,
      aud: 'app',
      oid: 'o2',
      sub: 'pairwise',
      tid: tenant,
      uti: 'u',
      ver: '2.0',
      nonce: 'n',
      name: 'Jane',
      preferred_username: 'jane@corp.example'
    }
  ],
  [
    'Entra B2C, person: sub is the oid',
    'human',
    'app',
    {
      iss: `https://corp.b2clogin.com/${tenant}/v2.0/`,
      sub: 'o2',
      oid: 'o2',
      tfp: 'B2C_1_signin',
      scp: 'read',
      azp: 'app',
      ver: '1.0',
      emails: ['jane@corp.example'],
      idp: 'LinkedIn'
    }
  ],
  [
    'Entra B2C, ID token',
    'human',
    'app',
    {
      iss: `https://corp.b2clogin.com/${tenant}/v2.0/`,
      sub: 'o2',
      oid: 'o2',
      tfp: 'B2C_1_signin',
      aud: 'app',
      ver: '1.0',
      name: 'Jane',
      emails: ['jane@corp.example']
    }
  ],
  [
    'Entra B2C, own domain, person',
    'human',
    'app',
    {
      iss: `https://login.corp.example/${tenant}/v2.0/`,
      sub: 'o2',
      oid: 'o2',
      tfp: 'B2C_1A_signin',
      scp: 'read',
      azp: 'app'
    }
  ],
  [
    'Entra, ID token without nonce',
    'human',
    'app',
    { iss: v2, aud: 'app', oid: 'o2', sub: 'pairwise', tid: tenant, uti: 'u', ver: '2.0', name: 'Jane' }
  ],
  [
    'Auth0, ID token without nonce',
    'human',
    'web',
    { iss: auth0, sub: 'auth0|1', aud: 'web', name: 'Jane', picture: 'https://x', email_verified: true }
  ],
  [
    'Okta, ID token without nonce',
    'human',
    '0oa1client00000000h7',
    { iss: okta, ver: 1, jti: 'ID.x', aud: '0oa1client00000000h7', sub: '00u1user0000000000h7' }
  ],
  [
    'Apple',
    'human',
    'com.corp.app',
    {
      iss: 'https://appleid.apple.com',
      aud: 'com.corp.app',
      sub: '001.x',
      email: 'x@privaterelay.appleid.com',
      email_verified: true,
      auth_time: 1
    }
  ],
  [
    'Entra B2C, client credentials',
    'machine',
    'app',
    {
      iss: `https://corp.b2clogin.com/${tenant}/v2.0/`,
      sub: 'o1',
      oid: 'o1',
      azp: 'app',
      azpacr: '1',
      roles: ['app.read'],
      tid: tenant,
      uti: 'u',
      ver: '2.0'
    }
  ],
  [
    'Entra External ID, person',
    'human',
    'app',
    {
      iss: `https://${tenant}.ciamlogin.com/${tenant}/v2.0`,
      sub: 'p',
      oid: 'o2',
      azp: 'app',
      scp: 'Orders.Read',
      ver: '2.0'
    }
  ],
  [
    'Entra US government, app-only',
    'machine',
    'app',
    {
      iss: `https://login.microsoftonline.us/${tenant}/v2.0`,
      sub: 'o1',
      oid: 'o1',
      azp: 'app',
      roles: ['a'],
      ver: '2.0'
    }
  ],
  [
    'Entra, agent’s user account',
    'unknown',
    'app',
    {
      iss: v2,
      azp: 'app',
      oid: 'o3',
      sub: 'p',
      tid: tenant,
      uti: 'u',
      ver: '2.0',
      idtyp: 'user',
      scp: 'Mail.Read',
      xms_sub_fct: '1 13'
    }
  ],

  [
    'Keycloak >= 24, machine',
    'machine',
    'worker',
    {
      iss: keycloak,
      sub: uuid,
      typ: 'Bearer',
      azp: 'worker',
      scope: 'email profile',
      clientHost: '10.0.0.1',
      clientAddress: '10.0.0.1',
      client_id: 'worker',
      preferred_username: 'service-account-worker'
    }
  ],
  [
    'Keycloak, machine with a session for its refresh token',
    'machine',
    'worker',
    {
      iss: keycloak,
      jti: 'onrtcc:x',
      sub: uuid,
      typ: 'Bearer',
      azp: 'worker',
      sid: 's',
      clientHost: '10.0.0.1',
      clientAddress: '10.0.0.1',
      client_id: 'worker',
      preferred_username: 'service-account-worker'
    }
  ],
  [
    'Keycloak 15, machine with session_state',
    'machine',
    'worker',
    {
      iss: 'https://id.corp.example/auth/realms/corp',
      sub: uuid,
      typ: 'Bearer',
      azp: 'worker',
      session_state: uuid2,
      clientId: 'worker',
      clientHost: '10.0.0.1',
      clientAddress: '10.0.0.1',
      preferred_username: 'service-account-worker'
    }
  ],
  [
    'Keycloak, machine without the mappers',
    'machine',
    'Worker',
    { iss: keycloak, sub: uuid, typ: 'Bearer', azp: 'Worker', preferred_username: 'service-account-worker' }
  ],
  [
    'Keycloak, person who registered such a name',
    'human',
    'web',
    {
      iss: keycloak,
      jti: 'onrtac:x',
      sub: uuid,
      typ: 'Bearer',
      azp: 'web',
      sid: 's',
      auth_time: 1,
      preferred_username: 'service-account-worker',
      email: 'eve@corp.example'
    }
  ],
  [
    'Keycloak, person who registered the name of this client',
    'human',
    'web',
    {
      iss: keycloak,
      jti: 'onrtac:x',
      sub: uuid,
      typ: 'Bearer',
      azp: 'web',
      sid: 's',
      auth_time: 1,
      preferred_username: 'service-account-web',
      email: 'eve@corp.example'
    }
  ],
  [
    'Keycloak, offline token’s access token',
    'human',
    'web',
    {
      iss: keycloak,
      jti: 'ofrtrt:x',
      sub: uuid,
      typ: 'Bearer',
      azp: 'web',
      sid: 's',
      scope: 'openid offline_access'
    }
  ],
  [
    'Keycloak, refresh token',
    'human',
    'web',
    { iss: keycloak, sub: uuid, aud: keycloak, typ: 'Refresh', azp: 'web', sid: 's' }
  ],
  [
    'Keycloak, logout token',
    'human',
    'web',
    {
      iss: keycloak,
      sub: uuid,
      aud: 'web',
      typ: 'Logout',
      sid: 's',
      events: { 'http://schemas.openid.net/event/backchannel-logout': {} }
    },
    { typ: 'logout+jwt' }
  ],
  [
    'Keycloak, exchanged service account',
    'machine',
    'gateway',
    {
      iss: keycloak,
      jti: 'trrtte:x',
      sub: uuid,
      typ: 'Bearer',
      azp: 'gateway',
      preferred_username: 'service-account-worker'
    }
  ],
  [
    'Keycloak, nothing to go by',
    'unknown',
    'web',
    { iss: keycloak, sub: uuid, typ: 'Bearer', azp: 'web', scope: 'openid' }
  ],

  [
    'Google, service account’s ID token',
    'machine',
    '113774264463038321964',
    {
      iss: google,
      aud: 'https://api',
      azp: '113774264463038321964',
      sub: '113774264463038321964',
      email: 'sa@proj.iam.gserviceaccount.com',
      email_verified: true
    }
  ],
  [
    'Google, metadata server',
    'machine',
    '1137742',
    {
      iss: google,
      aud: 'https://api',
      azp: '1137742',
      sub: '1137742',
      google: { compute_engine: { instance_id: '1' } }
    }
  ],
  [
    'Google, developer service account',
    'machine',
    null,
    {
      iss: 'https://cloud.google.com/iap',
      sub: 'accounts.google.com:1',
      email: '1234-compute@developer.gserviceaccount.com'
    }
  ],
  [
    'Google, person’s ID token',
    'human',
    '1.apps.googleusercontent.com',
    {
      iss: google,
      azp: '1.apps.googleusercontent.com',
      aud: '2.apps.googleusercontent.com',
      sub: '110169',
      email: 'jane@gmail.com'
    }
  ],
  [
    'Google, person without e-mail',
    'human',
    '1.apps.googleusercontent.com',
    {
      iss: 'accounts.google.com',
      azp: '1.apps.googleusercontent.com',
      aud: '1.apps.googleusercontent.com',
      sub: '110169'
    }
  ],
  [
    'Google, person through the proxy',
    'human',
    null,
    {
      iss: 'https://cloud.google.com/iap',
      aud: '/projects/1',
      sub: 'accounts.google.com:2',
      email: 'jane@corp.example',
      hd: 'corp.example'
    }
  ],
  [
    'Google, e-mail that only resembles a service account',
    'human',
    '1.apps.googleusercontent.com',
    {
      iss: google,
      azp: '1.apps.googleusercontent.com',
      aud: '1.apps.googleusercontent.com',
      sub: '3',
      email: 'x@evilgserviceaccount.com'
    }
  ],
  [
    'Google, service account for somebody',
    'unknown',
    null,
    {
      iss: 'sa@proj.iam.gserviceaccount.com',
      sub: 'jane@corp.example',
      aud: 'https://oauth2.googleapis.com/token'
    }
  ],
  ['Google Chat', 'machine', null, { iss: 'chat@system.gserviceaccount.com', aud: '1234567890' }],

  [
    'Firebase, Google sign-in',
    'human',
    null,
    {
      iss: 'https://securetoken.google.com/p',
      aud: 'p',
      sub: 'u',
      user_id: 'u',
      firebase: { identities: { 'google.com': ['1'] }, sign_in_provider: 'google.com' }
    }
  ],
  [
    'Firebase, anonymous',
    'human',
    null,
    {
      iss: 'https://securetoken.google.com/p',
      aud: 'p',
      sub: 'u',
      user_id: 'u',
      provider_id: 'anonymous',
      firebase: { identities: {}, sign_in_provider: 'anonymous' }
    }
  ],
  [
    'Firebase session cookie',
    'human',
    null,
    {
      iss: 'https://session.firebase.google.com/p',
      aud: 'p',
      sub: 'u',
      firebase: { identities: { phone: ['+1'] }, sign_in_provider: 'phone' }
    }
  ],
  [
    'Firebase App Check',
    'machine',
    null,
    { iss: 'https://firebaseappcheck.googleapis.com/123', sub: '1:123:web:abc', aud: ['projects/123'] }
  ],

  [
    'GitHub Actions, immutable subject',
    'machine',
    null,
    {
      iss: 'https://token.actions.githubusercontent.com',
      sub: 'repo:octo@123/repo@456:ref:refs/heads/main',
      actor: 'octocat',
      repository: 'octo/repo',
      aud: 'https://github.com/octo'
    }
  ],
  [
    'GitHub Enterprise Server',
    'machine',
    null,
    {
      iss: 'https://ghe.corp.example/_services/token',
      sub: 'repo:a/b:ref:refs/heads/main',
      repository: 'a/b',
      run_id: '1',
      workflow: 'ci',
      actor: 'jane'
    }
  ],
  [
    'GitLab, person’s ID token',
    'human',
    'app',
    {
      iss: 'https://gitlab.com',
      sub: '1',
      aud: 'app',
      sub_legacy: 'x',
      auth_time: 1,
      name: 'Jane',
      nickname: 'jane',
      preferred_username: 'jane',
      email: 'jane@corp.example',
      groups_direct: []
    }
  ],
  [
    'Bitbucket Pipelines',
    'machine',
    null,
    {
      iss: 'https://api.bitbucket.org/2.0/workspaces/w/pipelines-config/identity/oidc',
      sub: '{r}:{s}',
      repositoryUuid: '{r}',
      stepUuid: '{s}',
      pipelineUuid: '{p}',
      aud: 'ari:cloud:bitbucket::workspace/x'
    }
  ],
  [
    'Buildkite',
    'machine',
    null,
    {
      iss: 'https://agent.buildkite.com',
      sub: 'organization:acme:pipeline:web:ref:refs/heads/main:commit:x:step:build',
      organization_slug: 'acme',
      pipeline_slug: 'web',
      build_number: 1
    }
  ],
  [
    'Vercel',
    'machine',
    null,
    {
      iss: 'https://oidc.vercel.com/acme',
      sub: 'owner:acme:project:web:environment:production',
      scope: 'owner:acme:project:web:environment:production',
      user_id: 'x',
      owner: 'acme'
    }
  ],
  [
    'Azure DevOps',
    'machine',
    null,
    {
      iss: 'https://vstoken.dev.azure.com/x',
      sub: 'sc://acme/project/connection',
      aud: 'api://AzureADTokenExchange'
    }
  ],
  [
    'Terraform Enterprise',
    'machine',
    null,
    {
      iss: 'https://tfe.corp.example',
      sub: 'organization:o:project:p:workspace:w:run_phase:plan',
      terraform_run_id: 'run-1',
      terraform_workspace_id: 'ws-1'
    }
  ],
  [
    'CircleCI Server',
    'machine',
    null,
    {
      iss: 'https://circleci.corp.example/org/x',
      sub: 'org/x/project/y/user/z',
      'oidc.circleci.com/project-id': 'y'
    }
  ],

  [
    'Kubernetes, projected token',
    'machine',
    null,
    {
      iss: 'https://oidc.eks.eu-west-1.amazonaws.com/id/X',
      sub: 'system:serviceaccount:prod:orders',
      aud: ['api'],
      'kubernetes.io': { namespace: 'prod', pod: { name: 'x' } }
    }
  ],
  [
    'SPIFFE with an issuer',
    'machine',
    null,
    { iss: 'https://spire.corp.example', sub: 'spiffe://corp.example/db', aud: 'x' }
  ],
  [
    'WIMSE workload identity token',
    'machine',
    null,
    { iss: 'https://ca.corp.example', sub: 'wimse://corp.example/orders', cnf: { jwk: {} } },
    { typ: 'wit+jwt' }
  ],

  [
    'PingOne, machine',
    'machine',
    uuid,
    {
      iss: `https://auth.pingone.com/${uuid2}/as`,
      client_id: uuid,
      aud: ['api'],
      scope: 'a',
      env: uuid2,
      org: 'o',
      'p1.rid': 'r'
    }
  ],
  [
    'PingFederate, person',
    'human',
    'im_client',
    { iss: 'https://pf.corp.example', client_id: 'im_client', scope: ['openid'], Username: 'jane' }
  ],
  [
    'PingFederate, machine',
    'machine',
    'im_client',
    { iss: 'https://pf.corp.example', client_id: 'im_client', scope: ['read'] }
  ],
  [
    'ForgeRock, agent as subject',
    'machine',
    'w',
    {
      ...forgeRock,
      sub: '(age!w)',
      subname: 'w',
      grant_type: 'client_credentials',
      client_id: 'w',
      auth_time: 1
    }
  ],
  [
    'ForgeRock < 7.1, person',
    'human',
    'web',
    { ...forgeRock, sub: 'demo', grant_type: 'password', client_id: 'web', auth_time: 1 }
  ],
  [
    'ForgeRock, exchanged person',
    'human',
    'gw',
    {
      ...forgeRock,
      sub: '(usr!jane)',
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      client_id: 'gw'
    }
  ],
  [
    'ForgeRock, refreshed',
    'human',
    'web',
    { ...forgeRock, sub: 'demo', grant_type: 'refresh_token', client_id: 'web', auth_time: 1 }
  ],
  [
    'ForgeRock, auth_time only',
    'unknown',
    'web',
    { ...forgeRock, sub: 'demo', client_id: 'web', auth_time: 1 }
  ],

  [
    'Authentik, person',
    'human',
    'web',
    {
      iss: 'https://id.corp.example/application/o/web/',
      sub: 'h',
      azp: 'web',
      auth_time: 1,
      acr: 'goauthentik.io/providers/oauth2/default',
      amr: ['pwd'],
      sid: 's',
      email: 'jane@corp.example',
      name: 'Jane Doe',
      preferred_username: 'jane',
      uid: 'u'
    }
  ],
  [
    'Authentik, person by password grant',
    'human',
    'web',
    {
      iss: 'https://id.corp.example/application/o/web/',
      sub: 'h',
      azp: 'web',
      auth_time: 1,
      email: 'jane@corp.example',
      name: 'Jane Doe',
      preferred_username: 'jane',
      uid: 'u'
    }
  ],
  [
    'Authentik, service account with an e-mail',
    'unknown',
    'web',
    {
      iss: 'https://id.corp.example/application/o/web/',
      sub: 'h',
      azp: 'web',
      auth_time: 1,
      email: 'bot@corp.example',
      name: 'orders-bot',
      preferred_username: 'orders-bot',
      uid: 'u'
    }
  ],
  [
    'Zitadel, person',
    'human',
    '231402830936789415',
    {
      iss: 'https://x.zitadel.cloud',
      sub: '100507859606888466',
      aud: ['231402830936789415', '170000000000000001'],
      client_id: '231402830936789415',
      jti: 'V2_1-at_2'
    }
  ],
  [
    'Zitadel, own domain, service user',
    'unknown',
    'worker',
    {
      iss: 'https://id.corp.example',
      sub: '100507859606888466',
      aud: ['1', 'worker'],
      client_id: 'worker',
      jti: 'V2_28437226-at_28437226'
    }
  ],
  [
    'Hydra, person',
    'human',
    uuid,
    {
      iss: 'https://x.projects.oryapis.com',
      client_id: uuid,
      sub: uuid2,
      scp: ['openid', 'offline_access'],
      ext: {}
    }
  ],
  [
    'Hydra, own domain, assertion',
    'unknown',
    uuid,
    { iss: 'https://hydra.corp.example', client_id: uuid, sub: 'svc', scp: ['read'], ext: {} }
  ],
  [
    'Logto, person',
    'human',
    'app',
    { iss: 'https://t.logto.app/oidc', sub: 'u12characters', client_id: 'app', scope: 'read' },
    at
  ],
  [
    'Logto, machine',
    'machine',
    'app',
    { iss: 'https://t.logto.app/oidc', sub: 'app', client_id: 'app', scope: 'all' },
    at
  ],
  [
    'Duende, person',
    'human',
    'web',
    {
      iss: 'https://id.corp.example',
      sub: '123',
      client_id: 'web',
      auth_time: 1,
      idp: 'local',
      amr: ['pwd'],
      scope: ['openid', 'a']
    },
    at
  ],
  [
    'Duende, client with a subject claim of its own',
    'machine',
    'worker',
    { iss: 'https://id.corp.example', sub: 'worker', client_id: 'worker', scope: ['a'] },
    at
  ],
  [
    'FusionAuth, entity',
    'machine',
    null,
    {
      iss: 'https://corp.fusionauth.io',
      sub: uuid,
      aud: uuid2,
      permissions: { [uuid2]: ['read'] },
      tid: uuid
    },
    { gty: ['client_credentials'] }
  ],
  [
    'FusionAuth, refreshed',
    'human',
    'app',
    {
      iss: 'https://auth.corp.example',
      sub: uuid,
      aud: 'app',
      applicationId: 'app',
      authenticationType: 'REFRESH_TOKEN',
      roles: []
    },
    { gty: ['authorization_code', 'refresh_token'] }
  ],
  [
    'UAA, machine',
    'machine',
    'sb-x',
    {
      iss: 'https://x.authentication.eu10.hana.ondemand.com/oauth/token',
      sub: 'sb-x',
      client_id: 'sb-x',
      cid: 'sb-x',
      azp: 'sb-x',
      grant_type: 'client_credentials',
      zid: 'z',
      rev_sig: 'r',
      authorities: ['uaa.resource']
    }
  ],
  [
    'UAA, person passed on by assertion',
    'human',
    'sb-x',
    {
      iss: 'https://x.authentication.eu10.hana.ondemand.com/oauth/token',
      sub: uuid,
      client_id: 'sb-x',
      cid: 'sb-x',
      grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
      user_id: uuid,
      user_name: 'jane',
      origin: 'idp',
      zid: 'z'
    }
  ],
  [
    'UAA, own domain, machine',
    'machine',
    'cf-client',
    {
      iss: 'https://uaa.corp.example/oauth/token',
      sub: 'cf-client',
      client_id: 'cf-client',
      cid: 'cf-client',
      grant_type: 'client_credentials',
      zid: 'uaa',
      rev_sig: 'r'
    }
  ],
  [
    'SAP IAS, person',
    'human',
    'app',
    {
      iss: 'https://x.accounts.ondemand.com',
      sub: 'P1',
      azp: 'app',
      aud: 'app',
      user_uuid: uuid,
      email: 'jane@corp.example'
    }
  ],
  [
    'WSO2, person',
    'human',
    'w',
    {
      iss: 'https://apim.corp.example/oauth2/token',
      sub: 'jane',
      aut: 'APPLICATION_USER',
      azp: 'w',
      aud: 'w'
    }
  ],
  [
    'WSO2, machine named after its owner',
    'machine',
    'w',
    {
      iss: 'https://apim.corp.example/oauth2/token',
      sub: 'admin@carbon.super',
      aut: 'APPLICATION',
      azp: 'w',
      aud: 'w',
      scope: 'am_application_scope default'
    }
  ],
  [
    'IBM, service id with a name',
    'machine',
    'default',
    {
      ...ibm,
      iam_id: 'iam-ServiceId-1',
      sub: 'ServiceId-1',
      sub_type: 'ServiceId',
      name: 'orders',
      grant_type: 'urn:ibm:params:oauth:grant-type:apikey'
    }
  ],
  [
    'IBM, profile taken on by a person',
    'human',
    'default',
    {
      ...ibm,
      iam_id: 'iam-Profile-1',
      sub: 'Profile-1',
      sub_type: 'Profile',
      authn: { iam_id: 'IBMid-1', sub: 'jane@corp.example' }
    }
  ],
  [
    'IBM, profile taken on by a workload',
    'machine',
    'default',
    {
      ...ibm,
      iam_id: 'iam-Profile-1',
      sub: 'Profile-1',
      sub_type: 'Profile',
      authn: { iam_id: 'crn-crn:v1:x', sub: 'crn:v1:x', sub_type: 'CRN' }
    }
  ],
  [
    'IBM, profile taken on by nobody known',
    'unknown',
    'default',
    { ...ibm, iam_id: 'iam-Profile-1', sub: 'Profile-1', sub_type: 'Profile' }
  ],
  [
    'Oracle, person',
    'human',
    'app',
    {
      iss: 'https://identity.oraclecloud.com/',
      sub: 'jane',
      sub_type: 'user',
      client_id: 'app',
      'user.tenant.name': 'x',
      user_displayname: 'Jane'
    }
  ],
  [
    'Salesforce, client that runs as a user',
    'unknown',
    '3MVG',
    { iss: 'https://x.my.salesforce.com', sub: 'uid:005X', scp: 'api', client_id: '3MVG', mty: 'oauth' },
    { tty: 'sfdc-core-token' }
  ],
  [
    'Salesforce, ID token',
    'human',
    '3MVG',
    {
      iss: 'https://login.salesforce.com',
      sub: 'https://login.salesforce.com/id/00D/005',
      aud: '3MVG',
      at_hash: 'x'
    }
  ],

  [
    'Clerk, session v2',
    'human',
    null,
    {
      iss: 'https://x.clerk.accounts.dev',
      sub: 'user_1',
      sid: 'sess_1',
      azp: 'https://app.corp.example',
      v: 2,
      sts: 'active'
    }
  ],
  [
    'Clerk, machine',
    'machine',
    'mch_1',
    { iss: 'https://clerk.corp.example', sub: 'mch_1', aud: ['mch_2'], jti: 'mt_1', scopes: 'mch_2' }
  ],
  [
    'WorkOS, session',
    'human',
    null,
    {
      iss: 'https://api.workos.com/user_management/client_1',
      sub: 'user_1',
      sid: 'session_1',
      org_id: 'org_1',
      role: 'member'
    }
  ],
  [
    'WorkOS, machine',
    'machine',
    'client_1',
    { iss: 'https://x.authkit.app', sub: 'client_1', client_id: 'client_1', org_id: 'org_1', scope: 'a' }
  ],
  [
    'Kinde, machine',
    'machine',
    'abc',
    { iss: 'https://x.kinde.com', aud: ['api'], azp: 'abc', gty: ['client_credentials'], v: '2' }
  ],
  [
    'Stytch, session',
    'human',
    null,
    {
      iss: 'stytch.com/project-live-x',
      sub: 'user-live-x',
      aud: ['project-live-x'],
      'https://stytch.com/session': { id: 'session-live-x' }
    }
  ],
  [
    'Descope, person',
    'human',
    null,
    { iss: 'https://api.descope.com/v1/apps/P2', sub: 'U2', drn: 'DS', amr: ['email'] }
  ],
  [
    'Cloudflare Access, person',
    'human',
    null,
    {
      iss: 'https://x.cloudflareaccess.com',
      type: 'app',
      aud: ['a'],
      sub: uuid,
      email: 'jane@corp.example',
      identity_nonce: 'n',
      country: 'NL'
    }
  ],
  ['Supabase, anonymous key', 'machine', null, { iss: 'supabase', ref: 'x', role: 'anon' }],
  [
    'Supabase, anonymous person',
    'human',
    null,
    {
      iss: 'https://x.supabase.co/auth/v1',
      sub: uuid,
      role: 'authenticated',
      session_id: uuid2,
      is_anonymous: true,
      email: '',
      amr: [{ method: 'anonymous' }]
    }
  ],
  [
    'context forge, session',
    'human',
    null,
    {
      iss: 'mcpgateway',
      sub: 'jane@corp.example',
      token_use: 'session',
      user: { email: 'jane@corp.example', auth_provider: 'local' }
    }
  ],

  [
    'ADFS, machine',
    'machine',
    'app',
    {
      iss: 'http://adfs.corp.example/adfs/services/trust',
      aud: 'microsoft:identityserver:api',
      appid: 'app',
      apptype: 'Confidential',
      authmethod: 'x',
      auth_time: 1,
      ver: '1.0'
    }
  ],
  [
    'ADFS, person',
    'human',
    'app',
    {
      iss: 'http://adfs.corp.example/adfs/services/trust',
      appid: 'app',
      apptype: 'Public',
      upn: 'jane@corp.example',
      sub: 'x',
      scp: 'openid',
      ver: '1.0'
    }
  ],
  [
    'OAuth profile, person',
    'human',
    's6',
    { iss: 'https://as.corp.example/', sub: '5ba552d67', client_id: 's6', scope: 'openid profile reademail' },
    at
  ],
  [
    'OAuth profile, machine',
    'machine',
    's6',
    { iss: 'https://as.corp.example/', sub: 's6', client_id: 's6', scope: 'read' },
    at
  ],
  [
    'OAuth profile, auth_time only',
    'unknown',
    's6',
    { iss: 'https://as.corp.example/', sub: 'x1', client_id: 's6', auth_time: 1 },
    at
  ],
  [
    'Spring, machine',
    'machine',
    'messaging',
    { iss: 'http://127.0.0.1:9000', sub: 'messaging', aud: 'messaging', scope: ['read'] }
  ],
  [
    'Spring, person',
    'human',
    null,
    { iss: 'http://127.0.0.1:9000', sub: 'user1', aud: 'messaging', scope: ['openid'] }
  ],
  [
    'OpenID Connect, ID token',
    'human',
    's6',
    { iss: 'https://op.corp.example', sub: '24400320', aud: 's6', nonce: 'n', auth_time: 1, acr: 'urn:x' }
  ],
  [
    'back-channel logout',
    'human',
    's6',
    {
      iss: 'https://op.corp.example',
      sub: '248289761001',
      aud: 's6',
      events: { 'http://schemas.openid.net/event/backchannel-logout': {} }
    }
  ],
  [
    'delegation',
    'human',
    null,
    { iss: 'https://as.corp.example', sub: 'user@corp.example', act: { sub: 'admin@corp.example' } }
  ],
  [
    'impersonation',
    'human',
    null,
    { iss: 'https://as.corp.example', sub: 'bdc@corp.example', scp: ['orders'] }
  ],
  [
    'assertion about a person',
    'human',
    null,
    { iss: 'https://idp.corp.example', sub: 'mailto:mike@corp.example', aud: 'https://rp' }
  ],
  [
    'identity assertion grant',
    'human',
    'f53f',
    { iss: 'https://idp.corp.example', sub: 'U019488227', client_id: 'f53f', scope: 'chat.read' },
    { typ: 'oauth-id-jag+jwt' }
  ],
  ['mailbox of a robot', 'unknown', null, { iss: 'https://as.corp.example', sub: 'svc-orders@corp.example' }],
  [
    'mailbox beside a client',
    'unknown',
    'w',
    { iss: 'https://as.corp.example', sub: 'orders@corp.example', client_id: 'w' }
  ],
  [
    'introspection, machine without sub',
    'machine',
    'w',
    { active: true, client_id: 'w', scope: 'read', token_type: 'Bearer' }
  ],
  [
    'introspection, user name of a service account',
    'machine',
    'w',
    {
      active: true,
      client_id: 'w',
      username: 'service-account-w',
      sub: uuid,
      iss: keycloak,
      clientHost: 'h',
      clientAddress: 'h'
    }
  ],
  [
    'a client that took a person’s sub, in a session',
    'unknown',
    'jane',
    { iss: 'https://as.corp.example', sub: 'jane', client_id: 'jane', sid: 's', nonce: 'n' }
  ],
  [
    'grants of both',
    'unknown',
    'w',
    {
      iss: 'https://as.corp.example',
      sub: 'x',
      client_id: 'w',
      grant_type: 'client_credentials',
      gty: 'authorization_code'
    }
  ],
  [
    'statements of both',
    'unknown',
    'w',
    {
      iss: 'https://as.corp.example',
      sub: 'x',
      client_id: 'w',
      idtyp: 'user',
      grant_type: 'client_credentials'
    }
  ],
  [
    'in-house, person',
    'human',
    'web',
    { iss: 'https://as.corp.example', sub: 'u1', client_id: 'web', email: 'jane@corp.example', name: 'Jane' }
  ],
  [
    'in-house, robot with an e-mail',
    'unknown',
    'web',
    {
      iss: 'https://as.corp.example',
      sub: 'u1',
      client_id: 'web',
      email: 'orders-bot@corp.example',
      name: 'Orders'
    }
  ],
  [
    'in-house, name only',
    'unknown',
    'web',
    { iss: 'https://as.corp.example', sub: 'u1', client_id: 'web', name: 'Jane Doe' }
  ],
  [
    'an API token owned by a person',
    'machine',
    null,
    { iss: 'https://as.corp.example', sub: 'jane@corp.example', token_use: 'api', email: 'jane@corp.example' }
  ],
  [
    'Cognito, issuer of a replicated pool, machine',
    'machine',
    'w1',
    {
      iss: 'https://issuer-cognito-idp.us-east-1.amazonaws.com/us-east-1_Pool',
      sub: 'w1',
      client_id: 'w1',
      token_use: 'access',
      scope: 'a/b',
      auth_time: 1
    }
  ],
  [
    'Cognito, issuer of a replicated pool, person',
    'human',
    'web',
    {
      iss: 'https://issuer-cognito-idp.us-east-1.amazonaws.com/us-east-1_Pool',
      sub: uuid,
      client_id: 'web',
      token_use: 'access',
      username: uuid,
      auth_time: 1
    }
  ],
  [
    'AWS, a role that a person signed in to through SAML',
    'unknown',
    null,
    {
      iss: 'https://x.tokens.sts.global.api.aws',
      sub: 'arn:aws:sts::123456789012:assumed-role/Developer/jane@corp.example'
    }
  ],
  [
    'AWS, the root user',
    'unknown',
    null,
    { iss: 'https://x.tokens.sts.global.api.aws', sub: 'arn:aws:iam::123456789012:root' }
  ],
  [
    'IBM, a trusted profile behind another issuer’s name',
    'unknown',
    'default',
    {
      iss: 'https://login.corp.example',
      sub: 'Profile-1',
      sub_type: 'Profile',
      client_id: 'default',
      given_name: 'Jane',
      family_name: 'Doe',
      email: 'jane@corp.example'
    }
  ],
  [
    'IBM, a trusted profile whose kind is not said',
    'unknown',
    null,
    { sub: 'iam-Profile-1', given_name: 'Jane', family_name: 'Doe', email: 'jane@corp.example' }
  ],
  [
    'IBM, a trusted profile that a cluster took on, behind another name',
    'machine',
    null,
    {
      iss: 'https://login.corp.example',
      sub: 'Profile-1',
      sub_type: 'Profile',
      authn: { iam_id: 'crn-crn:v1', sub_type: 'CRN' }
    }
  ],
  [
    'IBM, a service id behind another name',
    'machine',
    null,
    { iss: 'https://login.corp.example', sub: 'ServiceId-1', name: 'Nightly', email: 'jane@corp.example' }
  ],
  [
    'Apple without an e-mail',
    'human',
    null,
    {
      iss: 'https://appleid.apple.com',
      aud: 'com.corp.app',
      sub: '001234.abc.1234',
      auth_time: 1,
      nonce_supported: true
    }
  ],
  [
    'LinkedIn',
    'human',
    null,
    { iss: 'https://www.linkedin.com/oauth', aud: '86abc', sub: 'x9', name: 'Jane' }
  ],
  [
    'LINE without a profile',
    'human',
    null,
    { iss: 'https://access.line.me', aud: '1234', sub: 'U1234', amr: ['pwd'] }
  ],
  [
    'Nomad workload',
    'machine',
    null,
    {
      sub: 'global:default:orders:group:task:web',
      aud: 'vault.io',
      nomad_namespace: 'default',
      nomad_job_id: 'orders',
      nomad_allocation_id: uuid
    }
  ],
  [
    'Casdoor, machine',
    'machine',
    'c1',
    {
      iss: 'https://door.corp.example',
      owner: 'admin',
      name: 'orders',
      type: 'application',
      tokenType: 'access-token',
      sub: 'admin/orders',
      azp: 'c1'
    }
  ],
  [
    'Casdoor, person',
    'human',
    'c1',
    {
      iss: 'https://door.corp.example',
      owner: 'corp',
      name: 'jane',
      type: 'normal-user',
      tokenType: 'access-token',
      sub: uuid,
      azp: 'c1'
    }
  ],
  [
    'Frontegg, a tenant’s API token',
    'machine',
    null,
    {
      iss: 'https://corp.frontegg.com',
      sub: uuid,
      tenantId: uuid2,
      type: 'tenantApiToken',
      createdByUserId: uuid2
    }
  ],
  [
    'Frontegg, a person’s API token',
    'unknown',
    null,
    {
      iss: 'https://id.corp.example',
      sub: uuid,
      tenantId: uuid2,
      type: 'userApiToken',
      email: 'jane@corp.example'
    }
  ],
  [
    'Frontegg, person',
    'human',
    null,
    { iss: 'https://corp.frontegg.com', sub: uuid, tenantId: uuid2, type: 'userToken', name: 'Jane' }
  ],
  [
    'Google, ID token of a service account without its address, for an OAuth client',
    'machine',
    '112233445566778899001',
    {
      iss: google,
      aud: '3.apps.googleusercontent.com',
      azp: '112233445566778899001',
      sub: '112233445566778899001'
    }
  ],
  [
    'Google, an address that only looks like a service account’s',
    'human',
    '3.apps.googleusercontent.com',
    {
      iss: google,
      aud: '3.apps.googleusercontent.com',
      azp: '3.apps.googleusercontent.com',
      sub: '1',
      email: 'x@gserviceaccount.com.corp.example'
    }
  ],
  [
    'Databricks, service principal',
    'machine',
    uuid,
    { iss: 'https://x.cloud.databricks.com/oidc', aud: 'x', client_id: uuid, sub: uuid, scope: 'all-apis' }
  ],
  [
    'OpenIddict, machine',
    'machine',
    'job',
    { iss: 'https://id.corp.example/', sub: 'job', client_id: 'job', oi_prst: 'job', oi_tkn_id: uuid },
    at
  ],
  [
    'Vault identity token',
    'unknown',
    null,
    { iss: 'https://vault.corp.example:8200/v1/identity/oidc', sub: uuid, aud: 'x', namespace: 'root' }
  ],
  ['Snowflake key pair', 'unknown', null, { iss: 'ACC.USER.SHA256:abc=', sub: 'ACC.USER' }],
  [
    'IBM App ID, machine',
    'machine',
    'c1',
    {
      iss: 'https://eu-de.appid.cloud.ibm.com/oauth/v4/x',
      aud: ['c1'],
      sub: 'c1',
      amr: ['appid_client_credentials'],
      scope: 'appid_default'
    }
  ],
  [
    'IBM App ID, person',
    'human',
    null,
    {
      iss: 'https://eu-de.appid.cloud.ibm.com/oauth/v4/x',
      aud: ['c1'],
      sub: uuid,
      amr: ['cloud_directory'],
      scope: 'openid appid_default'
    }
  ],
  [
    'one of several audiences is no client of its own',
    'unknown',
    null,
    { iss: 'https://as.corp.example', aud: ['x', 'orders'], sub: 'x' }
  ],
  [
    'Google, a service account that speaks for a person',
    'unknown',
    null,
    {
      iss: 'x@p.iam.gserviceaccount.com',
      sub: 'jane@corp.example',
      scope: 'a',
      aud: 'https://oauth2.googleapis.com/token'
    }
  ],
  [
    'Auth0, a person whose name ends like a client',
    'human',
    'abc',
    { iss: auth0, sub: 'auth0|x@clients', azp: 'abc' }
  ],
  ['AWS, federated user', 'unknown', null, { sub: 'arn:aws:sts::123456789012:federated-user/jane' }],
  [
    'a machine’s token on behalf of a person is the machine’s',
    'machine',
    'cc',
    {
      iss: 'https://as.corp.example',
      sub: 'cc',
      client_id: 'cc',
      gty: 'client_credentials',
      act: { sub: 'jane' }
    }
  ],
  [
    'Okta, a machine with a blank user id',
    'machine',
    '0oa1client00000000h7',
    { iss: okta, ver: 1, jti: 'AT.x', cid: '0oa1client00000000h7', sub: '0oa1client00000000h7', uid: ' ' }
  ]
]
