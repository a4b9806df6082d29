/** Runs the one suite that it is told, and sends its parent every thing measured. */
import { promisify } from 'node:util'
import type { Suite } from '../suite.ts'
import { fullPace, measure, quickPace } from './measure.ts'
import { emptyReport, type Report, resultOf } from './result.ts'

const [name, ...flags] = process.argv.slice(2)
const quick = flags.includes('--quick')
const send = promisify((message: Report, sent: (error: Error | null) => void) =>
  process.send?.(message, sent)
)

// The parent is gone, or has all there is.
process.once('disconnect', () => process.exit())

const { suite } = (await import(`../${name}.ts`)) as { suite: Suite }
for await (const row of suite.rows?.({ quick }) ?? []) {
  const measured = await measure(row, quick ? quickPace : fullPace)
  await row.close?.()
  await send({ ...emptyReport(), results: [resultOf(name.replaceAll('-', ' '), row, measured)] })
}
for await (const result of suite.endToEnd?.({ quick }) ?? [])
  await send({ ...emptyReport(), endToEnd: [result] })
for await (const timeline of suite.timelines?.({ quick }) ?? [])
  await send({ ...emptyReport(), timelines: [timeline] })
for await (const figures of suite.figures?.({ quick }) ?? [])
  await send({ ...emptyReport(), figures: [figures] })
process.disconnect()
