import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MetricsCollector } from '../../lib/metrics/metrics-collector.ts'

function collectorAt(start = 0) {
  const time = { ms: start }
  return { time, collector: new MetricsCollector({ clock: () => time.ms }) }
}

test('a new collector tells zeroes', () => {
  const { collector } = collectorAt(123)
  assert.deepEqual(collector.getMetrics(), {
    uptimeSeconds: 0,
    tokensValidated: 0,
    tokensFailed: 0,
    totalTokens: 0,
    successRate: 0,
    validationTimeAvgMs: 0,
    validationTimeP95Ms: 0,
    validationTimeP99Ms: 0,
    errorsByType: {}
  })
})

test('counts, rate, average and percentiles are those of what was recorded', () => {
  const { time, collector } = collectorAt()
  for (let i = 1; i <= 98; i++) collector.recordValidationSuccess(i)
  collector.recordValidationFailure('token_expired', 99)
  collector.recordValidationFailure('bad_signature', 100)
  time.ms = 2_500
  const metrics = collector.getMetrics()
  assert.equal(metrics.uptimeSeconds, 2.5)
  assert.equal(metrics.tokensValidated, 98)
  assert.equal(metrics.tokensFailed, 2)
  assert.equal(metrics.totalTokens, 100)
  assert.equal(metrics.successRate, 98)
  assert.equal(metrics.validationTimeAvgMs, 50.5)
  assert.ok(metrics.validationTimeP95Ms >= 95 && metrics.validationTimeP95Ms <= 95 * 1.001)
  assert.ok(metrics.validationTimeP99Ms >= 99 && metrics.validationTimeP99Ms <= 99 * 1.001)
  assert.deepEqual(metrics.errorsByType, { token_expired: 1, bad_signature: 1 })
})

test('one duration is its own percentile, not the upper end of a bucket', () => {
  const { collector } = collectorAt()
  collector.recordValidationSuccess(10.0004)
  assert.equal(collector.getMetrics().validationTimeP99Ms, 10.0004)
})

test('windows forget what is older than a minute, or an hour, and a step', () => {
  const { time, collector } = collectorAt()
  collector.recordValidationFailure('old', 1_000)
  time.ms = 60_000
  collector.recordValidationSuccess(2)
  assert.equal(collector.getMetrics('minute').totalTokens, 2, 'a full minute is always in the window')
  time.ms = 65_000
  assert.deepEqual(collector.getMetrics('minute'), {
    uptimeSeconds: 65,
    tokensValidated: 1,
    tokensFailed: 0,
    totalTokens: 1,
    successRate: 100,
    validationTimeAvgMs: 2,
    validationTimeP95Ms: 2,
    validationTimeP99Ms: 2,
    errorsByType: {}
  })
  assert.deepEqual(collector.getMetrics('hour').errorsByType, { old: 1 })
  collector.recordValidationSuccess(1, 70_000)
  time.ms = 3_600_000
  assert.equal(collector.getMetrics('minute').totalTokens, 0)
  assert.equal(collector.getMetrics('hour').totalTokens, 3)
  time.ms = 3_900_000
  assert.equal(collector.getMetrics('hour').totalTokens, 0)
  assert.deepEqual(collector.getMetrics().errorsByType, { old: 1 })
})

test('reset starts anew', () => {
  const { time, collector } = collectorAt()
  collector.recordValidationSuccess(1)
  collector.recordValidationFailure('x', Number.NaN)
  time.ms = 1_000
  collector.reset()
  time.ms = 3_000
  for (const window of ['total', 'minute', 'hour'] as const) {
    const { uptimeSeconds, totalTokens, validationTimeP99Ms, errorsByType } = collector.getMetrics(window)
    assert.deepEqual([uptimeSeconds, totalTokens, validationTimeP99Ms, errorsByType], [2, 0, 0, {}])
  }
  assert.deepEqual(collector.stats, { invalidDurations: 0 })
  collector.recordValidationSuccess(4)
  assert.equal(collector.getMetrics('minute').validationTimeAvgMs, 4)
  assert.match(collector.toPrometheus(), /^auth_validation_duration_seconds_count 1$/m)
})

test('a duration that is none is counted as a validation, refused as a time', () => {
  const { collector } = collectorAt()
  const bad: unknown[] = [Number.NaN, -1, Infinity, -Infinity, undefined, null, 'five', {}]
  for (const duration of bad) collector.recordValidationSuccess(duration as number)
  collector.recordValidationSuccess(3)
  const metrics = collector.getMetrics()
  assert.equal(metrics.tokensValidated, bad.length + 1)
  assert.equal(metrics.validationTimeAvgMs, 3)
  assert.equal(collector.stats.invalidDurations, bad.length)
})

test('error types are capped and any name is safe', () => {
  const { collector } = collectorAt()
  for (const type of ['__proto__', 'constructor', '']) collector.recordValidationFailure(type, 1)
  for (let i = 0; i < 500; i++) collector.recordValidationFailure(`type ${i}`, 1)
  collector.recordValidationFailure('_OTHER', 1)
  const { errorsByType } = collector.getMetrics()
  assert.equal(Object.keys(errorsByType).length, 100)
  assert.equal(Object.hasOwn(errorsByType, '__proto__'), true)
  assert.equal(errorsByType['type 95'], 1)
  assert.equal(errorsByType['_OTHER'], 500 - 96 + 1)
  assert.equal(collector.getMetrics('hour').errorsByType['_OTHER'], 500 - 96 + 1)
  assert.equal(
    collector.toPrometheus().match(/^auth_tokens_failed_total\{error_type="_OTHER"\}/gm)?.length,
    1
  )
})

test('error types that are the same in UTF-8 are one', () => {
  const { collector } = collectorAt()
  for (const type of ['a\ud800', 'a\udfff', 'a\ufffd']) collector.recordValidationFailure(type, 1)
  assert.deepEqual(collector.getMetrics().errorsByType, { 'a\ufffd': 3 })
})

test('toPrometheus has the names of old', () => {
  const { collector } = collectorAt()
  collector.recordValidationSuccess(1)
  collector.recordValidationSuccess(2)
  collector.recordValidationFailure('a "b"\n', 6)
  const text = collector.toPrometheus()
  assert.match(text, /^# TYPE auth_tokens_validated_total counter\nauth_tokens_validated_total 2$/m)
  assert.match(text, /^# TYPE auth_success_rate gauge\nauth_success_rate 66\.6666/m)
  assert.match(text, /^# TYPE auth_validation_duration_avg_ms gauge\nauth_validation_duration_avg_ms 3$/m)
  assert.match(text, /^auth_tokens_failed_total\{error_type="a \\"b\\"\\n"\} 1$/m)
  assert.match(text, /^auth_validation_duration_seconds_bucket\{le="0\.005"\} 2$/m)
})

test('a clock must be a function', () => {
  assert.throws(
    () => new MetricsCollector({ clock: 5 as never }),
    /MetricsCollector: clock must be a function, got 5/
  )
})

test('who listens hears every validation from then on, at once', () => {
  const collector = new MetricsCollector({ clock: () => 0 })
  const histogram = collector.metrics.find(({ type }) => type === 'histogram')
  assert.ok(histogram?.type === 'histogram' && histogram.onObservation !== undefined)
  collector.recordValidationSuccess(1)
  const heard: number[] = []
  const stop = histogram.onObservation(value => heard.push(value))
  collector.recordValidationSuccess(2)
  collector.recordValidationFailure('expired', 3)
  assert.deepEqual(heard, [0.002, 0.003])
  stop()
  collector.recordValidationSuccess(4)
  assert.equal(heard.length, 2)
  assert.equal(collector.getMetrics().totalTokens, 4)
})

test('whichever way it is read, and however many came, nothing is missing', () => {
  const readers: ((collector: MetricsCollector) => number)[] = [
    collector => collector.getMetrics().totalTokens,
    collector => collector.getMetrics('minute').totalTokens,
    collector => Number(/^auth_tokens_validated_total (\d+)/m.exec(collector.toPrometheus())?.[1]),
    collector => Number(/^auth_validation_duration_seconds_count (\d+)/m.exec(collector.toPrometheus())?.[1]),
    collector => collector.stats.invalidDurations
  ]
  for (const [i, read] of readers.entries()) {
    const collector = new MetricsCollector({ clock: () => 0 })
    for (let count = 1; count <= 200; count++) {
      collector.recordValidationSuccess(i === 4 ? -1 : 1)
      if (count % 7 === 0) assert.equal(read(collector), count)
    }
  }
})
