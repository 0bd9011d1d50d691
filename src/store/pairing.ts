/**
 * What a target knows about pairing: who was invited, which invites were used, which key opens which replica.
 *
 * ```
 * ROOT/.understudy/pairing/            0700, files 0600, JSON
 *   invites/TOKENID.json               { name, secret, createdAtMs, expiresAtMs }             open
 *   claims/TOKENID.json                { name, secret, publicKey, claimedAtMs }               used, by whom
 *   keys/NAME.json                     { name, publicKey, pairedAtMs }                        bound
 * ```
 *
 * Every call reads the files, so `understudy invite` works from another process while the server runs. A claim is made
 * by link(2): of two redeems one wins. Order of a redeem: claim, then binding, then the invite is removed. After a crash
 * between two of them the same key with the same token redeems again and ends the work; nobody else can.
 *
 * A claim keeps its secret, so that a source that did not hear of its success can repeat its handshake. The secret is of
 * no use to any other key.
 * @module
 */
import { join } from "node:path";
import { equalBytes, hex, utf8 } from "../base/bytes.ts";
import { CorruptionError, RefusedError, UsageError } from "../base/errors.ts";
import { baseName, quote } from "../base/path.ts";
import { loadJson, removeIfThere, saveJson } from "./durable.ts";
import { createPrivateFile, makePrivateDirectory } from "./private_file.ts";

/** Length of a replica's name. */
const NAME_LENGTH_MAX = 64;
const NAME_PATTERN = /^[A-Za-z0-9_-][A-Za-z0-9._-]*$/;
const SECRET_SIZE = 32;
const TOKEN_ID_SIZE = 16;
const KEY_SIZE = 32;
/** Invites that expired, and claims, this long ago are forgotten: then their token is unknown. */
const FORGET_AFTER_MS = 30 * 24 * 3_600_000;

/** How long an invite is good. */
export interface InviteOptions {
  /** From now on. */
  expiresMs: number;
  /** The target's clock, milliseconds since 1970. */
  nowMs: number;
}

/** What goes into a join token. */
export interface Invite {
  /** 16 bytes. */
  tokenId: Uint8Array<ArrayBuffer>;
  /** 32 bytes. */
  secret: Uint8Array<ArrayBuffer>;
  expiresAtMs: number;
}

/** Who asks for a replica. */
export interface Applicant {
  /** Replica's name, as the peer sent it. */
  name: string;
  /** 32 bytes. */
  publicKey: Uint8Array;
  /** 16 bytes, while pairing. */
  tokenId?: Uint8Array;
  /** The target's clock, milliseconds since 1970. */
  nowMs: number;
}

/** The word on an applicant. The form is that of the handshake's authorization. */
export type PairingVerdict =
  | {
    /** The token's secret, or 32 zeros for a bound key. */
    psk: Uint8Array;
    /**
     * Binds the key. Call it when the peer has shown that it knows the psk.
     *
     * @throws {RefusedError} If another key used the token meanwhile.
     */
    confirm: () => void;
  }
  | { refuse: string };

interface InviteFile {
  name: string;
  secret: string;
  createdAtMs: number;
  expiresAtMs: number;
}

interface ClaimFile {
  name: string;
  secret: string;
  publicKey: string;
  claimedAtMs: number;
}

interface BindingFile {
  name: string;
  publicKey: string;
  pairedAtMs: number;
}

/** What stands in `ROOT/.understudy` beside the state of the replicas (store/state_directory.ts). */
const OWN_NAMES = ["pairing", "key", "listen", "server.lock", "control.sock"];

/**
 * Checks a replica's name: 1 to 64 characters `A–Z a–z 0–9 . _ -`, the first not a dot.
 *
 * @throws {UsageError} If it is none.
 */
export function checkReplicaName(name: string): void {
  if (name.length > NAME_LENGTH_MAX || !NAME_PATTERN.test(name)) {
    throw new UsageError(
      `Cannot use replica name ${
        quote(name)
      }: it must be 1 to ${NAME_LENGTH_MAX} of the characters A-Z a-z 0-9 . _ -, ` +
        "the first not a dot",
    );
  }
  if (OWN_NAMES.includes(name)) {
    throw new UsageError(
      `Cannot use replica name ${quote(name)}: the target server keeps its own state under it`,
    );
  }
}

/** The pairing store of a target. */
export class PairingStore {
  readonly #invites: string;
  readonly #claims: string;
  readonly #keys: string;

  /** @param directory Is made, with what belongs in it, where it is missing. */
  constructor(directory: string) {
    this.#invites = join(directory, "invites");
    this.#claims = join(directory, "claims");
    this.#keys = join(directory, "keys");
    for (const each of [directory, this.#invites, this.#claims, this.#keys]) makePrivateDirectory(each);
  }

  /**
   * Invites one source to a replica. A key that is bound now stays bound until the invite is redeemed.
   *
   * @throws {UsageError} If the name cannot be one.
   */
  createInvite(name: string, { expiresMs, nowMs }: InviteOptions): Invite {
    checkReplicaName(name);
    this.#forgetOld(nowMs);
    const tokenId = crypto.getRandomValues(new Uint8Array(TOKEN_ID_SIZE));
    const secret = crypto.getRandomValues(new Uint8Array(SECRET_SIZE));
    const expiresAtMs = nowMs + expiresMs;
    const file: InviteFile = { name, secret: encode(secret), createdAtMs: nowMs, expiresAtMs };
    saveJson(this.#invitePath(tokenId), file);
    return { tokenId, secret, expiresAtMs };
  }

  /** Decides whether a key may open a replica. Has no effect before `confirm` of the verdict is called. */
  authorize(applicant: Applicant): PairingVerdict {
    try {
      checkReplicaName(applicant.name);
    } catch {
      return { refuse: "the replica's name is not allowed" };
    }
    return applicant.tokenId === undefined
      ? this.#authorizeBound(applicant)
      : this.#authorizeToken(applicant, applicant.tokenId);
  }

  /** The key that opens a replica, or `undefined` if none does. */
  boundKey(name: string): Uint8Array<ArrayBuffer> | undefined {
    checkReplicaName(name);
    const binding = loadJson(this.#keyPath(name), isBindingFile);
    return binding && decode(binding.publicKey, { size: KEY_SIZE, path: this.#keyPath(name) });
  }

  /** Names of all replicas that a key is bound to. */
  boundNames(): string[] {
    const names = [...Deno.readDirSync(this.#keys)].map(({ name }) => name);
    return names.filter((name) => name.endsWith(".json")).map((name) => name.slice(0, -".json".length))
      .sort();
  }

  #authorizeBound({ name, publicKey }: Applicant): PairingVerdict {
    const bound = this.boundKey(name);
    // One reason for "no such replica" and "another's replica": a stranger learns no names.
    if (bound === undefined || !equalBytes(bound, publicKey)) {
      return { refuse: `this source is not paired with replica ${quote(name)}` };
    }
    return { psk: new Uint8Array(SECRET_SIZE), confirm: () => {} };
  }

  #authorizeToken(applicant: Applicant, tokenId: Uint8Array): PairingVerdict {
    const claim = loadJson(this.#claimPath(tokenId), isClaimFile);
    if (claim !== undefined) return this.#authorizeClaim(applicant, { tokenId, claim });
    const invite = loadJson(this.#invitePath(tokenId), isInviteFile);
    if (invite === undefined) return { refuse: "the join token is unknown to this target" };
    if (applicant.nowMs >= invite.expiresAtMs) return { refuse: "the join token is expired" };
    if (invite.name !== applicant.name) return { refuse: "the join token is for another replica" };
    return {
      psk: decode(invite.secret, { size: SECRET_SIZE, path: this.#invitePath(tokenId) }),
      confirm: () => this.#redeem(applicant, { tokenId, secret: invite.secret }),
    };
  }

  /** A used token: only the source that used it may come again, as long as its key was not replaced since. */
  #authorizeClaim(
    { name, publicKey }: Applicant,
    { tokenId, claim }: { tokenId: Uint8Array; claim: ClaimFile },
  ): PairingVerdict {
    if (claim.publicKey !== encode(publicKey) || claim.name !== name) {
      return { refuse: "the join token is used already" };
    }
    this.#finishClaim(tokenId, claim);
    const bound = this.boundKey(name);
    if (bound === undefined || !equalBytes(bound, publicKey)) {
      return { refuse: "the join token is used already, and another source was paired since" };
    }
    const psk = decode(claim.secret, { size: SECRET_SIZE, path: this.#claimPath(tokenId) });
    return { psk, confirm: () => {} };
  }

  #redeem(
    { name, publicKey, nowMs }: Applicant,
    { tokenId, secret }: { tokenId: Uint8Array; secret: string },
  ): void {
    const claim: ClaimFile = { name, secret, publicKey: encode(publicKey), claimedAtMs: nowMs };
    if (!createPrivateFile(this.#claimPath(tokenId), utf8(JSON.stringify(claim)))) {
      const winner = loadJson(this.#claimPath(tokenId), isClaimFile);
      if (winner?.publicKey !== claim.publicKey) throw new RefusedError("the join token is used already");
    }
    this.#finishClaim(tokenId, claim);
  }

  /** Binds the key of a claim, unless that was done before: then the invite is gone. */
  #finishClaim(tokenId: Uint8Array, { name, publicKey, claimedAtMs }: ClaimFile): void {
    if (loadJson(this.#invitePath(tokenId), isInviteFile) === undefined) return;
    const bound = loadJson(this.#keyPath(name), isBindingFile);
    // A claim that a crash left half done must not push out a source that was paired later.
    if (bound === undefined || bound.pairedAtMs <= claimedAtMs) {
      const binding: BindingFile = { name, publicKey, pairedAtMs: claimedAtMs };
      saveJson(this.#keyPath(name), binding);
    }
    // Binding before the invite goes: its absence says that the binding is done.
    removeIfThere(this.#invitePath(tokenId));
  }

  #forgetOld(nowMs: number): void {
    for (const path of filesIn(this.#invites)) {
      const invite = loadJson(path, isInviteFile);
      if (invite !== undefined && nowMs - invite.expiresAtMs > FORGET_AFTER_MS) removeIfThere(path);
    }
    const invites = new Set(filesIn(this.#invites).map(baseName));
    for (const path of filesIn(this.#claims)) {
      const claim = loadJson(path, isClaimFile);
      // A claim whose invite is still there is half done: forgotten, the invite would be open again.
      const isDone = !invites.has(baseName(path));
      if (claim !== undefined && isDone && nowMs - claim.claimedAtMs > FORGET_AFTER_MS) removeIfThere(path);
    }
  }

  #invitePath(tokenId: Uint8Array): string {
    return join(this.#invites, `${hex(tokenId)}.json`);
  }

  #claimPath(tokenId: Uint8Array): string {
    return join(this.#claims, `${hex(tokenId)}.json`);
  }

  #keyPath(name: string): string {
    return join(this.#keys, `${name}.json`);
  }
}

function filesIn(directory: string): string[] {
  const names = [...Deno.readDirSync(directory)].map(({ name }) => name);
  return names.filter((name) => name.endsWith(".json")).map((name) => join(directory, name));
}

function encode(bytes: Uint8Array): string {
  return bytes.toBase64({ alphabet: "base64url", omitPadding: true });
}

function decode(text: string, { size, path }: { size: number; path: string }): Uint8Array<ArrayBuffer> {
  try {
    const bytes = Uint8Array.fromBase64(text, { alphabet: "base64url" });
    if (bytes.length === size) return bytes;
  } catch {
    // Told below: the same state, whatever is wrong with the text.
  }
  throw new CorruptionError(`Cannot load ${quote(path)}: its fields are not the expected ones`);
}

function hasFields(value: unknown, fields: Record<string, "string" | "number">): boolean {
  if (typeof value !== "object" || value === null) return false;
  const found = value as Record<string, unknown>;
  return Object.entries(fields).every(([name, type]) => {
    const actual = typeof found[name];
    return actual === type;
  });
}

function isInviteFile(value: unknown): value is InviteFile {
  return hasFields(value, { name: "string", secret: "string", createdAtMs: "number", expiresAtMs: "number" });
}

function isClaimFile(value: unknown): value is ClaimFile {
  return hasFields(value, { name: "string", secret: "string", publicKey: "string", claimedAtMs: "number" });
}

function isBindingFile(value: unknown): value is BindingFile {
  return hasFields(value, { name: "string", publicKey: "string", pairedAtMs: "number" });
}
