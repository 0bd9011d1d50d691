/**
 * A TCP proxy on loopback that counts what passes and can spoil it: the line between two ends, in the test's hands.
 * @module
 */

import { type Weather, WeatheredRoad } from "./weather.ts";

/** Which way bytes go: from who connects to who listens, or back. */
export type Direction = "forth" | "back";

/** Flips one bit of the byte at `offset` (from 0, counted in each connection) of the next connections. */
export interface BitFlip {
  direction: Direction;
  offset: number;
  /** 0 to 7. @default {0} */
  bit?: number;
}

/** One connection through the proxy. */
interface Line {
  near: Deno.TcpConn;
  far: Deno.TcpConn;
}

/** Starts a proxy on a free port of 127.0.0.1 to `address` (`HOST:PORT`). Dispose of it to close all. */
export function startProxy(address: string): Proxy {
  const colon = address.lastIndexOf(":");
  return new Proxy({ hostname: address.slice(0, colon), port: Number(address.slice(colon + 1)) });
}

/** See {@linkcode startProxy}. */
export class Proxy implements AsyncDisposable {
  /** `HOST:PORT` to connect to. */
  readonly address: string;
  /** Bytes that passed, all connections together. */
  readonly bytes: Record<Direction, number> = { forth: 0, back: 0 };
  /** Connections accepted so far. */
  connectionCount = 0;
  /** Spoils every connection made from now on; undefined for none. */
  flip: BitFlip | undefined;
  /** Cuts each connection made from now on after so many bytes have passed in the direction; undefined for never. */
  cutAfter: { direction: Direction; bytes: number } | undefined;
  /** While it is an array, copies of everything that passes are added to it. */
  recording: Uint8Array[] | undefined;
  /** How the line is, in both directions; may be changed at any time. */
  weather: Weather = {};
  /** Closes new connections at once, as a server that is gone does. */
  refusing = false;

  readonly #listener: Deno.TcpListener;
  readonly #server: { hostname: string; port: number };
  readonly #lines = new Set<Line>();
  readonly #pumps = new Set<Promise<unknown>>();
  readonly #accepting: Promise<void>;
  #stall: PromiseWithResolvers<void> | undefined;

  constructor(server: { hostname: string; port: number }) {
    this.#server = server;
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.address = `127.0.0.1:${this.#listener.addr.port}`;
    this.#accepting = this.#accept();
  }

  /** Connections that are open now. */
  get openCount(): number {
    return this.#lines.size;
  }

  /** Closes all connections that are open now. */
  cut(): void {
    for (const line of this.#lines) this.#close(line);
  }

  /** Lets no byte pass, in either direction, until {@linkcode resume}. Connections stay open. */
  stall(): void {
    this.#stall ??= Promise.withResolvers();
  }

  /** Ends a {@linkcode stall}. */
  resume(): void {
    this.#stall?.resolve();
    this.#stall = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#accepting;
    this.resume();
    this.cut();
    await Promise.all(this.#pumps);
  }

  async #accept(): Promise<void> {
    try {
      for await (const near of this.#listener) {
        this.connectionCount++;
        const pump = this.#serve(near);
        this.#pumps.add(pump);
        pump.finally(() => this.#pumps.delete(pump));
      }
    } catch (error) {
      if (!(error instanceof Deno.errors.BadResource)) throw error;
    }
  }

  async #serve(near: Deno.TcpConn): Promise<void> {
    if (this.refusing) return near.close();
    let far: Deno.TcpConn;
    try {
      far = await Deno.connect(this.#server);
    } catch {
      return near.close();
    }
    near.setNoDelay();
    far.setNoDelay();
    const line = { near, far };
    this.#lines.add(line);
    const { flip, cutAfter } = this;
    await Promise.all([
      this.#pump(line, { from: near, to: far, direction: "forth", flip, cutAfter }),
      this.#pump(line, { from: far, to: near, direction: "back", flip, cutAfter }),
    ]);
    this.#close(line);
  }

  /** Copies one way until that way ends, then says so to the other side. A broken line is closed in both ways. */
  async #pump(
    line: Line,
    { from, to, direction, flip, cutAfter }: {
      from: Deno.TcpConn;
      to: Deno.TcpConn;
      direction: Direction;
      flip: BitFlip | undefined;
      cutAfter: { direction: Direction; bytes: number } | undefined;
    },
  ): Promise<void> {
    const buffer = new Uint8Array(64 * 1024);
    const limit = cutAfter?.direction === direction ? cutAfter.bytes : Infinity;
    const road = new WeatheredRoad(() => this.weather);
    const deliver = async (bytes: Uint8Array) => {
      for (let written = 0; written < bytes.length;) written += await to.write(bytes.subarray(written));
    };
    let passed = 0;
    try {
      for (let size; (size = await from.read(buffer)) !== null;) {
        if (this.#stall) await this.#stall.promise;
        const bytes = buffer.subarray(0, Math.min(size, limit - passed));
        if (flip?.direction === direction) flipBit(bytes, flip.offset - passed, flip.bit ?? 0);
        passed += bytes.length;
        this.recording?.push(bytes.slice());
        this.bytes[direction] += bytes.length; // before the other end can see them
        await road.pass(bytes, deliver);
        if (passed >= limit) {
          await road.arrived();
          return this.#close(line);
        }
      }
      await road.arrived();
      await to.closeWrite();
    } catch {
      this.#close(line); // either end went away
    }
  }

  #close(line: Line): void {
    if (!this.#lines.delete(line)) return;
    line.near.close();
    line.far.close();
  }
}

function flipBit(bytes: Uint8Array, index: number, bit: number): void {
  if (index >= 0 && index < bytes.length) bytes[index] ^= 1 << bit;
}
