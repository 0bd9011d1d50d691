/**
 * A session: one authenticated duplex of whole messages. Over TCP it is `tcp_session.ts`; in single-server mode it
 * is a pipe to the target's Worker. Nobody above this interface knows which.
 * @module
 */

/** Counters of a session. */
export interface SessionStats {
  /** Frames sent and received. */
  packetsSent: number;
  packetsReceived: number;
  /** Of those sent, that need not be compressed since that was done for another target. */
  packetsShared: number;
  /** Bytes on the line, headers and tags included. */
  bytesSent: number;
  bytesReceived: number;
}

/** Counters of a session that did nothing yet. */
export function noStats(): SessionStats {
  return { packetsSent: 0, packetsReceived: 0, packetsShared: 0, bytesSent: 0, bytesReceived: 0 };
}

/** Counters of two sessions together. */
export function addStats(a: Readonly<SessionStats>, b: Readonly<SessionStats>): SessionStats {
  return {
    packetsSent: a.packetsSent + b.packetsSent,
    packetsReceived: a.packetsReceived + b.packetsReceived,
    packetsShared: a.packetsShared + b.packetsShared,
    bytesSent: a.bytesSent + b.bytesSent,
    bytesReceived: a.bytesReceived + b.bytesReceived,
  };
}

/** One authenticated connection. */
export interface Session {
  /** Who is at the other end, for people: address, or `local`. */
  readonly peer: string;
  readonly stats: Readonly<SessionStats>;
  /**
   * Sends one message, in the order of the calls. Resolves when the line can take more, not when it arrived. Keeps
   * the buffer until then.
   *
   * @throws {TransientError} If the session is closed.
   */
  send(message: Uint8Array): Promise<void>;
  /**
   * The next message, or `undefined` when the peer closed in order. The buffer is the caller's.
   *
   * @throws {TransientError} If the line broke or the peer is dead.
   * @throws {ProtocolError} If what came is not a message (forged, oversized, out of order).
   */
  receive(): Promise<Uint8Array | undefined>;
  /** Closes, after what was sent is on its way. Never throws; a second call does nothing. */
  close(): Promise<void>;
}
