/** What a gate is told is checked here, before anything of it is made. */
import type { GateOptions } from './gate.ts'
import { checkPathFilterOptions } from './http/path-filter.ts'
import { checkBoolean, checkFunction, checkObject, wrongOption } from './options.ts'

const optionNames = new Set<string>([
  'auth',
  'failedAttempts',
  'rateLimit',
  'audit',
  'usage',
  'metrics',
  'skip',
  'trustProxy',
  'ipv6Prefix',
  'onReport',
  'asyncContext',
  'closeGraceMs'
] satisfies (keyof GateOptions)[])

/**
 * A misspelt option would leave a stage out without a word. What is in the options of a stage is checked by the stage.
 * @throws TypeError that names the option and shows the value
 */
export function checkGateOptions(options: GateOptions): void {
  checkObject('ostiary', 'options', options)
  for (const [name, value] of Object.entries(options)) {
    if (!optionNames.has(name))
      throw new TypeError(`ostiary: there is no option ${name}, got ${String(value)}`)
  }
  for (const name of ['auth', 'failedAttempts', 'rateLimit', 'audit', 'usage'] as const) {
    const value: unknown = options[name]
    if (value !== undefined && value !== false && (typeof value !== 'object' || value === null)) {
      throw wrongOption('ostiary', name, 'an object or false', value)
    }
  }
  const { asyncContext, onReport, skip } = options
  if (skip !== undefined) checkPathFilterOptions('ostiary', 'skip', skip)
  if (onReport !== undefined) checkFunction('ostiary', 'onReport', onReport)
  if (asyncContext !== undefined) checkBoolean('ostiary', 'asyncContext', asyncContext)
  const { metrics } = options
  if (
    metrics !== undefined &&
    typeof metrics !== 'boolean' &&
    (typeof metrics !== 'object' || metrics === null)
  ) {
    throw wrongOption('ostiary', 'metrics', 'an object, true or false', metrics)
  }
}
