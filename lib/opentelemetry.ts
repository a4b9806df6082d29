/** `ostiary/opentelemetry`: hands Ostiary's metrics to OpenTelemetry. Needs `@opentelemetry/api`. */
import {
  type Attributes,
  type Meter,
  metrics,
  type Observable,
  type ObservableResult
} from '@opentelemetry/api'
import {
  familyName,
  type HistogramMetric,
  type LabelSet,
  type Metric,
  type ScalarMetric
} from './metrics/metric.ts'
import { MetricRegistry } from './metrics/metric-registry.ts'
import { wrongOption } from './options.ts'

export interface OpenTelemetryBridgeOptions {
  registry: MetricRegistry
  /** Default: the meter `ostiary` of the global meter provider. */
  meter?: Meter
}

/**
 * Makes an instrument for every metric of `registry`, and for each that is added to it later. Counters and gauges are
 * observed when OpenTelemetry collects; histograms are recorded as the requests end, because OpenTelemetry has no
 * histogram that can be observed: that is its cost for each request, and it counts from the call on.
 * Names and attributes are those of the semantic conventions where they have one (`http.server.request.duration`):
 * turn off the HTTP server metrics of another instrumentation, or requests are counted twice.
 *
 * @returns what ends it
 * @throws TypeError when an option is not what it must be
 */
export function bridgeToOpenTelemetry(options: OpenTelemetryBridgeOptions): () => void {
  const { registry, meter = metrics.getMeter('ostiary') } = options ?? {}
  if (!(registry instanceof MetricRegistry)) {
    throw wrongOption('bridgeToOpenTelemetry', 'registry', 'a MetricRegistry', registry)
  }
  if (typeof meter?.createHistogram !== 'function') {
    throw wrongOption('bridgeToOpenTelemetry', 'meter', 'an OpenTelemetry Meter', meter)
  }
  const stops: (() => void)[] = []
  stops.push(
    registry.onMetric(metric => {
      stops.push(metric.type === 'histogram' ? record(meter, metric) : observe(registry, meter, metric))
    })
  )
  return () => {
    for (const stop of stops.splice(0)) stop()
  }
}

function record(meter: Meter, metric: HistogramMetric): () => void {
  const histogram = meter.createHistogram(instrumentName(metric), {
    ...described(metric),
    advice: { explicitBucketBoundaries: [...metric.bounds] }
  })
  return metric.onObservation((value, labels) => histogram.record(value, attributesOf(labels)))
}

function observe(registry: MetricRegistry, meter: Meter, metric: ScalarMetric): () => void {
  const instrument = makeObservable(meter, metric)
  const read = (result: ObservableResult): void => {
    try {
      for (const { labels, value } of metric.points()) result.observe(value, attributesOf(labels))
    } catch (error) {
      registry.readFailed(metric, error)
    }
  }
  instrument.addCallback(read)
  return () => instrument.removeCallback(read)
}

function makeObservable(meter: Meter, metric: ScalarMetric): Observable {
  const name = instrumentName(metric)
  if (metric.type === 'counter') return meter.createObservableCounter(name, described(metric))
  // What goes up and down by ones adds up over processes; other gauges do not.
  return summable.has(name)
    ? meter.createObservableUpDownCounter(name, described(metric))
    : meter.createObservableGauge(name, described(metric))
}

const summable: ReadonlySet<string> = new Set([
  'http.server.active_requests',
  'v8js.memory.heap.used',
  'v8js.memory.heap.limit',
  'process.memory.usage'
])
/** Words of the semantic conventions that a dot follows; every other underscore stays. */
const namespaces =
  /^(?:http_server|nodejs_eventloop_delay|nodejs_eventloop|v8js_gc|v8js_memory_heap|process_cpu|process_memory|process|auth|ostiary)_/
const units: Readonly<Record<string, string>> = { seconds: 's', bytes: 'By', ratio: '1' }

/** `http_server_request_duration_seconds` → `http.server.request.duration`: no unit, no `_total`. */
function instrumentName(metric: Metric): string {
  const family = familyName(metric)
  const bare = metric.unit === undefined ? family : family.slice(0, -metric.unit.length - 1)
  const dotted = bare.replace(namespaces, namespace => namespace.replaceAll('_', '.'))
  return dotted === 'http.server.request_duration' ? 'http.server.request.duration' : dotted
}

function described(metric: Metric): { description: string; unit?: string } {
  const unit = units[metric.unit ?? '']
  return { description: metric.help, ...(unit === undefined ? {} : { unit }) }
}

/** Label sets live as long as their series: each is translated once. */
const translated = new WeakMap<LabelSet, Attributes>()

const attributeNames: Readonly<Record<string, string>> = {
  http_request_method: 'http.request.method',
  http_response_status_code: 'http.response.status_code',
  http_route: 'http.route',
  url_scheme: 'url.scheme',
  error_type: 'error.type',
  otel_metric_overflow: 'otel.metric.overflow',
  caller_kind: 'ostiary.caller.kind',
  v8js_gc_type: 'v8js.gc.type',
  v8js_heap_space_name: 'v8js.heap.space.name',
  cpu_mode: 'cpu.mode'
}

function attributesOf(labels: LabelSet): Attributes {
  let attributes = translated.get(labels)
  if (attributes === undefined) {
    attributes = {}
    for (const [label, value] of labels.pairs) {
      const name = attributeNames[label] ?? label
      attributes[name] =
        name === 'http.response.status_code' ? Number(value) : name === 'otel.metric.overflow' ? true : value
    }
    translated.set(labels, attributes)
  }
  return attributes
}
