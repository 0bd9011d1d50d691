/**
 * What the receiver is believed to hold at a path: attributes, and block hashes of large files.
 * @module
 */
import type { Kind } from "../sys/file_system.ts";

/** An entry of the receiver, with the identity that the sender's entry had when it was sent. */
export interface Held {
  kind: Kind;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  mtimeNs: bigint;
  /** What it leads to: target of a symbolic link, `major:minor` of a device node; else `""`. */
  linkTarget: string;
  /** Digest of its extended attributes (mirror/xattrs.ts). @default {0n}, of none */
  xattrDigest?: bigint;
  /**
   * Entries with equal numbers are names of one file at the receiver. Negative: as its listing told, positive: since the
   * op of this sequence. @default {undefined}, it has no other name that is known
   */
  linkGroup?: number;
  /** The sender's change time when it was sent; 0 if unknown (learned from the receiver's listing). */
  ctimeNs: bigint;
  /** Identity of the sender's entry; 0 if unknown. */
  dev: number;
  ino: bigint;
  /** Whether the contents can be believed; otherwise they are compared. */
  trusted: boolean;
  /** It left the replication set and stays at the receiver until somebody says otherwise, with all that is below. */
  isLeftover?: boolean;
}

/** Block hashes of a file (mirror/signature.ts). */
export interface Signature {
  /** Bytes of a block. */
  blockSize: number;
  /** Bytes of the file. */
  fileSize: number;
  /** 16 bytes a block. */
  hashes: Uint8Array;
}
