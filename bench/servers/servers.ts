/** The servers that are compared end to end: bare, the gate with each stage added in turn, and what teams use today. */
import type { ServerUnderLoad } from '../harness/end-to-end.ts'

/** Those that the design's targets are about. */
export const stack = 'connect, five middlewares'
export const whole = 'gate: all, + usage'
export const withoutRecords = 'gate: + metrics'

export const servers: ServerUnderLoad[] = [
  { name: 'bare', file: 'bare' },
  { name: 'gate: exchange alone', file: 'gate', stages: [] },
  { name: 'gate: + auth', file: 'gate', stages: ['auth'] },
  { name: 'gate: + rate limit', file: 'gate', stages: ['auth', 'rateLimit'] },
  { name: withoutRecords, file: 'gate', stages: ['auth', 'rateLimit', 'metrics'] },
  { name: 'gate: + audit', file: 'gate', stages: ['auth', 'rateLimit', 'metrics', 'audit'] },
  { name: whole, file: 'gate', stages: ['auth', 'rateLimit', 'metrics', 'audit', 'usage'] },
  {
    name: 'gate: all, draft-11 headers only',
    file: 'gate',
    stages: ['auth', 'rateLimit', 'metrics', 'audit', 'usage', 'draft-11']
  },
  { name: stack, file: 'connect-stack' },
  { name: 'Express 5, five middlewares', file: 'express-stack' },
  { name: 'Fastify and its plugins', file: 'fastify-stack' }
]
