import assert from 'node:assert/strict'
import { test } from 'node:test'
import { jsonMember, jsonString } from '../../lib/audit/json-text.ts'
import { fc } from '../support/seeded.ts'

const jwt = `eyJhbGciOiJSUzI1NiJ9.${Buffer.from('{"sub":"u1"}').toString('base64url')}.c2lnbmF0dXJl`

/** Any code units at all: lone surrogates, controls, line separators. */
const anyText = fc
  .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 60 })
  .map(units => String.fromCharCode(...units))

test('a logged string is valid JSON on one line of printable ASCII, and says what it was given', () => {
  fc.assert(
    fc.property(anyText, text => {
      const json = jsonString(text)
      assert.match(json, /^"[ -~]*"$/)
      fc.pre(!/eyJ|bearer|token=/i.test(text))
      assert.equal(JSON.parse(json), text)
    })
  )
})

const escapes: [string, string][] = [
  ['plain /path-1.2~x', '"plain /path-1.2~x"'],
  ['a\nb\r\nc', '"a\\u000ab\\u000d\\u000ac"'],
  ['quote " backslash \\', '"quote \\" backslash \\\\"'],
  ['\u2028\u2029\u0085', '"\\u2028\\u2029\\u0085"'],
  ['\ud800 lone \udc00', '"\\ud800 lone \\udc00"'],
  ['\u001b[31mred\u007f', '"\\u001b[31mred\\u007f"'],
  ['Zürich 😀', '"Z\\u00fcrich \\ud83d\\ude00"'],
  ['', '""']
]

for (const [text, json] of escapes) {
  test(`escapes ${JSON.stringify(text)}`, () => assert.equal(jsonString(text), json))
}

const secrets: [string, string][] = [
  [jwt, '[redacted]'],
  [`curl/8 Bearer ${jwt}`, 'curl/8 Bearer [redacted]'],
  ['BEARER opaque-token_1', 'BEARER [redacted]'],
  ['/x/bearer%20opaque', '/x/bearer%20[redacted]'],
  ['Bearer:abc def', 'Bearer:[redacted] def'],
  [`/reset/${jwt}/done`, '/reset/[redacted]/done'],
  [`${jwt.slice(0, 40)}`, '[redacted]'],
  ['/cb;access_token=abc;x=1', '/cb;access_token=[redacted];x=1'],
  [`two ${jwt} and ${jwt}`, 'two [redacted] and [redacted]']
]

for (const [text, clean] of secrets) {
  test(`takes the token out of ${text.slice(0, 40)}`, () => assert.equal(JSON.parse(jsonString(text)), clean))
}

test('no token survives, wherever it stands in a text or a value', () => {
  fc.assert(
    fc.property(anyText, anyText, (before, after) => {
      const texts = [
        jsonString(`${before}${jwt}${after}`),
        jsonMember('details', { deep: [{ text: `${before}${jwt}${after}` }] })
      ]
      for (const text of texts)
        assert.ok(!text.includes(jwt.split('.')[1]) || after.includes(jwt.split('.')[1]))
    })
  )
})

test('a long string is cut, and the cut shows', () => {
  const value = JSON.parse(jsonString('a'.repeat(2_048) + 'b'.repeat(100)))
  assert.equal(value, `${'a'.repeat(2_048)}[cut: 100 more]`)
})

test('a token that the cut goes through does not appear in part', () => {
  const value = JSON.parse(jsonString('-'.repeat(2_000) + jwt + jwt))
  assert.match(value, /^-+\[redacted\]\[cut: \d+ more\]$/)
})

test('searching a long hostile string takes linear time', () => {
  const text = 'eyJ'.repeat(300_000) + 'bearer '.repeat(300_000)
  assert.ok(jsonString(text).length < 2_200)
})

const members: [string, unknown, string][] = [
  ['n', 1.5, ',"n":1.5'],
  ['flag', true, ',"flag":true'],
  ['nothing', undefined, ',"nothing":null'],
  ['fn', () => 1, ',"fn":null'],
  ['big', 12n, ',"big":"12"'],
  ['nan', Number.NaN, ',"nan":null'],
  ['when', new Date(0), ',"when":"1970-01-01T00:00:00.000Z"'],
  ['list', ['a\n', { b: 'ü' }], ',"list":["a\\n",{"b":"\\u00fc"}]'],
  ['error', new RangeError(`bad ${jwt}`), ',"error":"RangeError: bad [redacted]"'],
  ['error', { cause: new TypeError('no') }, ',"error":{"cause":"TypeError: no"}'],
  ['na\nme', 'x', ',"na\\u000ame":"x"'],
  ['access_token', 'abc', ',"access_token":"[redacted]"'],
  [
    'headers',
    { authorization: 'Basic dTpw', 'set-cookie': 'a=b', accept: '*/*' },
    ',"headers":{"authorization":"[redacted]","set-cookie":"[redacted]","accept":"*/*"}'
  ],
  ['token_id', 'jti-1', ',"token_id":"jti-1"']
]

for (const [name, value, json] of members) {
  test(`prints the member ${json.slice(0, 60)}`, () => assert.equal(jsonMember(name, value), json))
}

test('a value that cannot be printed says so', () => {
  const circular: Record<string, unknown> = {}
  circular['self'] = circular
  const hostile = {
    toJSON() {
      throw new Error(`boom\n${jwt}`)
    }
  }
  assert.match(jsonMember('m', circular), /^,"m":"\[unprintable: .*circular/)
  assert.equal(jsonMember('m', hostile), ',"m":"[unprintable: boom\\u000a[redacted]]"')
  const thrower = {
    toJSON() {
      throw 'text'
    }
  }
  assert.equal(jsonMember('m', thrower), ',"m":"[unprintable: object]"')
})

test('a huge value is cut to a bounded string that is still JSON', () => {
  const member = jsonMember(
    'm',
    Array.from({ length: 20_000 }, (_, i) => i)
  )
  assert.ok(member.length < 5_000)
  assert.match(JSON.parse(`{${member.slice(1)}}`).m, /^\[0,1,2,.*\[cut: \d+ more\]$/)
})
