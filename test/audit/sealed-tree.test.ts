import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { BatchTree, leafHasher } from '../../lib/audit/sealed-tree.ts'
import { fc } from '../support/seeded.ts'

function leaf(bytes: string | Uint8Array): Buffer {
  return leafHasher().update(bytes).digest()
}

/** From the tests of transparency-dev/merkle, where the test data of RFC 6962 lives on. */
const leaves = [
  '',
  '00',
  '10',
  '2021',
  '3031',
  '40414243',
  '5051525354555657',
  '606162636465666768696a6b6c6d6e6f'
]
const roots = [
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328'
]

test('leaves, nodes and the empty tree hash as in RFC 6962', () => {
  assert.equal(leaf('').toString('hex'), roots[0])
  assert.equal(
    leaf('L123456').toString('hex'),
    '395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56'
  )
  assert.equal(
    BatchTree.empty.root().toString('hex'),
    'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
  )
  // A node of two texts that are no hashes: two "leaves" of a tree that was put together by hand.
  const tree = BatchTree.empty.append(Buffer.from('N123')).append(Buffer.from('N456'))
  assert.equal(
    tree.root().toString('hex'),
    'aa217fe888e47007fa15edab33c2b492a722cb106c64667fc2b044444de66bbb'
  )
})

test('the roots of the published tree, at each size', () => {
  let tree = BatchTree.empty
  for (const [i, hex] of leaves.entries()) {
    tree = tree.append(leaf(Buffer.from(hex, 'hex')))
    assert.equal(tree.size, i + 1)
    assert.equal(tree.root().toString('hex'), roots[i])
  }
})

/** Section 2.1, as it is written. */
function treeHash(hashes: Buffer[]): Buffer {
  if (hashes.length === 1) return hashes[0]
  let k = 1
  while (k * 2 < hashes.length) k *= 2
  const [left, right] = [treeHash(hashes.slice(0, k)), treeHash(hashes.slice(k))]
  return createHash('sha256')
    .update(Buffer.concat([Uint8Array.of(1), left, right]))
    .digest()
}

test('appending gives what the recursive definition gives, from any size that was taken up again', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 130 }), fc.nat(129), (size, cut) => {
      const hashes = Array.from({ length: size }, (_, i) => leaf(String(i)))
      let tree = BatchTree.empty
      for (const [i, hash] of hashes.entries()) {
        if (i === cut) tree = BatchTree.of(tree.size, tree.hashes)!
        tree = tree.append(hash)
      }
      assert.deepEqual(tree.root(), treeHash(hashes))
    }),
    { numRuns: 60 }
  )
})

test('a tree of the wrong number of hashes, or of what is no hash, is none', () => {
  const hash = leaf('x')
  assert.ok(BatchTree.of(5, [hash, hash]))
  assert.equal(BatchTree.of(5, [hash]), undefined)
  assert.equal(BatchTree.of(4, [hash, hash]), undefined)
  assert.equal(BatchTree.of(4, [hash.subarray(1)]), undefined)
  assert.ok(BatchTree.of(2 ** 40 + 1, [hash, hash]))
})
