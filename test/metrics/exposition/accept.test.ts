import assert from 'node:assert/strict'
import { test } from 'node:test'
import { acceptedFormat, type MetricsFormat } from '../../../lib/metrics/exposition/accept.ts'

/** As Prometheus 2.42 and 3 send it, with and without native histograms. */
const prometheus2 =
  'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1'
const prometheus2Native =
  'application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1'
const prometheus3 =
  'application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2'

const table: [string | undefined, MetricsFormat, MetricsFormat?][] = [
  [undefined, 'text'],
  ['', 'text'],
  ['*/*', 'text'],
  ['text/html,application/xhtml+xml,*/*;q=0.8', 'text'],
  [prometheus2, 'openmetrics'],
  [prometheus2Native, 'openmetrics', 'protobuf'],
  [prometheus3, 'openmetrics'],
  ['application/openmetrics-text', 'openmetrics'],
  ['APPLICATION/OpenMetrics-Text; Version="1.0.0"', 'openmetrics'],
  ['application/openmetrics-text;version=2.0.0', 'text'],
  ['application/openmetrics-text;q=0.5,text/plain;q=0.6', 'text'],
  ['application/openmetrics-text;q=0', 'text'],
  ['application/openmetrics-text;q=2', 'text'],
  ['application/openmetrics-text;q=0.5;q', 'text'],
  ['application/vnd.google.protobuf;proto=other;encoding=delimited', 'text'],
  ['application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text', 'text'],
  ['image/png', 'text'],
  ['application/json', 'json'],
  ['application/json; charset=utf-8, */*; q=0.5', 'json'],
  ['constructor,__proto__;q=1', 'text'],
  [`${'x/y,'.repeat(2_000)}application/openmetrics-text`, 'text'],
  [';;;,,,;q=', 'text']
]

test('the format that is wanted most, of those on offer', () => {
  for (const [accept, without, withProtobuf = without] of table) {
    assert.equal(acceptedFormat(accept, false), without, accept)
    assert.equal(acceptedFormat(accept, true), withProtobuf, accept)
  }
})
