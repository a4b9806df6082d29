import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { type TestContext, test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { MetricRegistry } from '../../lib/metrics/metric-registry.ts'
import { ProcessMetrics, type ProcessMetricsOptions } from '../../lib/metrics/process-metrics.ts'
import { sampleOf, samples } from './samples.ts'

function measuring(t: TestContext, options: ProcessMetricsOptions = {}) {
  const registry = new MetricRegistry()
  const processMetrics = new ProcessMetrics(options)
  t.after(() => processMetrics.close())
  registry.add(processMetrics)
  return { processMetrics, text: () => registry.toPrometheus() }
}

/** Nothing else runs for so long. */
function block(ms: number): void {
  const until = performance.now() + ms
  while (performance.now() < until);
}

/** Garbage that V8 cannot leave lying. */
function litter(): void {
  let kept: object[] = []
  for (let i = 0; i < 600_000; i++) kept.push({ i })
  kept = []
}

test('a blocked event loop shows in delay and utilization, and fades when the windows turn', async t => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const { text } = measuring(t)
  // Each turn of the loop gives a sample, however long it takes.
  for (let i = 0; i < 5; i++) await wait(15)
  block(120)
  for (let i = 0; i < 5; i++) await wait(15)
  const longest = sampleOf(text(), 'nodejs_eventloop_delay_max_seconds')!
  assert.ok(longest > 0.09, `delay ${longest}`)
  assert.ok(sampleOf(text(), 'nodejs_eventloop_delay_p50_seconds')! < longest)
  assert.ok(sampleOf(text(), 'nodejs_eventloop_delay_mean_seconds')! > 0)
  assert.ok(sampleOf(text(), 'nodejs_eventloop_utilization_ratio')! > 0)
  t.mock.timers.tick(60_000)
  // A minute is not over for all of it. The other window takes its own samples.
  const remembered = sampleOf(text(), 'nodejs_eventloop_delay_max_seconds')!
  assert.ok(remembered > 0.09, `delay ${remembered}, was ${longest}`)
  t.mock.timers.tick(60_000)
  assert.equal(sampleOf(text(), 'nodejs_eventloop_delay_max_seconds'), 0, 'no sample yet')
})

test('an idle loop has no delay of the length of the sampling interval', async t => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const { text } = measuring(t, { resolutionMs: 400 })
  const delay = (which: string) => sampleOf(text(), `nodejs_eventloop_delay_${which}_seconds`)!
  // There is no sample at first. A machine that is busy delays a sample or two, not half of many: this ends.
  while (delay('max') === 0 || delay('p50') >= 0.4) await wait(100)
})

test('pauses are counted by kind, and the longest is remembered', async t => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const { text } = measuring(t)
  while (!text().includes('v8js_gc_duration_seconds_count{v8js_gc_type="minor"}')) {
    litter()
    await wait(5)
  }
  const counts = samples(text()).filter(sample => sample.name === 'v8js_gc_duration_seconds_count')
  const kinds = counts.map(sample => sample.labels['v8js_gc_type'])
  assert.ok(kinds.includes('minor') && !kinds.includes('_OTHER'), String(kinds))
  const longest = sampleOf(text(), 'v8js_gc_pause_max_seconds')!
  assert.ok(
    longest > 0 &&
      longest <=
        samples(text())
          .filter(s => s.name === 'v8js_gc_duration_seconds_sum')
          .reduce((a, s) => a + s.value, 0)
  )
})

test('heap, memory, CPU and uptime are those of the process', t => {
  const { text } = measuring(t)
  block(20)
  const before = process.uptime()
  const now = text()
  const after = process.uptime()
  const heap = samples(now).filter(sample => sample.name === 'v8js_memory_heap_used_bytes')
  const used = heap.reduce((sum, sample) => sum + sample.value, 0)
  assert.ok(used > 1e6 && used < sampleOf(now, 'v8js_memory_heap_limit_bytes')!)
  assert.ok(sampleOf(now, 'process_memory_usage_bytes')! > used)
  assert.ok(sampleOf(now, 'process_cpu_time_seconds_total', { cpu_mode: 'user' })! > 0)
  const uptime = sampleOf(now, 'process_uptime_seconds')!
  assert.ok(uptime >= before && uptime <= after, `${before} ${uptime} ${after}`)
})

test('close stops it, twice is once, and the process may end without it', async t => {
  const { processMetrics, text } = measuring(t)
  const longest = () => sampleOf(text(), 'nodejs_eventloop_delay_max_seconds')!
  while (longest() === 0) await wait(15)
  processMetrics.close()
  processMetrics.close()
  const before = longest()
  block(before * 1_000 + 50)
  for (let i = 0; i < 3; i++) await wait(15)
  assert.equal(longest(), before)
  assert.match(text(), /^process_uptime_seconds /m)
  const url = new URL('../../lib/metrics/process-metrics.ts', import.meta.url)
  const script = `import { ProcessMetrics } from ${JSON.stringify(fileURLToPath(url))}; new ProcessMetrics(); console.log('ends')`
  const output = execFileSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
    timeout: 600_000
  })
  assert.equal(output.toString(), 'ends\n')
})

test('the resolution must be whole milliseconds', () => {
  for (const resolutionMs of [0, -1, 1.5, Number.NaN, '10']) {
    assert.throws(
      () => new ProcessMetrics({ resolutionMs: resolutionMs as number }),
      new RegExp(`ProcessMetrics: resolutionMs must be a positive integer, got ${resolutionMs}`)
    )
  }
})
