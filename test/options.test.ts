import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  checkBoolean,
  checkFunction,
  checkInteger,
  checkMs,
  checkOption,
  checkPositive,
  checkSeconds,
  checkText,
  isText,
  isTexts,
  shown,
  wrongOption
} from '../lib/options.ts'

type Check = (owner: string, option: string, value: never) => void

const atLeastZero: Check = (owner, option, value) => checkInteger(owner, option, value, 0)
const atLeastOne: Check = (owner, option, value) => checkInteger(owner, option, value, 1)

const checks: [check: Check, rule: string, right: unknown[], wrong: [value: unknown, text: string][]][] = [
  [
    checkFunction,
    'a function',
    [() => 1, class {}],
    [
      [undefined, 'undefined'],
      ['ip', 'ip'],
      [{}, '[object Object]']
    ]
  ],
  [
    checkBoolean,
    'true or false',
    [true, false],
    [
      [undefined, 'undefined'],
      ['no', 'no'],
      [1, '1'],
      [null, 'null']
    ]
  ],
  [
    atLeastOne,
    'a positive integer',
    [1, 2 ** 53 - 1],
    [
      [0, '0'],
      [-1, '-1'],
      [1.5, '1.5'],
      ['9', '9'],
      [Number.NaN, 'NaN'],
      [Infinity, 'Infinity'],
      [undefined, 'undefined']
    ]
  ],
  [
    atLeastZero,
    'a non-negative integer',
    [0, 1],
    [
      [-1, '-1'],
      [0.5, '0.5'],
      [null, 'null']
    ]
  ],
  [
    checkPositive,
    'a positive number',
    [0.001, 1e300],
    [
      [0, '0'],
      [-1, '-1'],
      ['5', '5'],
      [Number.NaN, 'NaN'],
      [Infinity, 'Infinity']
    ]
  ],
  [
    checkMs,
    'a positive number of ms',
    [0.5, 2 ** 31 - 1],
    [
      [0, '0'],
      [2 ** 31, '2147483648'],
      [Number.NaN, 'NaN'],
      [undefined, 'undefined']
    ]
  ],
  [
    checkSeconds,
    'a number of seconds',
    [0, 0.5, 1e9],
    [
      [-1, '-1'],
      [Infinity, 'Infinity'],
      [Number.NaN, 'NaN'],
      ['5', '5']
    ]
  ],
  [
    checkText,
    'a non-empty string',
    ['a', ' '],
    [
      ['', '""'],
      [undefined, 'undefined'],
      [7, '7'],
      [['a'], '["a"]']
    ]
  ]
]

for (const [check, rule, right, wrong] of checks) {
  test(`${rule}: what is taken`, () => {
    for (const value of right) check('Owner', 'option', value as never)
  })
  for (const [value, text] of wrong) {
    test(`${rule}: ${text} is refused by name`, () => {
      assert.throws(() => check('Owner', 'option', value as never), {
        name: 'TypeError',
        message: `Owner: option must be ${rule}, got ${text}`
      })
    })
  }
}

test('a rule of its own is said in the same words', () => {
  checkOption(true, 'Owner', 'option', 'less', 5)
  const message = 'Owner: option must be less, got 5'
  assert.throws(() => checkOption(false, 'Owner', 'option', 'less', 5), { name: 'TypeError', message })
  assert.equal(wrongOption('Owner', 'option', 'less', 5).message, message)
  assert.deepEqual(wrongOption('Owner', 'option', 'less', 5, RangeError), new RangeError(message))
})

test('seconds are handed back', () => {
  assert.equal(checkSeconds('Owner', 'option', 2.5), 2.5)
})

test('texts and lists are shown as in code, all else as it prints itself', () => {
  assert.deepEqual(['a"b', ['a', 1], [], 5n, Symbol('s'), { a: 1 }, null].map(shown), [
    '"a\\"b"',
    '["a",1]',
    '[]',
    '5',
    'Symbol(s)',
    '[object Object]',
    'null'
  ])
})

test('a list of texts has one, and nothing else', () => {
  assert.deepEqual([['a'], ['a', 'b']].map(isTexts), [true, true])
  assert.deepEqual([[], ['a', ''], ['a', 1], 'a', undefined].map(isTexts), [
    false,
    false,
    false,
    false,
    false
  ])
  assert.deepEqual(['a', '', 1, undefined].map(isText), [true, false, false, false])
})
