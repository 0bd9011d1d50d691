/**
 * Order of arrival of work. `flush` takes a ticket and waits until nothing older is left.
 * @module
 */

/** Hands out tickets, and knows the oldest that is still in work. */
export class Tickets {
  #next = 1;
  readonly #inWork = new Map<number, number>();

  /** A new ticket, later than all before. */
  take(): number {
    return this.#next++;
  }

  /** Marks work with this ticket as under way until the result is disposed. */
  hold(ticket: number): Disposable {
    this.#inWork.set(ticket, (this.#inWork.get(ticket) ?? 0) + 1);
    return { [Symbol.dispose]: () => this.#release(ticket) };
  }

  /** Oldest ticket in work, `undefined` if none is. */
  get oldest(): number | undefined {
    let oldest: number | undefined;
    for (const ticket of this.#inWork.keys()) if (oldest === undefined || ticket < oldest) oldest = ticket;
    return oldest;
  }

  #release(ticket: number): void {
    const count = this.#inWork.get(ticket)! - 1;
    if (count === 0) this.#inWork.delete(ticket);
    else this.#inWork.set(ticket, count);
  }
}
