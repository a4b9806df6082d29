/** Writes what was measured into a folder: JSON, a page, and pictures. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { charts } from './charts.ts'
import { markdown } from './markdown.ts'
import type { Report } from './result.ts'

/** @param title the page's heading */
export function writeReport(folder: URL, title: string, report: Report): void {
  mkdirSync(folder, { recursive: true })
  const write = (name: string, text: string): void => writeFileSync(new URL(name, folder), text)
  write('results.json', `${JSON.stringify(report, undefined, 2)}\n`)
  write('results.md', markdown(title, report))
  for (const [name, svg] of charts(report)) write(name, svg)
}
