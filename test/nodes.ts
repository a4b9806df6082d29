/**
 * `npm run test:nodes`: runs the tests on every supported major version of Node, from the npm package `node`, and prints
 * one line for each. Arguments are versions to run instead, and `--` before files: `npm run test:nodes 24 -- test/gate.test.ts`.
 */
import { execFileSync, spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'

const supported = ['20', '22', '24', '26']
/** ms after which a test that hangs is given up; a test file before Node 24. */
const testTimeoutMs = 1_200_000
/** ms after which a whole run is: what still runs then is named. */
const runTimeoutMs = 3_600_000

interface Run {
  version: string
  passed: boolean
  counts: string
  seconds: number
  output: string
}

const separator = process.argv.indexOf('--', 2)
const versions = process.argv.slice(2, separator === -1 ? undefined : separator)
const files = separator === -1 ? testFiles() : process.argv.slice(separator + 1)
const runs: Run[] = []
for (const version of versions.length === 0 ? supported : versions) {
  const run = await runOn(version, files)
  if (!run.passed) console.log(run.output)
  console.log(`${run.passed ? 'ok  ' : 'FAIL'} ${run.version}: ${run.counts} in ${run.seconds} s`)
  runs.push(run)
}
if (runs.some(({ passed }) => !passed)) {
  const failed = runs.filter(({ passed }) => !passed).map(({ version }) => version)
  console.log(`Failed on ${failed.join(', ')}`)
  process.exitCode = 1
}

function testFiles(): string[] {
  // Node 20 expands no patterns.
  return readdirSync('test', { recursive: true, encoding: 'utf8' })
    .filter(file => file.endsWith('.test.ts'))
    .map(file => `test/${file}`)
    .sort()
}

/** The path of a Node of this version; npm fetches it the first time. */
function binaryOf(version: string): string {
  return execFileSync('npx', ['--yes', `node@${version}`, '--print', 'process.execPath'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit']
  }).trim()
}

function runOn(version: string, files: string[]): Promise<Run> {
  const binary = binaryOf(version)
  const exact = execFileSync(binary, ['--version'], { encoding: 'utf8' }).trim()
  const startedAt = performance.now()
  const args = [
    '--import',
    'tsx',
    '--test',
    '--test-reporter=spec',
    `--test-concurrency=${availableParallelism()}`,
    `--test-timeout=${testTimeoutMs}`,
    ...files
  ]
  const child = spawn(binary, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: runTimeoutMs })
  const output: Buffer[] = []
  child.stdout.on('data', chunk => output.push(chunk))
  child.stderr.on('data', chunk => output.push(chunk))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', code => {
      const text = Buffer.concat(output).toString()
      const count = (what: string) => new RegExp(`^ℹ ${what} (\\d+)$`, 'm').exec(text)?.[1] ?? '?'
      resolve({
        version: exact,
        passed: code === 0,
        counts: `${count('pass')} passed, ${count('fail')} failed, ${count('skipped')} skipped`,
        seconds: Math.round((performance.now() - startedAt) / 1_000),
        // What failed stands at the end.
        output: text.slice(Math.max(0, text.indexOf('✖ failing tests:')))
      })
    })
  })
}
