import { spawnSync } from 'node:child_process'

/**
 * Why a test that needs an installed program must be skipped, or false when it can run.
 * With OSTIARY_NO_SKIP=1, as in CI, nothing is skipped: the test runs, and fails if the program is missing.
 */
export function missing(program: string): string | false {
  if (process.env['OSTIARY_NO_SKIP'] === '1') return false
  const found = spawnSync(program, ['--version'], { stdio: 'ignore' })
  return found.error === undefined ? false : `${program} is not installed`
}
