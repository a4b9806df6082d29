import assert from 'node:assert/strict'
import { createServer, request } from 'node:http'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { ClientAddress } from '../../lib/http/client-address.ts'
import { exchangeOf } from '../../lib/http/exchange.ts'
import { composed } from '../../lib/http/pipeline.ts'
import { fc } from '../support/seeded.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import vectors from '../vectors/client-address.json' with { type: 'json' }
import { bytesFor, start } from './wire.ts'

describe('vectors', () => {
  for (const { remoteAddress, xForwardedFor, trustProxy, address } of vectors.addresses) {
    test(`${remoteAddress} with ${xForwardedFor} and ${JSON.stringify(trustProxy)} is ${address}`, () => {
      const resolver = new ClientAddress({ trustProxy })
      assert.equal(resolver.resolve(remoteAddress ?? undefined, xForwardedFor ?? undefined) ?? null, address)
    })
  }

  const keys = new ClientAddress()
  const keyOf = (text: string) => keys.keyOf(keys.resolve(text, undefined) as string)
  for (const same of vectors.keys.same) {
    test(`${same.join(', ')} share a key`, () => assert.equal(new Set(same.map(keyOf)).size, 1))
  }
  for (const different of vectors.keys.different) {
    test(`${different.join(', ')} have a key each`, () =>
      assert.equal(new Set(different.map(keyOf)).size, different.length))
  }
})

describe('who the client is', () => {
  const table: [
    string,
    ConstructorParameters<typeof ClientAddress>[0],
    string | undefined,
    string,
    string | undefined
  ][] = [
    ['an item that is empty ends the walk', { trustProxy: 3 }, '10.0.0.2', '6.6.6.6,, 10.0.0.3', '10.0.0.3'],
    ['a comma at the end is an empty item', { trustProxy: 1 }, '10.0.0.2', '6.6.6.6,', '10.0.0.2'],
    ['a hidden name is not an address', { trustProxy: 1 }, '10.0.0.2', '_hid', '10.0.0.2'],
    ['a hexadecimal number is not an address', { trustProxy: 1 }, '10.0.0.2', '0x7f000001', '10.0.0.2'],
    ['a short form is not an address', { trustProxy: 1 }, '10.0.0.2', '127.1', '10.0.0.2'],
    ['a port may be large, but is a number', { trustProxy: 1 }, '10.0.0.2', '1.2.3.4:x', '10.0.0.2'],
    ['a bracket must close', { trustProxy: 1 }, '10.0.0.2', '[2001:db8::1', '10.0.0.2'],
    ['brackets without a port', { trustProxy: 1 }, '10.0.0.2', '[2001:DB8::1]', '2001:db8::1'],
    ['something behind the brackets', { trustProxy: 1 }, '10.0.0.2', '[2001:db8::1]x', '10.0.0.2'],
    ['a zone on IPv4', { trustProxy: 1 }, '10.0.0.2', '1.2.3.4%eth0', '10.0.0.2'],
    ['mapped spellings in the list', { trustProxy: 1 }, '10.0.0.2', '::ffff:1.2.3.4', '1.2.3.4'],
    [
      'a mapped peer in a mapped range',
      { trustProxy: ['::ffff:10.0.0.0/104'] },
      '10.0.0.2',
      '1.2.3.4',
      '1.2.3.4'
    ],
    ['an IPv6 range', { trustProxy: ['2001:db8::/32'] }, '2001:db8::5', '1.2.3.4', '1.2.3.4'],
    [
      'a single address is a range',
      { trustProxy: ['10.0.0.2', '::1'] },
      '::1',
      '1.2.3.4, 10.0.0.2',
      '1.2.3.4'
    ],
    [
      'all trusted: the left-most',
      { trustProxy: ['10.0.0.0/8'] },
      '10.0.0.2',
      '10.0.0.4, 10.0.0.3',
      '10.0.0.4'
    ],
    ['a Unix socket behind one proxy', { trustProxy: 1 }, undefined, '1.2.3.4', '1.2.3.4'],
    ['a Unix socket behind trusted ranges', { trustProxy: ['0.0.0.0/0'] }, undefined, '1.2.3.4', undefined],
    ['a Unix socket with text', { trustProxy: 1 }, undefined, 'undefined', undefined]
  ]
  for (const [name, options, remoteAddress, forwardedFor, address] of table) {
    test(name, () => assert.equal(new ClientAddress(options).resolve(remoteAddress, forwardedFor), address))
  }

  test('a list of 8 kB takes no longer than its length', () => {
    const resolver = new ClientAddress({ trustProxy: ['10.0.0.0/8'] })
    assert.equal(resolver.resolve('10.0.0.1', ','.repeat(8_192)), '10.0.0.1')
    assert.equal(resolver.resolve('10.0.0.1', '10.0.0.9,'.repeat(910).slice(0, -1)), '10.0.0.9')
  })

  test('IPv6 clients share a key by their prefix', () => {
    const byPrefix = (ipv6Prefix: number, text: string) => new ClientAddress({ ipv6Prefix }).keyOf(text)
    assert.equal(byPrefix(56, '2001:db8:0:12::1'), byPrefix(56, '2001:db8:0:ff::2'))
    assert.notEqual(byPrefix(56, '2001:db8:0:12::1'), byPrefix(56, '2001:db8:0:112::1'))
    assert.notEqual(byPrefix(128, '2001:db8::1'), byPrefix(128, '2001:db8::2'))
    assert.notEqual(byPrefix(64, '::1'), byPrefix(64, '::2'))
    const hosts = Array.from(
      { length: 10_000 },
      (_, i) => `2001:db8:1:2:${i.toString(16)}::${i.toString(16)}`
    )
    assert.equal(
      new Set(hosts.map(host => byPrefix(64, new ClientAddress().resolve(host, undefined) ?? ''))).size,
      1
    )
  })
})

describe('what is sent changes nothing', () => {
  const octets = fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255)).map(parts => parts.join('.'))
  const address = fc.oneof(octets, fc.ipV6())
  const item = fc.oneof(
    address,
    fc.string(),
    fc.constantFrom('unknown', '', '_hid', '127.0.0.1:80', '[::1]:443')
  )
  const field = fc.array(item, { maxLength: 6 }).map(items => items.join(', '))

  test('from a peer that is not trusted', () => {
    const resolvers = [new ClientAddress(), new ClientAddress({ trustProxy: ['10.0.0.0/8', 'fd00::/8'] })]
    fc.assert(
      fc.property(address, field, (peer, forwardedFor) => {
        fc.pre(!peer.startsWith('10.') && !/^fd/i.test(peer) && !/^::ffff:(10\.|a[0-9a-f]{2}:)/i.test(peer))
        for (const resolver of resolvers) {
          assert.equal(resolver.resolve(peer, forwardedFor), resolver.resolve(peer, undefined))
        }
      })
    )
  })

  test('to the left of the proxies that are trusted', () => {
    fc.assert(
      fc.property(field, octets, (attackers, client) => {
        const behindOne = new ClientAddress({ trustProxy: 1 })
        assert.equal(behindOne.resolve('10.0.0.2', `${attackers}, ${client}`), client)
        fc.pre(!client.startsWith('10.'))
        const behindRanges = new ClientAddress({ trustProxy: ['10.0.0.0/8'] })
        assert.equal(behindRanges.resolve('10.0.0.2', `${attackers}, ${client}, 10.0.0.3`), client)
      })
    )
  })

  test('into an answer that is no address', () => {
    const resolver = new ClientAddress({ trustProxy: 9 })
    fc.assert(
      fc.property(field, forwardedFor => {
        const client = resolver.resolve('10.0.0.2', forwardedFor) ?? ''
        assert.equal(client, resolver.resolve(client, undefined), 'canonical')
        assert.match(resolver.keyOf(client), /^ip:[0-9a-f.:/]+$/)
      })
    )
  })
})

describe('wrong options are named', () => {
  const table: [object, RegExp][] = [
    [{ trustProxy: true }, /trustProxy must be a number of hops or a list of CIDRs, got true/],
    [{ trustProxy: -1 }, /got -1/],
    [{ trustProxy: 0.5 }, /got 0.5/],
    [{ trustProxy: Number.NaN }, /got NaN/],
    [{ trustProxy: Number.POSITIVE_INFINITY }, /got Infinity/],
    [{ trustProxy: 'loopback' }, /got loopback/],
    [{ trustProxy: ['loopback'] }, /trustProxy must hold addresses or CIDRs, got "loopback"/],
    [{ trustProxy: ['10.0.0.0/33'] }, /got "10.0.0.0\/33"/],
    [{ trustProxy: [''] }, /got ""/],
    [{ trustProxy: [10] }, /got 10/],
    [{ ipv6Prefix: 31 }, /ipv6Prefix must be an integer from 32 to 128, got 31/],
    [{ ipv6Prefix: 129 }, /got 129/],
    [{ ipv6Prefix: '64' }, /got 64/]
  ]
  for (const [options, message] of table) {
    test(JSON.stringify(options), () =>
      assert.throws(() => new ClientAddress(options as never), { name: 'TypeError', message })
    )
  }
})

describe('on a server', () => {
  test('one connection may carry several clients', async () => {
    const seen: unknown[] = []
    const app = composed([], { clientAddress: new ClientAddress({ trustProxy: 1 }) }).wrap((req, res) => {
      const { clientAddress, clientAddressKey } = exchangeOf(req)
      seen.push([clientAddress, clientAddressKey])
      res.end()
    })
    const server = await start(app)
    const from = (...addresses: string[]) =>
      `GET / HTTP/1.1\r\nHost: x\r\n${addresses.map(address => `X-Forwarded-For: ${address}\r\n`).join('')}`
    const requests = [from('1.2.3.4'), from('6.6.6.6', '2001:db8::1'), from(), from('1.2.3.4')].join('\r\n')
    await bytesFor(server.port, `${requests}Connection: close\r\n\r\n`)
    await server.stop()
    assert.deepEqual(seen, [
      ['1.2.3.4', 'ip:1.2.3.4'],
      ['2001:db8::1', 'ip:2001:db8::/64'],
      ['127.0.0.1', 'ip:127.0.0.1'],
      ['1.2.3.4', 'ip:1.2.3.4']
    ])
  })

  test('a Unix socket has no address and no key', async t => {
    const folder = temporaryFolder()
    const socketPath = join(folder, 'http.sock')
    const seen: unknown[] = []
    const server = createServer(
      composed([]).wrap((req, res) => {
        const { clientAddress, clientAddressKey } = exchangeOf(req)
        seen.push(clientAddress, clientAddressKey)
        res.end()
      })
    ).listen(socketPath)
    t.after(() => {
      server.close()
    })
    await new Promise(resolve => server.on('listening', resolve))
    await new Promise(resolve =>
      request({ socketPath, headers: { 'X-Forwarded-For': '1.2.3.4' } }, response => {
        response.resume().on('end', resolve)
      }).end()
    )
    assert.deepEqual(seen, [undefined, undefined])
  })

  test('a destroyed socket has none either', async () => {
    const seen: unknown[] = []
    const app = composed([]).wrap(req => {
      const { clientAddress, clientAddressKey } = exchangeOf(req)
      seen.push(clientAddress, clientAddressKey)
    })
    const server = await start((req, res) => {
      req.socket.destroy()
      app(req, res)
    })
    await bytesFor(server.port, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    await server.stop()
    assert.deepEqual(seen, [undefined, undefined])
  })
})
