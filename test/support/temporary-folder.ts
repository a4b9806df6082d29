/**
 * New folders under the system's temporary folder. They are gone when the process of the test file ends, and not earlier:
 * hooks run in the order of their registration, so one that removed a folder here would run before what closes the files in it.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const folders: string[] = []

process.once('exit', () => {
  for (const folder of folders) {
    try {
      rmSync(folder, { recursive: true, force: true, maxRetries: 10 })
    } catch (error) {
      // What is left behind is no failure of a test.
      console.warn(`${folder} is not removed: ${(error as Error).message}`)
    }
  }
})

export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'ostiary-'))
  folders.push(folder)
  return folder
}
