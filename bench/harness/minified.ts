/** What an import weighs as a bundler would ship it. */
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

/**
 * @param names what is imported from the main entry, such as `*` or `{ ostiary }`
 * @returns KiB of the library's own code, minified, without its dependencies
 */
export async function minifiedKibibytes(names: string): Promise<number> {
  const { metafile } = await build({
    stdin: {
      contents: `export ${names} from './lib/index.ts'`,
      resolveDir: fileURLToPath(new URL('../..', import.meta.url)),
      loader: 'ts'
    },
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'node',
    packages: 'external',
    write: false,
    metafile: true
  })
  return Object.values(metafile.outputs)[0].bytes / 1_024
}
