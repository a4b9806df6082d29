/** Property tests try the same values in every run, so that nothing but a change can fail them; FC_SEED has them try others. */
import fc from 'fast-check'

fc.configureGlobal({ seed: Number(process.env['FC_SEED'] ?? 1_729) })

export { fc }
