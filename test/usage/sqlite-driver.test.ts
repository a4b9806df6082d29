import assert from 'node:assert/strict'
import { copyFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { sqliteDriver } from '../../lib/usage/sqlite-driver.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

/** What the project asks of the runtime: 22.13 and later. */
const [major, minor] = process.versions.node.split('.').map(Number)
const builtin = major > 22 || (major === 22 && minor >= 13)

test('takes node:sqlite where there is one, else libsql', () => {
  assert.equal(sqliteDriver().name, builtin ? 'node:sqlite' : 'libsql')
  assert.equal(sqliteDriver('libsql').name, 'libsql')
})

test('says so when node:sqlite is asked for and not there', {
  skip: builtin && 'this Node has node:sqlite'
}, () => {
  assert.throws(() => sqliteDriver('node:sqlite'), /sqlite: this Node \(v.*\) has no node:sqlite/)
})

test('says so when there is no driver at all', async () => {
  // The same module in a folder from which libsql cannot be found.
  const folder = temporaryFolder()
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  const copy = join(folder, 'sqlite-driver.ts')
  copyFileSync(join(import.meta.dirname, '../../lib/usage/sqlite-driver.ts'), copy)
  const lonely = (await import(pathToFileURL(copy).href)) as { sqliteDriver: typeof sqliteDriver }
  assert.throws(
    () => lonely.sqliteDriver('libsql'),
    /the package libsql cannot be loaded; install libsql, or use Node 22.13/
  )
})
