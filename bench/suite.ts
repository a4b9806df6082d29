/** What a benchmark file exports. `npm run bench` runs every suite in a process of its own, its contenders interleaved there. */

export interface Contender {
  /** `ostiary`, or the peer with its configuration in a few words. */
  name: string
  /** Operations that one call of `run` performs: enough that a call takes some 50 µs or more. */
  operations: number
  run(): void | Promise<void>
}

/** One comparison: the first contender is Ostiary's, the others are peers or Ostiary in another situation. */
export interface Row {
  name: string
  contenders: [Contender, ...Contender[]]
  /** What the design asks for: the peer's time over Ostiary's. Below 1 it is a bound on how much slower Ostiary may be. */
  targets?: { peer: string; ratio: number }[]
  /** Puts Ostiary's time on a curve over rows: `x` keys, tokens or whatever `of` names. */
  curve?: { of: string; x: number }
  /** ns that the design grants an operation of Ostiary. */
  mostNs?: number
  /** What else there is to say of it, such as bytes a key; the name tells the unit. */
  figures?: Figure[]
  /** Undoes what the row set up. */
  close?(): void | Promise<void>
}

/** Servers under one load, each in processes of its own. CPU a request is the figure to trust on a noisy machine. */
export interface EndToEndResult {
  name: string
  /** The first is the bare server, above which overhead counts. */
  servers: {
    name: string
    /** µs of user and system time of the server's process, a request; how it comes from slices of load is told in `compare`. */
    cpuMicros: number
    /** After the load and a garbage collection. */
    heapBytes: number
    /** What a client saw, if there was one. */
    traffic?: Traffic
  }[]
  /** The server whose overhead the others' is a share of. */
  beside?: string
  /** What the design asks for: the CPU of a server above bare, at most this share of what is above bare `beside`. */
  targets?: { path: string; server: string; share: number }[]
}

export interface Traffic {
  requestsPerSecond: number
  p50Ms: number
  p99Ms: number
  p999Ms: number
  /** Percentiles of latency: share of requests below 1, and ms. */
  latency: (readonly [share: number, ms: number])[]
}

export interface Figure {
  name: string
  value: number
  /** What the design asks for. */
  most?: number
}

/** Figures that are compared with nothing else: sizes, counts, times. */
export interface Figures {
  name: string
  unit: string
  figures: Figure[]
}

/** One server under one load for long. */
export interface Timeline {
  name: string
  moments: Moment[]
}

export interface Moment {
  /** Since the start. */
  seconds: number
  /** Since the start. */
  requests: number
  /** A request, since the moment before; as are the percentiles. */
  cpuMicros: number
  /** After a garbage collection. */
  heapBytes: number
  rssBytes: number
  p50Ms: number
  p99Ms: number
}

/** Called like its file. */
export interface Suite {
  rows?(options: { quick: boolean }): AsyncIterable<Row> | Iterable<Row>
  endToEnd?(options: { quick: boolean }): AsyncIterable<EndToEndResult>
  timelines?(options: { quick: boolean }): AsyncIterable<Timeline>
  figures?(options: { quick: boolean }): AsyncIterable<Figures>
}
