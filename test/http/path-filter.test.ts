import assert from 'node:assert/strict'
import { unescape as unescapeBytes } from 'node:querystring'
import { describe, test } from 'node:test'
import { defaultSkip, PathFilter, type PathFilterOptions } from '../../lib/http/path-filter.ts'
import { fc } from '../support/seeded.ts'

describe('the default', () => {
  const filter = new PathFilter(defaultSkip)
  const skipped = [
    '/health',
    '/healthz',
    '/ready',
    '/metrics',
    '/static/',
    '/static/app.js',
    '/static/a/b.css'
  ]
  for (const path of skipped) test(`skips ${path}`, () => assert.equal(filter.matches(path), true))

  const others = [
    '',
    '/',
    '*',
    'health',
    '/Health',
    '/health/',
    '/health/x',
    '/healthy',
    '/static',
    '/statically/x',
    '/x/static/',
    '/metrics.json'
  ]
  for (const path of others)
    test(`does not skip ${path || 'nothing'}`, () => assert.equal(filter.matches(path), false))

  // A handler, a router or `new URL` could read each of these as another path.
  const ambiguous = [
    '/static/../admin',
    '/static/./admin',
    '/static/..',
    '/static/..;/admin',
    '/static/%2e%2e/admin',
    '/static/.%2E/admin',
    '/static/..%2fadmin',
    '/static/..%5cadmin',
    '/static/%252e%252e/admin',
    '/static/..\\admin',
    '/static\\..\\admin',
    '/static//admin',
    '//static/',
    '/static/a;b=c',
    '/static/#/admin',
    '/static/%00',
    '/static/%0d%0aX: y',
    '/static/\u00e9',
    '/static/a b',
    '/health;a'
  ]
  for (const path of ambiguous) {
    test(`does not skip ${JSON.stringify(path)}`, () => assert.equal(filter.matches(path), false))
  }
})

test('what it skips is read as itself by whoever parses it', () => {
  const filter = new PathFilter({ prefix: ['/static/'] })
  const piece = fc.oneof(
    fc.constantFrom('..', '.', '/', '//', '%2e', '%2F', '\\', '%5c', ';', '%25', '?', '#', '@', ':', '\t'),
    fc.string({ maxLength: 3 })
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), pieces => {
      const path = `/static/${pieces.join('')}`
      if (!filter.matches(path) || path.includes('?')) return
      const { pathname } = new URL(path, 'http://host')
      assert.ok(pathname.startsWith('/static/'), pathname)
      // Unlike decodeURIComponent it reads escapes that are no UTF-8, too.
      assert.ok(!unescapeBytes(pathname).includes('/../'))
    }),
    { numRuns: 2_000 }
  )
})

test('nothing is skipped by an empty filter', () => {
  assert.equal(new PathFilter({}).matches('/health'), false)
})

test('a prefix of / skips everything that has one reading', () => {
  const filter = new PathFilter({ prefix: ['/'] })
  assert.equal(filter.matches('/any/thing'), true)
  assert.equal(filter.matches('/any/../thing'), false)
})

describe('wrong entries are named', () => {
  const table: [unknown, RegExp][] = [
    [5, /^PathFilter: options must be an object, got 5/],
    [['/health'], /options must be an object of exact and prefix, got \["\/health"\]/],
    [{ paths: [] }, /options must be an object of exact and prefix, got "paths"/],
    [{ exact: '/health' }, /exact must be a list, got "\/health"/],
    [{ prefix: 7 }, /prefix must be a list, got 7/],
    [{ exact: ['health'] }, /exact entries must start with a slash, got "health"/],
    [{ exact: [7] }, /exact entries must start with a slash, got 7/],
    [{ exact: ['/a/../b'] }, /exact entries must have one reading, got "\/a\/..\/b"/],
    [{ prefix: ['/static'] }, /prefix entries must start and end with a slash, got "\/static"/],
    [{ prefix: ['static/'] }, /got "static\/"/],
    [{ prefix: ['/a//'] }, /must have one reading, got "\/a\/\/"/],
    [{ prefix: [''] }, /got ""/]
  ]
  for (const [options, message] of table) {
    test(JSON.stringify(options), () =>
      assert.throws(() => new PathFilter(options as PathFilterOptions), { name: 'TypeError', message })
    )
  }
})
