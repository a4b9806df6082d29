/** What keys have taken, as plain JSON, for the process that comes after this one. */

/** Oldest first: ms until the units are free, and how many. */
export type StampsState = readonly (readonly [leftMs: number, units: number])[]

/** What all limiters' states have. */
export interface LimiterState {
  readonly version: 1
  readonly windowMs: number
  /** Epoch ms: between two processes there is no other clock. */
  readonly exportedAt: number
  /** The time on the clock that the limiter was given; null when it was given none. */
  readonly clockAt: number | null
  readonly keys: readonly (readonly [key: string, stamps: StampsState])[]
}

/** What `RateLimiter.export` gives and `import` takes. */
export interface RateLimiterState extends LimiterState {
  /** What keys took together for which there was no room, and for each the ms for which it stays with the others. */
  readonly overflow?: {
    readonly stamps: StampsState
    readonly keys: readonly (readonly [key: string, leftMs: number])[]
  }
}

/** Stamps on a limiter's clock. */
export type LiveStamps = [stamp: number, units: number][]

export function stampsState(stamps: LiveStamps, now: number): [leftMs: number, units: number][] {
  return stamps.map(([stamp, units]) => [stamp - now, units])
}

/**
 * ms since the export: by the wall clock, or by the limiters' own if both were given one. A clock that was set back gives
 * nothing away.
 */
export function passedSince(state: LimiterState, hasOwnClock: boolean, now: number): number {
  const isOwn = hasOwnClock && state.clockAt !== null
  return Math.max(0, isOwn ? now - (state.clockAt as number) : Date.now() - state.exportedAt)
}

/** The newest stamps that are live and up to a limit: for every decision they are as good as all of them. */
export function stampsOf(stamps: StampsState, limit: number, passedMs: number, now: number): LiveStamps {
  const kept: LiveStamps = []
  let room = limit
  for (let i = stamps.length - 1; i >= 0 && room > 0; i--) {
    const [leftMs, units] = stamps[i]
    if (leftMs <= passedMs) break
    kept.push([now + (leftMs - passedMs), Math.min(units, room)])
    room -= units
  }
  return kept.reverse()
}

/**
 * Keys that still have stamps, in order of the last one.
 * @throws TypeError when they are more than there is room for
 */
export function keysOf(
  owner: string,
  state: LimiterState,
  maxKeys: number,
  limit: number,
  passedMs: number,
  now: number
): [key: string, stamps: LiveStamps][] {
  const keys: [string, LiveStamps][] = []
  for (const [key, stamps] of state.keys) {
    const kept = stampsOf(stamps, limit, passedMs, now)
    if (kept.length > 0) keys.push([key, kept])
  }
  if (keys.length > maxKeys) {
    throw new TypeError(`${owner}: state has ${keys.length} keys, more than maxKeys ${maxKeys}`)
  }
  return keys.sort(([, one], [, other]) => lastOf(one) - lastOf(other))
}

export function lastOf(stamps: LiveStamps): number {
  return stamps[stamps.length - 1][0]
}

/**
 * @param owner begins the error texts
 * @throws TypeError when the state is none, or of another window
 */
export function checkState(owner: string, state: unknown, windowMs: number): void {
  const given = (state ?? {}) as Partial<RateLimiterState>
  const { version, exportedAt, clockAt, keys } = given
  const isTimed = Number.isFinite(exportedAt) && (clockAt === null || Number.isFinite(clockAt))
  checkExported(owner, version === 1 && isTimed && Array.isArray(keys))
  if (given.windowMs !== windowMs) {
    throw new TypeError(`${owner}: state is of a window of ${String(given.windowMs)} ms, not ${windowMs} ms`)
  }
  checkExported(
    owner,
    areKeys(keys, stamps => isStamps(stamps, windowMs))
  )
}

export function checkExported(owner: string, isExported: boolean): void {
  if (!isExported) throw new TypeError(`${owner}: import needs what export gave`)
}

/** A list of keys, each once, with what each has. */
export function areKeys(keys: unknown, isValue: (value: unknown) => boolean): boolean {
  if (!Array.isArray(keys)) return false
  const known = new Set<string>()
  return keys.every(entry => {
    if (!Array.isArray(entry) || typeof entry[0] !== 'string' || known.has(entry[0])) return false
    known.add(entry[0])
    return isValue(entry[1])
  })
}

/** A stamp is a window away at most, and one tick, which is no longer: what is further off would be counted for ever. */
export function isLeftOf(leftMs: unknown, windowMs: number): leftMs is number {
  return Number.isFinite(leftMs) && (leftMs as number) <= 2 * windowMs
}

export function isStamps(stamps: unknown, windowMs: number): boolean {
  if (!Array.isArray(stamps)) return false
  let last = -Infinity
  return stamps.every(stamp => {
    const ordered = Array.isArray(stamp) && isLeftOf(stamp[0], windowMs) && stamp[0] >= last
    last = ordered ? stamp[0] : last
    return ordered && Number.isSafeInteger(stamp[1]) && stamp[1] > 0
  })
}
