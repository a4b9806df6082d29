/** JSON strings for a log that is one event a line: printable ASCII only, bounded, and without tokens. */

/** Characters of one logged string; the rest is cut off, and the cut shows. */
const maxText = 2_048
/** Characters of one logged value that is not a string. */
const maxValue = 16_384

/** What needs a second look: anything but printable ASCII, quotes, backslashes, and what may be a credential. */
const suspect = /[^ !#-[\]-~]|eyJ|bearer|token=/i
const unprintable = /[^ !#-[\]-~]/g
/** JSON that was base64url-encoded (every JWT and JWE starts so), and what follows `Bearer` or `token=`. */
const credential = /eyJ[\w-]{8,}[\w.-]*|(bearer(?:\s|%20|[:=+])+|token=)[^\s"&;]+/gi
/** Members that hold a secret by their name. */
const secretName = /authorization$|cookie$|password$|secret$|token$|(?:api|access|private)[-_]?key$/i

/** The text as a JSON string. What looks like a token is replaced, what is too long is cut. */
export function jsonString(text: string): string {
  if (isPlain(text)) return `"${text}"`
  return `"${redacted(text).replace(unprintable, escapeUnit)}"`
}

/** A named member of an object, value and all, with a comma before it. Never throws: what cannot be printed says so. */
export function jsonMember(name: string, value: unknown): string {
  return `,${jsonString(name)}:${jsonValue(name, value)}`
}

function jsonValue(name: string, value: unknown): string {
  if (typeof value === 'string' && isPlain(value) && !secretName.test(name)) return `"${value}"`
  try {
    const text = JSON.stringify(redactMember(name, value), redactMember)
    if (text === undefined) return 'null'
    return text.length > maxValue ? jsonString(text) : text.replace(/[^ -~]/g, escapeUnit)
  } catch (error) {
    return jsonString(`[unprintable: ${error instanceof Error ? error.message : typeof value}]`)
  }
}

/** Whether a text can be printed as it is. */
function isPlain(text: string): boolean {
  return text.length <= maxText && !suspect.test(text)
}

/** A replacer for `JSON.stringify`. */
function redactMember(name: string, value: unknown): unknown {
  if (typeof value === 'string') return secretName.test(name) ? '[redacted]' : redacted(value)
  if (typeof value === 'bigint') return String(value)
  return value instanceof Error ? redacted(String(value)) : value
}

/** The text without what looks like a token, at most `maxText` characters of it. */
export function redacted(text: string): string {
  // Cut first: what an attacker made long is not searched to its end.
  const cut = text.length > maxText ? text.slice(0, maxText) : text
  const clean = cut.replace(credential, (_match, lead: string | undefined) => `${lead ?? ''}[redacted]`)
  return cut === text ? clean : `${clean}[cut: ${text.length - maxText} more]`
}

/** One UTF-16 code unit, so that a lone surrogate is as valid as the rest. */
function escapeUnit(unit: string): string {
  if (unit === '"') return '\\"'
  if (unit === '\\') return '\\\\'
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`
}
