/** Waiting with an end. On the ground floor, as `options.ts` is. */

/**
 * Gives up on an answer that does not come: rejects after `ms`. What the answer says later is ignored, also if it is an error.
 * @param who for the message: `no answer within 50 ms`
 */
export async function within<T>(ms: number, answer: PromiseLike<T>, who = 'no answer'): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${who} within ${ms} ms`)), ms)
  })
  try {
    return await Promise.race([answer, late])
  } finally {
    clearTimeout(timer)
  }
}
