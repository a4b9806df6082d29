/**
 * Options are checked here, and what is wrong with one is said in one form of words. On the ground floor, as `http/` is: every
 * part imports it.
 */

/** `RateLimiter: maxRequests must be a positive integer, got 0`. */
export function wrongOption(
  owner: string,
  option: string,
  rule: string,
  value: unknown,
  Wrong: TypeErrorConstructor | RangeErrorConstructor = TypeError
): Error {
  return new Wrong(`${owner}: ${option} must be ${rule}, got ${String(value)}`)
}

/** A text or a list as it stands in an error text; anything else as it prints itself. */
export function shown(value: unknown): string {
  return typeof value === 'string' || Array.isArray(value) ? JSON.stringify(value) : String(value)
}

/**
 * For what is checked once: what is to be shown of the value is worked out before.
 * @throws TypeError unless the option is right
 */
export function checkOption(
  isRight: boolean,
  owner: string,
  option: string,
  rule: string,
  value: unknown
): asserts isRight {
  if (!isRight) throw wrongOption(owner, option, rule, value)
}

export function checkFunction(owner: string, option: string, value: unknown): void {
  checkOption(typeof value === 'function', owner, option, 'a function', value)
}

export function checkBoolean(owner: string, option: string, value: unknown): void {
  checkOption(typeof value === 'boolean', owner, option, 'true or false', value)
}

export function checkObject(owner: string, option: string, value: unknown): void {
  checkOption(typeof value === 'object' && value !== null, owner, option, 'an object', shown(value))
}

/** @param least 0 or 1 */
export function checkInteger(owner: string, option: string, value: unknown, least: 0 | 1): void {
  const isRight = Number.isSafeInteger(value) && (value as number) >= least
  checkOption(isRight, owner, option, `a ${least === 0 ? 'non-negative' : 'positive'} integer`, value)
}

/** Above zero and finite. */
export function checkPositive(owner: string, option: string, value: unknown): void {
  checkOption(Number.isFinite(value) && (value as number) > 0, owner, option, 'a positive number', value)
}

/** What a timer can wait for. */
export function checkMs(owner: string, option: string, value: number): void {
  const isRight = typeof value === 'number' && value > 0 && value <= 0x7fff_ffff
  checkOption(isRight, owner, option, 'a positive number of ms', value)
}

/** Finite; zero is a duration too. */
export function checkSeconds(owner: string, option: string, value: number): number {
  checkOption(Number.isFinite(value) && value >= 0, owner, option, 'a number of seconds', value)
  return value
}

export function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}

/** A list of at least one text. */
export function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.length > 0 && value.every(isText)
}

/** A list of texts, which may be empty. */
export function checkTexts(owner: string, option: string, value: unknown): void {
  const isRight = Array.isArray(value) && value.every(isText)
  checkOption(isRight, owner, option, 'a list of non-empty strings', shown(value))
}

export function checkText(owner: string, option: string, value: unknown): asserts value is string {
  if (!isText(value)) throw wrongOption(owner, option, 'a non-empty string', shown(value))
}
