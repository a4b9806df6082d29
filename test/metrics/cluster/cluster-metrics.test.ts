import assert from 'node:assert/strict'
import cluster, { type Worker } from 'node:cluster'
import { once } from 'node:events'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { type Report, Reporter } from '../../../lib/http/reporter.ts'
import { clusterMetrics } from '../../../lib/metrics/cluster/cluster-metrics.ts'
import { reportMetrics } from '../../../lib/metrics/cluster/cluster-worker-metrics.ts'
import { metricsEndpoint } from '../../../lib/metrics/exposition/metrics-endpoint.ts'
import { Histogram } from '../../../lib/metrics/histogram/histogram.ts'
import { MetricRegistry } from '../../../lib/metrics/metric-registry.ts'
import { sampleOf } from '../samples.ts'
import type { ClusterOrder } from './cluster-fixture.ts'

function told(worker: Worker, what: string): Promise<void> {
  return new Promise(resolve => {
    worker.on('message', function listen(message) {
      if (message !== what) return
      worker.off('message', listen)
      resolve()
    })
  })
}

async function tell(worker: Worker, order: ClusterOrder, answer = 'done'): Promise<void> {
  const answered = told(worker, answer)
  worker.send(order)
  await answered
}

describe('clusterMetrics', () => {
  let workers: Worker[]

  async function fork(env?: Record<string, string>): Promise<Worker> {
    const worker = cluster.fork(env)
    await told(worker, 'ready')
    return worker
  }

  before(async () => {
    const exec = fileURLToPath(new URL('./cluster-fixture.ts', import.meta.url))
    cluster.setupPrimary({ exec, execArgv: ['--import', 'tsx'], silent: true })
    workers = await Promise.all([fork(), fork(), fork()])
  })

  after(() => {
    for (const worker of Object.values(cluster.workers ?? {})) worker?.process.kill('SIGKILL')
  })

  it('adds up what all workers counted, exactly, and keeps gauges apart', async t => {
    const metrics = clusterMetrics({ timeoutMs: 600_000 })
    t.after(() => metrics.close())
    const alone = new Histogram({ highest: 60e6 })
    for (const [i, worker] of workers.entries()) {
      const values = Array.from({ length: 100 * (i + 1) }, (_, k) => (k * 7_919 * (i + 1)) % 100_000)
      values.push(1e9, -1)
      for (const value of values) alone.record(value)
      await tell(worker, { order: 'record', values })
    }
    const own = { validated: 1 }
    metrics.source(
      () => own,
      [
        {
          name: 'auth_tokens_validated_total',
          type: 'counter',
          help: 'Of the primary.',
          value: ({ validated }) => validated
        }
      ]
    )
    assert.deepEqual(await metrics.refresh(), { answered: 3, silent: [] })
    const merged = metrics.histogram('latency')!
    assert.deepEqual(merged.snapshot(), alone.snapshot())
    assert.deepEqual([merged.overflowCount, merged.invalidCount], [3, 3])
    assert.deepEqual([...merged.recordedValues()], [...alone.recordedValues()])
    assert.equal(metrics.histogram('other'), undefined)

    const text = metrics.toPrometheus()
    assert.equal(sampleOf(text, 'auth_tokens_validated_total'), 607)
    assert.equal(sampleOf(text, 'auth_validation_duration_seconds_count'), 603)
    assert.equal(sampleOf(text, 'auth_validation_duration_seconds_bucket', { le: '+Inf' }), 603)
    const below =
      607 - 4 - [...alone.recordedValues()].filter(step => step.valueIteratedTo > 100_000).length * 3
    assert.equal(sampleOf(text, 'auth_validation_duration_seconds_bucket', { le: '0.1' }), below)
    for (const [i, worker] of workers.entries()) {
      const labels = { cluster_worker: String(worker.id) }
      assert.equal(sampleOf(text, 'busy', labels), 100 * (i + 1) + 1)
      assert.ok(Number.isNaN(sampleOf(text, 'odd', labels)))
    }
    assert.equal(sampleOf(text, 'many_total', { i: '249' }), 603)
    assert.equal(typeof metricsEndpoint({ registry: metrics, auth: false }), 'function')
  })

  it('answers though a worker hangs, with what that told last', async t => {
    const metrics = clusterMetrics({ timeoutMs: 300 })
    t.after(() => metrics.close())
    const [first, second, third] = workers as [Worker, Worker, Worker]
    for (const worker of workers) await tell(worker, { order: 'flush' })
    const before = metrics.histogram('latency')!.count
    await tell(second, { order: 'hang', ms: 3_600_000 }, 'hanging')
    await tell(first, { order: 'record', values: [1, 2, 3] })
    const [one, other] = await Promise.all([metrics.refresh(), metrics.refresh()])
    assert.equal(one, other)
    assert.ok(one.silent.includes(second.id))
    // One that is slow only, on a busy machine, answers in the end.
    let rest = one
    while (rest.silent.length > 1) rest = await metrics.refresh()
    assert.deepEqual(rest.silent, [second.id])
    assert.equal(metrics.histogram('latency')!.count, before + 3)

    second.process.kill('SIGKILL')
    await once(second, 'disconnect')
    assert.equal(metrics.histogram('latency')!.count, before + 3)
    const text = metrics.toPrometheus()
    assert.equal(sampleOf(text, 'busy', { cluster_worker: String(second.id) }), undefined)
    assert.ok(sampleOf(text, 'busy', { cluster_worker: String(third.id) })! > 0)
  })

  it('keeps what workers counted that are gone, and takes in those that come', async t => {
    const metrics = clusterMetrics({ timeoutMs: 600_000 })
    t.after(() => metrics.close())
    const [first, , third] = workers as [Worker, Worker, Worker]
    await metrics.refresh()
    const before = metrics.histogram('latency')!.count
    const failedBefore = sampleOf(metrics.toPrometheus(), 'auth_tokens_validated_total')!
    // Counted after the last report: told while the process exits.
    await tell(first, { order: 'record', values: [10, 20] })
    first.send({ order: 'exit' } satisfies ClusterOrder)
    await once(first, 'disconnect')
    assert.equal(metrics.histogram('latency')!.count, before + 2)
    // Killed without a word: what it told last counts.
    third.process.kill('SIGKILL')
    await once(third, 'disconnect')
    assert.equal(metrics.histogram('latency')!.count, before + 2)
    const fresh = await fork()
    await tell(fresh, { order: 'record', values: [30] })
    assert.deepEqual(await metrics.refresh(), { answered: 1, silent: [] })
    assert.equal(metrics.histogram('latency')!.count, before + 3)
    assert.equal(sampleOf(metrics.toPrometheus(), 'auth_tokens_validated_total'), failedBefore + 3)
    assert.equal(sampleOf(metrics.toPrometheus(), 'many_total', { i: '0' }), before + 3)
  })

  it('hears of what is counted by itself, and the last of it when a worker stops reporting', async t => {
    const metrics = clusterMetrics({ timeoutMs: 1 })
    t.after(() => metrics.close())
    const worker = await fork({ INTERVAL_MS: '5' })
    await tell(worker, { order: 'record', values: [1, 2] })
    while ((metrics.histogram('latency')?.count ?? 0) < 2) await once(cluster, 'message')
    await tell(worker, { order: 'record', values: [3] })
    await tell(worker, { order: 'close' })
    assert.equal(metrics.histogram('latency')!.count, 3)
    await tell(worker, { order: 'record', values: [4] })
    assert.equal(metrics.histogram('latency')!.count, 3)
    const { silent } = await metrics.refresh()
    assert.ok(silent.includes(worker.id))
    worker.process.kill('SIGKILL')
    await once(worker, 'disconnect')
  })

  it('hears one report after the other, however many are asked for at once', async t => {
    const metrics = clusterMetrics({ timeoutMs: 600_000 })
    t.after(() => metrics.close())
    const worker = await fork()
    await tell(worker, { order: 'record', values: [1, 2] })
    const labels = { cluster_worker: String(worker.id) }
    for (const askToo of [false, true]) {
      const refreshed = askToo ? metrics.refresh() : undefined
      await tell(worker, { order: 'flush', times: 3 })
      await refreshed
      assert.equal(sampleOf(metrics.toPrometheus(), 'busy', labels), 2)
    }
    worker.process.kill('SIGKILL')
    await once(worker, 'disconnect')
  })

  it('does not wait for a worker that dies', async t => {
    // One that was killed before may still be listed.
    const [worker] = Object.values(cluster.workers!).filter(listed => listed!.isConnected()) as [Worker]
    // What it was asked for before comes before this is done.
    await tell(worker, { order: 'flush' })
    const metrics = clusterMetrics({ timeoutMs: 600_000 })
    t.after(() => metrics.close())
    await tell(worker, { order: 'hang', ms: 3_600_000 }, 'hanging')
    const refreshed = metrics.refresh()
    worker.process.kill('SIGKILL')
    assert.deepEqual(await refreshed, { answered: 0, silent: [] })
    assert.equal(metrics.histogram('latency'), undefined)
    assert.deepEqual(await metrics.refresh(), { answered: 0, silent: [] })
  })

  it('reports what it cannot read, and goes on', t => {
    const reports: Report[] = []
    const metrics = clusterMetrics({ reporter: new Reporter({ onReport: report => reports.push(report) }) })
    t.after(() => metrics.close())
    const worker = { id: 4_711, isConnected: () => true } as Worker
    const piece = (fields: object) =>
      cluster.emit('message', worker, { ostiary: 'metrics_report', ...fields })
    piece({ begin: true })
    piece({ histogram: 'latency', content: { counts: 'AAAA', overflowCount: 0, invalidCount: 0 } })
    piece({
      metric: { name: 'seen_total', help: 'Seen.', type: 'counter', points: [{ labels: [], value: 3 }] }
    })
    piece({ complete: true, request: 0 })
    for (const message of [null, 'text', 7, { ostiary: 'other' }]) cluster.emit('message', worker, message)
    assert.deepEqual(
      reports.map(({ what, error }) => [what, (error as { code?: string }).code]),
      [['cluster_report', 'ERR_HISTOGRAM_LENGTH']]
    )
    assert.equal(sampleOf(metrics.toPrometheus(), 'seen_total'), 3)
    // Begun anew in the middle: what came of the report before is void.
    piece({ begin: true })
    piece({
      metric: { name: 'seen_total', help: 'Seen.', type: 'counter', points: [{ labels: [], value: 4 }] }
    })
    assert.equal(sampleOf(metrics.toPrometheus(), 'seen_total'), 3)
    piece({ begin: true })
    piece({
      metric: { name: 'seen_total', help: 'Seen.', type: 'counter', points: [{ labels: [], value: 5 }] }
    })
    piece({ complete: true, request: 0 })
    assert.equal(sampleOf(metrics.toPrometheus(), 'seen_total'), 5)
  })

  it('refuses bad options', () => {
    for (const timeoutMs of [0, Number.NaN, 2 ** 31]) {
      assert.throws(
        () => clusterMetrics({ timeoutMs }),
        /clusterMetrics: timeoutMs must be from 1 to 2\^31 - 1, got/
      )
    }
    const registry = new MetricRegistry()
    assert.throws(
      () => reportMetrics({ registry: {} as MetricRegistry }),
      /registry must be a MetricRegistry/
    )
    assert.throws(
      () => reportMetrics({ registry, intervalMs: 0 }),
      /intervalMs must be from 1 to 2\^31 - 1, got 0/
    )
  })
})
