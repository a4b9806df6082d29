/** What usage records share: an API token is mostly one program that asks for few things. */

/** All of a record but when it was and how long it took. Records that are alike point to one group. */
export class UsageGroup {
  readonly tokenJti: string
  readonly userEmail: string
  readonly endpoint: string
  readonly method: string
  readonly ipAddress: string | null
  readonly userAgent: string | null
  readonly statusCode: number
  readonly blocked: boolean
  readonly blockReason: string | null
  /** @internal All groups of the token by endpoint, once there are two. */
  siblings: Map<string, UsageGroup> | undefined = undefined
  /** @internal The group before of the same token and endpoint. */
  older: UsageGroup | undefined = undefined
  /** @internal Its newest run while a batch is put into runs, else -1. */
  run = -1

  constructor(
    tokenJti: string,
    userEmail: string,
    endpoint: string,
    method: string,
    ipAddress: string | null,
    userAgent: string | null,
    statusCode: number,
    blocked: boolean,
    blockReason: string | null
  ) {
    this.tokenJti = tokenJti
    this.userEmail = userEmail
    this.endpoint = endpoint
    this.method = method
    this.ipAddress = ipAddress
    this.userAgent = userAgent
    this.statusCode = statusCode
    this.blocked = blocked
    this.blockReason = blockReason
  }
}

/** Of the groups of one token and endpoint, those that a record is compared with, from the newest on. */
const groupsTried = 8

/** Finds the group that a record belongs to, and makes it when there is none. */
export class UsageGroups {
  /** One group of each token. */
  readonly #ofToken = new Map<string, UsageGroup>()
  #last: UsageGroup | undefined

  /** The members of a `UsageRecord`, one by one: nothing is made for a record whose group is known. */
  of(
    tokenJti: string,
    userEmail: string,
    endpoint: string,
    method: string,
    ipAddress: string | null,
    userAgent: string | null,
    statusCode: number,
    blocked: boolean,
    blockReason: string | null
  ): UsageGroup {
    const last = this.#last
    const known = last !== undefined && last.tokenJti === tokenJti ? last : this.#ofToken.get(tokenJti)
    const newest = known === undefined ? undefined : newestOf(known, endpoint)
    let group = newest
    for (let tried = 0; group !== undefined && tried < groupsTried; tried++, group = group.older) {
      if (
        group.ipAddress === ipAddress &&
        group.statusCode === statusCode &&
        group.method === method &&
        group.userAgent === userAgent &&
        group.userEmail === userEmail &&
        group.blocked === blocked &&
        group.blockReason === blockReason
      ) {
        if (group !== last) this.#last = group
        return group
      }
    }
    group = new UsageGroup(
      tokenJti,
      userEmail,
      endpoint,
      method,
      ipAddress,
      userAgent,
      statusCode,
      blocked,
      blockReason
    )
    if (known === undefined) this.#ofToken.set(tokenJti, group)
    else join(group, known, newest)
    this.#last = group
    return group
  }

  /** Later records get groups of their own, and these are held by their records alone. */
  clear(): void {
    this.#ofToken.clear()
    this.#last = undefined
  }
}

/** The newest group of an endpoint among those of the token that `known` is of. */
function newestOf(known: UsageGroup, endpoint: string): UsageGroup | undefined {
  if (known.siblings !== undefined) return known.siblings.get(endpoint)
  return known.endpoint === endpoint ? known : undefined
}

/** Puts a group beside one of the same token. @param older the newest of its endpoint */
function join(group: UsageGroup, known: UsageGroup, older: UsageGroup | undefined): void {
  known.siblings ??= new Map([[known.endpoint, known]])
  known.siblings.set(group.endpoint, group)
  group.siblings = known.siblings
  group.older = older
}
