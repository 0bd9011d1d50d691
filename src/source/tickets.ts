/**
 * Order of arrival of work. `flush` takes a ticket and waits until nothing older is left. Work that arises from other
 * work inherits its ticket: what a dirty path led to is as old as the path.
 * @module
 */

/** Order of arrival. */
export type Ticket = number;

/** Hands out tickets, and knows the oldest that is still in work. */
export class Tickets {
  #next = 1;
  readonly #inWork = new Map<Ticket, number>();

  /** A new ticket, later than all before. */
  take(): Ticket {
    return this.#next++;
  }

  /** Marks work with this ticket as under way until the result is disposed; once more does nothing. */
  hold(ticket: Ticket): Disposable {
    this.begin(ticket);
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        if (isHeld) this.end(ticket);
        isHeld = false;
      },
    };
  }

  /** Work with this ticket is under way until {@linkcode end}: a {@linkcode hold} of which nothing has to be kept. */
  begin(ticket: Ticket): void {
    this.#inWork.set(ticket, (this.#inWork.get(ticket) ?? 0) + 1);
  }

  /** Ends what {@linkcode begin} began, once for each. */
  end(ticket: Ticket): void {
    const count = this.#inWork.get(ticket)! - 1;
    if (count === 0) this.#inWork.delete(ticket);
    else this.#inWork.set(ticket, count);
  }

  /** Oldest ticket in work, `undefined` if none is. */
  get oldest(): Ticket | undefined {
    let oldest: Ticket | undefined;
    for (const ticket of this.#inWork.keys()) if (oldest === undefined || ticket < oldest) oldest = ticket;
    return oldest;
  }
}
