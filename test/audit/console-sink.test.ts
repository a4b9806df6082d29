import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, openSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import type { AuditStats } from '../../lib/audit/audit-logger.ts'

/** Logs one event, and three more when it is told to; then says on standard error what became of them. */
const program = `
  import { AuditLogger } from ${JSON.stringify(new URL('../../lib/audit/audit-logger.ts', import.meta.url).href)}
  import { Reporter } from ${JSON.stringify(new URL('../../lib/http/reporter.ts', import.meta.url).href)}
  const reporter = new Reporter({ onReport() {} })
  const logger = new AuditLogger({ reporter })
  logger.log({ eventType: 'first' })
  for await (const _ of process.stdin);
  for (const eventType of ['second', 'third', 'fourth']) {
    logger.log({ eventType })
    await new Promise(resolve => setTimeout(resolve, 1))
  }
  await logger.close()
  console.error(JSON.stringify({ ...logger.stats, reported: reporter.counts.get('audit_lost') }))
`

function start(stdout: 'pipe' | number) {
  const args = ['--import', 'tsx', '--input-type=module', '--eval', program]
  return spawn(process.execPath, args, { stdio: ['pipe', stdout, 'pipe'] })
}

type Child = ReturnType<typeof start>

async function endOf(child: Child): Promise<{ code: number; stats: AuditStats & { reported: number } }> {
  const exited = once(child, 'exit')
  child.stdin!.end()
  const said = await text(child.stderr!)
  const [code] = await exited
  assert.equal(code, 0, said)
  return { code, stats: JSON.parse(said) }
}

test('a reader of standard output that goes away costs lines, counted, and not the process', async () => {
  const child = start('pipe')
  const [first] = await once(child.stdout!.setEncoding('utf8'), 'data')
  assert.equal(JSON.parse(first).event_type, 'first')
  child.stdout!.destroy()
  await once(child.stdout!, 'close')
  const { stats } = await endOf(child)
  assert.deepEqual(stats, { events: 4, pending: 0, dropped: 3, callbackFailures: 0, reported: 3 })
})

test('a full disk under standard output costs lines, and not the process', {
  skip: !existsSync('/dev/full')
}, async () => {
  const full = openSync('/dev/full', 'w')
  const child = start(full)
  closeSync(full)
  const { stats } = await endOf(child)
  assert.deepEqual(stats, { events: 4, pending: 0, dropped: 4, callbackFailures: 0, reported: 4 })
})
