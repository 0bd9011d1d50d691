/**
 * Tells one target the accounts of the source: all of them when a session begins, and again with each change. A target
 * that does not keep them (an older one) is told nothing.
 * @module
 */
import type { AccountWatch } from "../identity/account_watch.ts";
import type { Op } from "../ops/op.ts";
import type { Welcome } from "../wire/message.ts";
import type { Index } from "./index.ts";
import type { Lane } from "./lane.ts";

/** What telling needs. */
export interface AccountSenderOptions {
  /** Without one nothing is told. */
  accounts: AccountWatch | undefined;
  index: Pick<Index, "eachOwner">;
  lane: Pick<Lane, "post">;
}

/** See the module's text. */
export class AccountSender {
  readonly #options: AccountSenderOptions;
  #following: Disposable | undefined;
  /** The target of the session wants them, and is not told yet. */
  #isDue = false;

  constructor(options: AccountSenderOptions) {
    this.#options = options;
  }

  /** A session began. */
  connect({ accounts: isWanted }: Pick<Welcome, "accounts">): void {
    this.disconnect();
    this.#isDue = isWanted === true;
  }

  /**
   * The index says what the target holds: begins to tell. Before that accounts would be told which are fewer than those
   * that the target has, and a source that stops then would leave it with these.
   */
  begin(): void {
    const { accounts } = this.#options;
    if (!accounts || !this.#isDue) return;
    this.#isDue = false;
    this.noteHeld();
    const { lane } = this.#options;
    this.#following = accounts.follow((accounts) => lane.post({ type: "accounts", accounts }));
    // Ops that wait from before the session may name people who became known meanwhile.
    lane.post({ type: "accounts", accounts: accounts.accounts }, { ahead: true });
  }

  /** The session is over. */
  disconnect(): void {
    this.#following?.[Symbol.dispose]();
    this.#following = undefined;
    this.#isDue = false;
  }

  /** An op is about to be sent: behind the accounts of whom it names. */
  noteOp(op: Op): void {
    const { accounts } = this.#options;
    if (!accounts || !("attributes" in op)) return;
    const { uid, gid, xattrs } = op.attributes;
    if (uid !== undefined && gid !== undefined) accounts.noteOwner(uid, gid);
    if (xattrs) accounts.noteXattrs(xattrs);
  }

  /** Takes in the owners of what the target has already. */
  noteHeld(): void {
    const { accounts, index } = this.#options;
    if (accounts) index.eachOwner((uid, gid) => accounts.noteOwner(uid, gid));
  }
}
