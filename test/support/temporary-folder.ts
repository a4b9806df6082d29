/**
 * New folders under the system's temporary folder. They are gone when the process of the test file ends, and not earlier:
 * hooks run in the order of their registration, so one that removed a folder here would run before what closes the files in it.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const folders: string[] = []

process.once('exit', () => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 10 })
})

export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'ostiary-'))
  folders.push(folder)
  return folder
}
