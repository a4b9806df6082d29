/** Makes the demo's calls itself and prints what came back beside what should have. */
import { readFile } from 'node:fs/promises'
import { apiClient, type Demo, machine, person } from './demo-api.ts'

interface Call {
  what: string
  path: string
  token?: string
  expected: string
  /** Told from the answer: by default its status. */
  see?: (answer: Response) => Promise<string> | string
}

/** True when every call answered as it should. */
export async function selfTest(demo: Demo): Promise<boolean> {
  const machineToken = await token(demo, {
    grant_type: 'client_credentials',
    client_id: machine.id,
    client_secret: machine.secret
  })
  const humanToken = await token(demo, { grant_type: 'urn:ostiary:demo:password', ...person })
  const apiToken = await token(demo, {
    grant_type: 'client_credentials',
    client_id: apiClient.id,
    client_secret: apiClient.secret
  })
  const calls: Call[] = [
    { what: 'nobody', path: '/whoami', expected: '401 Bearer', see: challenge },
    {
      what: 'a tampered token',
      path: '/whoami',
      token: `${machineToken.slice(0, -8)}AAAAAAAA`,
      expected: '401 invalid_token',
      see: challenge
    },
    { what: 'a machine', path: '/whoami', token: machineToken, expected: '200 machine', see: kind },
    { what: 'a person', path: '/whoami', token: humanToken, expected: '200 human', see: kind },
    { what: 'a machine where machines go', path: '/machines', token: machineToken, expected: '200' },
    { what: 'a person where people go', path: '/people', token: humanToken, expected: '200' },
    { what: 'a machine where people go', path: '/people', token: machineToken, expected: '403' },
    {
      what: 'a scope that is not held',
      path: '/orders',
      token: humanToken,
      expected: '403 insufficient_scope',
      see: challenge
    },
    ...[3, 2, 1].map(left => ({
      what: 'within the limit of 3',
      path: '/limited',
      token: humanToken,
      expected: `200, ${left - 1} left`,
      see: remaining
    })),
    {
      what: 'over the limit of 3',
      path: '/limited',
      token: humanToken,
      expected: '429, again in 10 s',
      see: retryAfter
    },
    { what: 'an API token', path: '/whoami', token: apiToken, expected: '200' },
    { what: 'its usage', path: '/usage', token: apiToken, expected: '200, 1 request', see: usage },
    { what: 'a health check, skipped', path: '/health', expected: '200' },
    { what: 'metrics', path: '/metrics', expected: '200, refusals counted', see: metrics }
  ]
  let passed = 0
  for (const call of calls) {
    const seen = await see(demo, call)
    const right = seen.startsWith(call.expected)
    if (right) passed++
    console.log(
      `${right ? 'ok  ' : 'FAIL'} ${call.path.padEnd(10)} ${call.what.padEnd(28)} ${seen}${right ? '' : `  (expected ${call.expected})`}`
    )
  }
  const events = await auditEvents(demo)
  console.log(`\n${passed} of ${calls.length} as expected; ${events.length} audit events: ${tally(events)}`)
  return passed === calls.length && events.length > 0
}

async function see(demo: Demo, { path, token, see }: Call): Promise<string> {
  // The usage rows of the calls before are written in batches; so is the audit log.
  if (path === '/usage') await demo.flush()
  const answer = await fetch(
    demo.url + path,
    token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } }
  )
  return see === undefined ? String(answer.status) : `${answer.status}${await see(answer)}`
}

async function token(demo: Demo, grant: Record<string, string>): Promise<string> {
  const answer = await fetch(demo.issuer.tokenEndpoint, { method: 'POST', body: new URLSearchParams(grant) })
  const { access_token } = (await answer.json()) as { access_token?: string }
  if (access_token === undefined) throw new Error(`the demo's identity provider answered ${answer.status}`)
  return access_token
}

function challenge(answer: Response): string {
  const field = answer.headers.get('www-authenticate') ?? 'no challenge'
  return ` ${/error="([^"]+)"/.exec(field)?.[1] ?? field}`
}

async function kind(answer: Response): Promise<string> {
  const { kind, id } = (await answer.json()) as { kind: string; id: string }
  return ` ${kind} ${id}`
}

function remaining(answer: Response): string {
  return `, ${answer.headers.get('x-ratelimit-remaining')} left`
}

function retryAfter(answer: Response): string {
  return `, again in ${answer.headers.get('retry-after')} s`
}

async function usage(answer: Response): Promise<string> {
  const { total_requests } = (await answer.json()) as { total_requests: number }
  return `, ${total_requests} request${total_requests === 1 ? '' : 's'}`
}

async function metrics(answer: Response): Promise<string> {
  const text = await answer.text()
  return /http_server_request_duration_seconds_count\{[^}]*="401"/.test(text)
    ? ', refusals counted'
    : ', no refusals counted'
}

async function auditEvents(demo: Demo): Promise<{ event_type: string }[]> {
  await demo.flush()
  const text = await readFile(demo.auditPath, 'utf8')
  return text
    .split('\n')
    .filter(Boolean)
    .map(line => JSON.parse(line) as { event_type: string })
}

function tally(events: { event_type: string }[]): string {
  const counts = new Map<string, number>()
  for (const { event_type } of events) counts.set(event_type, (counts.get(event_type) ?? 0) + 1)
  return [...counts].map(([type, count]) => `${count} ${type}`).join(', ')
}
