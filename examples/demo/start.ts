/** `npm start`: the demo, with lines to paste; `npm start -- --self-test` makes the calls itself. */
import { parseArgs } from 'node:util'
import { apiClient, type Demo, machine, person, startDemo } from './demo-api.ts'
import { selfTest } from './self-test.ts'

const { values } = parseArgs({
  options: {
    'self-test': { type: 'boolean', default: false },
    port: { type: 'string', default: '3000' },
    'issuer-port': { type: 'string', default: '3001' }
  }
})

if (values['self-test']) {
  const demo = await startDemo({ api: 0, issuer: 0 })
  process.exitCode = (await selfTest(demo)) ? 0 : 1
  console.log(`Audit log: ${demo.auditPath}\nUsage rows: ${demo.usagePath}`)
  await demo.close()
} else {
  const demo = await startDemo({ api: port('port'), issuer: port('issuer-port') })
  console.log(welcome(demo))
  const stop = (): void => void demo.close().then(() => process.exit(0))
  process.once('SIGINT', stop)
  process.once('SIGTERM', stop)
}

function port(option: 'port' | 'issuer-port'): number {
  const number = Number(values[option])
  if (Number.isInteger(number) && number >= 0 && number < 65_536) return number
  throw new TypeError(`--${option} must be a port from 0 to 65535, got ${values[option]}`)
}

function welcome({ url, issuer, auditPath, usagePath }: Demo): string {
  const ask = (grant: string): string =>
    `$(curl -s ${issuer.tokenEndpoint} ${grant} | sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/')`
  return `The demo API listens on ${url}, its identity provider on ${issuer.url}. Paste, in another terminal:

# a machine's token, a person's, and an API token that a person made for scripts
MACHINE=${ask(`-d grant_type=client_credentials -d client_id=${machine.id} -d client_secret=${machine.secret}`)}
HUMAN=${ask(`-d grant_type=urn:ostiary:demo:password -d username=${person.username} -d password=${person.password}`)}
API=${ask(`-d grant_type=client_credentials -d client_id=${apiClient.id} -d client_secret=${apiClient.secret}`)}

# who am I?
curl -i ${url}/whoami
curl -s ${url}/whoami -H "Authorization: Bearer $MACHINE"
curl -s ${url}/whoami -H "Authorization: Bearer $HUMAN"

# an endpoint for machines, one for people, and a machine that is refused there
curl -s ${url}/machines -H "Authorization: Bearer $MACHINE"
curl -s ${url}/people -H "Authorization: Bearer $HUMAN"
curl -i ${url}/people -H "Authorization: Bearer $MACHINE"

# three requests in ten seconds pass, the fourth does not
for i in 1 2 3 4; do curl -s -o /dev/null -w '%{http_code}\\n' ${url}/limited -H "Authorization: Bearer $HUMAN"; done

# what the API token did, and all of it in numbers
curl -s ${url}/whoami -H "Authorization: Bearer $API"
curl -s ${url}/usage -H "Authorization: Bearer $API"
curl -s ${url}/metrics

Audit log: ${auditPath}
Usage rows: ${usagePath}
Stop with Ctrl-C.`
}
