/** Callers that are never limited. */
import { BlockList, isIP } from 'node:net'
import type { Exchange } from '../http/exchange.ts'
import { checkOption, isText, shown } from '../options.ts'

/** What looks like a network in CIDR notation, right or wrong. */
const network = /^(?:[\d.]+|[\da-f:]*:[\da-f:.]*)\/\d+$/i

/**
 * Identifiers (`user:alice`, `client:cron`), addresses, and networks in CIDR notation.
 * @throws TypeError when an entry is none of these
 */
export class AllowList {
  readonly #identifiers = new Set<string>()
  readonly #networks = new BlockList()
  #hasNetworks = false

  constructor(entries: readonly string[]) {
    checkOption(Array.isArray(entries), 'rateLimit', 'allow', 'a list', shown(entries))
    for (const entry of entries) this.#add(entry)
  }

  /** @param identifiers whose budgets the request would use */
  has(exchange: Exchange, identifiers: readonly string[]): boolean {
    if (identifiers.some(identifier => this.#identifiers.has(identifier))) return true
    const address = this.#hasNetworks ? exchange.clientAddress : undefined
    return address !== undefined && this.#networks.check(address, familyOf(address))
  }

  #add(entry: unknown): void {
    if (!isText(entry)) throw wrongEntry(entry)
    const slash = entry.lastIndexOf('/')
    const address = slash === -1 ? entry : entry.slice(0, slash)
    if (isIP(address) === 0) {
      // A network that was misspelt would be an identifier that nobody has.
      if (network.test(entry)) throw wrongEntry(entry)
      this.#identifiers.add(entry)
      return
    }
    const most = isIP(address) === 4 ? 32 : 128
    const bits = slash === -1 ? most : Number(entry.slice(slash + 1))
    if (!Number.isInteger(bits) || bits < 0 || bits > most || entry.endsWith('/')) throw wrongEntry(entry)
    this.#networks.addSubnet(address, bits, familyOf(address))
    this.#hasNetworks = true
  }
}

function wrongEntry(entry: unknown): TypeError {
  return new TypeError(`rateLimit: allow must hold identifiers, addresses and CIDRs, got ${shown(entry)}`)
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return address.includes(':') ? 'ipv6' : 'ipv4'
}
