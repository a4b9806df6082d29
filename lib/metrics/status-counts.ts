/** Responses counted by the class of their status. */
import type { WindowRecord } from './windows.ts'

/** `none`: the client left, or the connection broke, before there was a head. */
export type StatusClass = 'none' | '2xx' | '3xx' | '4xx' | '5xx'

export class StatusCounts implements WindowRecord<StatusCounts> {
  #none = 0
  #success = 0
  #redirect = 0
  #clientError = 0
  #serverError = 0

  /** @param status 0 when no head was sent; 1xx is never the status of a response, but 101 opens a tunnel: a success */
  count(status: number): void {
    if (status === 0) this.#none++
    else if (status < 300) this.#success++
    else if (status < 400) this.#redirect++
    else if (status < 500) this.#clientError++
    else this.#serverError++
  }

  add(other: StatusCounts): void {
    this.#none += other.#none
    this.#success += other.#success
    this.#redirect += other.#redirect
    this.#clientError += other.#clientError
    this.#serverError += other.#serverError
  }

  clear(): void {
    this.#none = 0
    this.#success = 0
    this.#redirect = 0
    this.#clientError = 0
    this.#serverError = 0
  }

  read(): Record<StatusClass, number> {
    return {
      none: this.#none,
      '2xx': this.#success,
      '3xx': this.#redirect,
      '4xx': this.#clientError,
      '5xx': this.#serverError
    }
  }
}
