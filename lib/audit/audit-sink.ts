/** Where audit lines go. */

/**
 * Takes lines of JSON, each an event, in their order. A sink that seals lines wraps the sink that stores them.
 * It never blocks a request and never throws at one.
 */
export interface AuditSink {
  /**
   * @param line printable ASCII, without the newline
   * @returns false when the line cannot be kept; the logger counts it, and says so in the log once lines are kept again
   */
  write(line: string): boolean
  /** Resolves when all lines so far are stored; rejects with what prevented it. */
  flush(): Promise<void>
  /** Stores what is left and lets go; safe to call twice. */
  close(): Promise<void>
  /** Goes on in a new file of the same name, after the old one was moved away. */
  reopen?(): Promise<void>
}
