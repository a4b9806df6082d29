/** Who the client is: the socket's address, or the first untrusted address to the left of trusted proxies. */
import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'
import { checkOption } from '../options.ts'

const owner = 'clientAddress'

type Address = ipaddr.IPv4 | ipaddr.IPv6

export interface ClientAddressOptions {
  /** Number of proxies in front of this server, or the CIDRs they live in. Default 0: the socket's address. */
  trustProxy?: number | readonly string[]
  /** Bits of an IPv6 address that make one client, 32 to 128. Default 64. */
  ipv6Prefix?: number
}

const nat64 = ipaddr.IPv6.parse('64:ff9b::')

/**
 * Resolves the client of a request behind trusted proxies and turns an address into a key.
 * From the right of `X-Forwarded-For` the first untrusted address is the client; what is not an address ends the
 * walk at the last good hop, so text that an attacker chose is never an answer.
 *
 * @throws TypeError when `trustProxy` or `ipv6Prefix` is not what it must be.
 */
export class ClientAddress {
  readonly #hops: number
  readonly #trusted: readonly [Address, number][]
  readonly #ipv6Prefix: number
  /** False when the headers are never consulted: then one answer holds for a whole connection. */
  readonly readsHeaders: boolean

  constructor(options: ClientAddressOptions = {}) {
    const { trustProxy = 0, ipv6Prefix = 64 } = options
    const isPrefix = Number.isInteger(ipv6Prefix) && ipv6Prefix >= 32 && ipv6Prefix <= 128
    checkOption(isPrefix, owner, 'ipv6Prefix', 'an integer from 32 to 128', ipv6Prefix)
    const isTrust = Array.isArray(trustProxy) || (Number.isInteger(trustProxy) && Number(trustProxy) >= 0)
    checkOption(isTrust, owner, 'trustProxy', 'a number of hops or a list of CIDRs', trustProxy)
    this.#ipv6Prefix = ipv6Prefix
    this.#hops = typeof trustProxy === 'number' ? trustProxy : 0
    this.#trusted = typeof trustProxy === 'number' ? [] : trustedRanges(trustProxy)
    this.readsHeaders = this.#hops > 0 || this.#trusted.length > 0
  }

  /**
   * The client's address in its canonical spelling, or undefined when there is none (Unix sockets, destroyed sockets).
   * @param remoteAddress what the socket says
   * @param forwardedFor the `X-Forwarded-For` field, several lines joined by commas
   */
  resolve(remoteAddress: string | undefined, forwardedFor: string | undefined): string | undefined {
    let client = parseAddress(remoteAddress)
    if (!this.readsHeaders || forwardedFor === undefined) return client?.toString()
    let end = forwardedFor.length
    // A Unix socket has no address; its peer is the first hop all the same.
    for (let hop = 1; end > 0 && this.#trusts(client, hop); hop++) {
      const comma = forwardedFor.lastIndexOf(',', end - 1)
      const next = parseAddress(withoutPort(forwardedFor.slice(comma + 1, end).trim()))
      if (next === undefined) break
      client = next
      end = comma
    }
    return client?.toString()
  }

  /** One key for every spelling of one client: `ip:` and the IPv4 address, or the IPv6 prefix. */
  keyOf(canonicalAddress: string): string {
    if (!canonicalAddress.includes(':')) return `ip:${canonicalAddress}`
    const address = ipaddr.IPv6.parse(canonicalAddress)
    if (address.match(nat64, 96)) return `ip:${address.toByteArray().slice(12).join('.')}`
    if (this.#ipv6Prefix === 128 || address.range() === 'loopback') return `ip:${canonicalAddress}`
    const network = ipaddr.IPv6.networkAddressFromCIDR(`${canonicalAddress}/${this.#ipv6Prefix}`)
    return `ip:${network}/${this.#ipv6Prefix}`
  }

  #trusts(address: Address | undefined, hop: number): boolean {
    if (hop <= this.#hops) return true
    if (address === undefined) return false
    for (const [network, bits] of this.#trusted) {
      if (network.kind() === address.kind() && address.match(network as never, bits)) return true
    }
    return false
  }
}

function trustedRanges(trustProxy: readonly string[]): [Address, number][] {
  return trustProxy.map(text => {
    try {
      const [network, bits] = ipaddr.parseCIDR(
        text.includes('/') ? text : `${text}/${text.includes(':') ? 128 : 32}`
      )
      if (network.kind() === 'ipv6' && (network as ipaddr.IPv6).isIPv4MappedAddress() && bits >= 96) {
        return [(network as ipaddr.IPv6).toIPv4Address(), bits - 96] as [Address, number]
      }
      return [network, bits] as [Address, number]
    } catch {
      throw new TypeError(`${owner}: trustProxy must hold addresses or CIDRs, got ${JSON.stringify(text)}`)
    }
  })
}

function parseAddress(text: string | undefined): Address | undefined {
  // isIP is strict where ipaddr.js is lenient: octal, hex and one-number forms are not addresses here.
  if (text === undefined || isIP(text) === 0) return undefined
  const zone = text.indexOf('%')
  return ipaddr.process(zone === -1 ? text : text.slice(0, zone))
}

function withoutPort(text: string): string {
  if (text.startsWith('[')) {
    const bracket = text.indexOf(']')
    return bracket > 0 && /^(:\d{1,5})?$/.test(text.slice(bracket + 1)) ? text.slice(1, bracket) : text
  }
  const colon = text.indexOf(':')
  return colon > 0 && colon === text.lastIndexOf(':') && /^\d{1,5}$/.test(text.slice(colon + 1))
    ? text.slice(0, colon)
    : text
}
