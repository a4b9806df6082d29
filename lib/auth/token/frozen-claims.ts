/** Makes claims safe to share: nobody can change them, and nothing in them can surprise a deep copy. */

/** Deeper than any provider nests; JSON.stringify and structuredClone throw a RangeError at some thousands. */
const maxDepth = 32

/**
 * Freezes a value that came out of `JSON.parse`, in place, and drops members called `__proto__`, which only exist to
 * be merged into something.
 * @returns false when it is nested more than 32 levels deep
 */
export function freezeClaims(value: unknown, depth = 0): boolean {
  if (typeof value !== 'object' || value === null) return true
  if (depth === maxDepth) return false
  if (Object.hasOwn(value, '__proto__')) Reflect.deleteProperty(value, '__proto__')
  for (const name of Object.keys(value)) {
    if (!freezeClaims((value as Record<string, unknown>)[name], depth + 1)) return false
  }
  Object.freeze(value)
  return true
}
