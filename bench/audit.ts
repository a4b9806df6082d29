/** One audit line, plain or sealed, from an ended request to the file, beside one pino line with the same members. */
import { mkdtempSync, rmSync } from 'node:fs'
import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pino from 'pino'
import { AuditLogger } from '../lib/audit/audit-logger.ts'
import { SealedLog } from '../lib/audit/sealed-log.ts'
import { type Exchange, openExchange } from '../lib/http/exchange.ts'
import type { Row, Suite } from './suite.ts'

const linesPerRun = 500

export const suite: Suite = {
  rows: () => [
    fileRow('one line to a file, written in batches', linesPerRun, plain),
    fileRow('one line to a file, sealed and written in batches', linesPerRun, sealed),
    fileRow('one line that differs from one before it in time and duration, to a file', 20, plain),
    fileRow('one line that differs from one before it in time and duration, sealed', 20, sealed)
  ]
}

function plain(path: string): AuditLogger {
  return new AuditLogger({ path })
}

function sealed(path: string): AuditLogger {
  return new AuditLogger({ sink: new SealedLog({ path }) })
}

/** @param requests that differ from one another; after so many they come again */
function fileRow(name: string, requests: number, loggerTo: (path: string) => AuditLogger): Row {
  const folder = mkdtempSync(join(tmpdir(), 'ostiary-bench-'))
  const exchanges = Array.from({ length: linesPerRun }, (_, i) => ended(i % requests))
  const logger = loggerTo(join(folder, 'audit.jsonl'))
  const destination = pino.destination({ dest: join(folder, 'pino.jsonl'), sync: false, minLength: 8_192 })
  const log = pino({ base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination)
  return {
    name,
    contenders: [
      {
        name: 'ostiary',
        operations: linesPerRun,
        run() {
          for (const exchange of exchanges) logger.logExchange(exchange)
          return logger.flush()
        }
      },
      {
        name: 'pino, asynchronous destination',
        operations: linesPerRun,
        run() {
          for (const exchange of exchanges) log.info(members(exchange))
          return new Promise<void>(resolve => destination.flush(() => resolve()))
        }
      }
    ],
    targets: [{ peer: 'pino, asynchronous destination', ratio: 3 }],
    async close() {
      await logger.close()
      destination.destroy()
      rmSync(folder, { recursive: true })
    }
  }
}

/** What the audit line holds; pino adds the time by itself. */
function members(exchange: Exchange): object {
  return {
    event_type: 'request_success',
    user_id: exchange.user?.id ?? null,
    client_id: exchange.user?.clientId ?? null,
    is_m2m: exchange.user?.isM2M ?? null,
    path: exchange.path,
    method: exchange.req.method,
    status_code: exchange.statusCode,
    ip_address: exchange.clientAddress ?? null,
    user_agent: exchange.req.headers['user-agent'],
    duration_ms: exchange.durationMs,
    outcome: exchange.outcome
  }
}

/** A request that was answered. */
function ended(i: number): Exchange {
  const req = new IncomingMessage(new Socket())
  req.method = 'GET'
  req.url = `/api/orders/${i}?page=2`
  // A fresh string each, as the parser makes it.
  req.headers['user-agent'] = Buffer.from(
    `Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/1${i % 20}.0.0.0 Safari/537.36`
  ).toString('latin1')
  const res = new ServerResponse(req)
  const exchange = openExchange(req, res)
  exchange.user = {
    id: `user-${i % 100}`,
    key: `user:user-${i % 100}`,
    name: null,
    email: null,
    kind: 'human',
    isM2M: false,
    clientId: 'web',
    scopes: []
  }
  res.writeHead(200)
  exchange.end(true)
  // A response without a socket never says that it went out.
  exchange.outcome = 'completed'
  return exchange
}
