/** Prints what `npm test` leaves out of the coverage: code whose tests are skipped because a server is not installed. */
import { missing } from './program.ts'

const why = missing('redis-server')
if (why !== false) {
  console.error(`${why}: its tests are skipped, and the code they run is left out of the coverage`)
  console.log('--exclude=lib/index.ts --exclude=lib/redis.ts --exclude=lib/**/redis/**')
}
