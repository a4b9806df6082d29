/** What usage records share: an API token is mostly one program that asks for few things. */

/** All of a record but when it was and how long it took. Records of one group may point to the same object. */
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
  /** The group before of the same token. */
  readonly older: UsageGroup | undefined
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
    blockReason: string | null,
    older: UsageGroup | undefined
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
    this.older = older
  }
}

/** Of a token's groups, those that a record is compared with. */
const groupsTried = 4

/** Finds the group that a record belongs to, and makes it when there is none. */
export class UsageGroups {
  /** By token. */
  readonly #newest = new Map<string, UsageGroup>()
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
    const newest = last !== undefined && last.tokenJti === tokenJti ? last : this.#newest.get(tokenJti)
    // The newest only, or a token that asks for something else each time would be compared with all.
    let group = newest
    for (let tried = 0; group !== undefined && tried < groupsTried; tried++, group = group.older) {
      if (
        group.endpoint === endpoint &&
        group.statusCode === statusCode &&
        group.method === method &&
        group.ipAddress === ipAddress &&
        group.userAgent === userAgent &&
        group.userEmail === userEmail &&
        group.blocked === blocked &&
        group.blockReason === blockReason
      ) {
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
      blockReason,
      newest
    )
    this.#newest.set(tokenJti, group)
    this.#last = group
    return group
  }

  /** Later records get groups of their own, and these are held by their records alone. */
  clear(): void {
    this.#newest.clear()
    this.#last = undefined
  }
}
