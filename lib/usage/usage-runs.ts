/** Usage records in runs: what the records of a batch share is there once, and their moments in one typed array. */
import { type UsageGroup, UsageGroups } from './usage-group.ts'
import { type UsageRecord, type UsageStore, wholeMicros } from './usage-store.ts'

/** Records of one batch and one group, in the order in which they were made. */
export interface UsageRuns {
  readonly groups: readonly UsageGroup[]
  /** Records of each run, at most `mostInRun`. */
  readonly sizes: readonly number[]
  /** For each record of each run: epoch ms, and response time in µs. */
  readonly moments: Float64Array
}

/** A store that takes what the recorder holds as it is, with no object a record. */
export interface RunStore extends UsageStore {
  /** As `append`. */
  appendRuns(runs: UsageRuns): Promise<void>
}

/** Records in columns, which wrap at the end. */
export interface UsageColumns {
  readonly groups: readonly (UsageGroup | undefined)[]
  /** Epoch ms. */
  readonly times: Float64Array
  readonly micros: Float64Array
}

/** A run is opened as a whole, for however few of its records. */
export const mostInRun = 1_024

/** The runs of `count` records from the slot `from` on. */
export function runsOf({ groups, times, micros }: UsageColumns, from: number, count: number): UsageRuns {
  const capacity = groups.length
  const runGroups: UsageGroup[] = []
  const sizes: number[] = []
  /** Of each record. */
  const runs = new Uint32Array(count)
  for (let i = 0, slot = from; i < count; i++, slot = slot + 1 === capacity ? 0 : slot + 1) {
    const group = groups[slot] as UsageGroup
    if (group.run < 0 || sizes[group.run] === mostInRun) {
      group.run = runGroups.push(group) - 1
      sizes.push(0)
    }
    sizes[group.run]++
    runs[i] = group.run
  }
  for (const group of runGroups) group.run = -1
  const moments = new Float64Array(2 * count)
  /** Where each run's next record goes. */
  const next = new Uint32Array(sizes.length)
  for (let r = 1; r < sizes.length; r++) next[r] = next[r - 1] + 2 * sizes[r - 1]
  for (let i = 0, slot = from; i < count; i++, slot = slot + 1 === capacity ? 0 : slot + 1) {
    const at = next[runs[i]]
    next[runs[i]] = at + 2
    moments[at] = times[slot]
    moments[at + 1] = micros[slot]
  }
  return { groups: runGroups, sizes, moments }
}

/**
 * The runs of records that somebody made.
 * @throws TypeError when a time is no time
 */
export function runsOfRecords(records: readonly UsageRecord[]): UsageRuns {
  const known = new UsageGroups()
  const times = Float64Array.from(records, record => record.timestamp.getTime())
  const micros = Float64Array.from(records, record => wholeMicros(record.responseTimeMs))
  const groups = records.map((record, i) => {
    if (!Number.isSafeInteger(times[i]) || !Number.isSafeInteger(micros[i])) {
      throw new TypeError('a usage record has no timestamp or no responseTimeMs')
    }
    return known.of(
      record.tokenJti,
      record.userEmail,
      record.endpoint,
      record.method,
      record.ipAddress,
      record.userAgent,
      record.statusCode,
      record.blocked,
      record.blockReason
    )
  })
  return runsOf({ groups, times, micros }, 0, records.length)
}

/** Whether a store takes runs. Not where somebody put another `append` before its own: they want to see the records. */
export function takesRuns(store: UsageStore): store is RunStore {
  let owner: object | null = store
  while (owner !== null && !Object.hasOwn(owner, 'append')) owner = Object.getPrototypeOf(owner)
  return owner !== null && Object.hasOwn(owner, 'appendRuns')
}
