/**
 * The one door to libxxhash, for xxh128: several times as fast as hash-wasm's. It opens on first use, and only if it
 * passes a self-test; where it cannot be had, nothing is lost but speed. Releases before 0.8 have the functions but
 * not yet the final algorithm: the self-test turns them away.
 *
 * The library returns a structure in the machine's order, of which the published (canonical) form is the reverse:
 *
 * ```
 * XXH128_hash_t  │ low64, little-endian │ high64, little-endian │
 * canonical      │ high64, big-endian   │ low64, big-endian     │
 * ```
 *
 * Bytes are passed as such, which keeps them alive for the call, and no address is kept: calls by address would be
 * 40 ns quicker out of 700 for a block of 4 KiB.
 * @module
 */
import { assert } from "../base/errors.ts";

const LIBRARY_NAME = "libxxhash.so.0";

/** Bytes of one hash. */
const HASH_SIZE = 16;

const calls = {
  hash: { name: "XXH3_128bits", parameters: ["buffer", "usize"], result: { struct: ["u64", "u64"] } },
} as const;

/** The call as it is used: the size is a Number, as in libc.ts, and the structure is new bytes. */
interface Library {
  hash(bytes: Uint8Array, size: number): Uint8Array<ArrayBuffer>;
}

/** `undefined` before the first look, `null` if it cannot be had. */
let library: Library | null | undefined;

/** Whether this system's libxxhash can be opened and makes the published hashes. */
export function hasLibxxhash(): boolean {
  library ??= openLibrary();
  return library !== null;
}

/** Writes the xxh128 of `bytes` in its canonical form, 16 bytes, to `into` at `at`. Call only if {@linkcode hasLibxxhash}. */
export function xxh128(bytes: Uint8Array, { into, at }: { into: Uint8Array; at: number }): void {
  assert(hasLibxxhash(), "libxxhash is there");
  assert(at + HASH_SIZE <= into.length, "the hash fits");
  putHash(library!, bytes, { into, at });
}

function putHash(from: Library, bytes: Uint8Array, { into, at }: { into: Uint8Array; at: number }): void {
  const structure = from.hash(bytes, bytes.length);
  for (let i = 0; i < HASH_SIZE; i++) into[at + i] = structure[HASH_SIZE - 1 - i];
}

function openLibrary(): Library | null {
  if (Deno.build.os !== "linux") return null;
  try {
    const opened = Deno.dlopen(LIBRARY_NAME, calls).symbols as unknown as Library;
    return passesSelfTest(opened) ? opened : null;
  } catch {
    return null; // Not there, or not allowed: whoever asks learns that from the answer.
  }
}

/** Hashes of the first `size` bytes of {@linkcode samples}: both sides of each size at which the algorithm changes. */
const selfTest: readonly [size: number, hash: string][] = [
  [0, "99aa06d3014798d86001c324468d497f"],
  [1, "a6cd5e9392000f6ac44bdff4074eecdb"],
  [16, "248181305d3c1039adebb1d9d080b69c"],
  [17, "825a0db7d0afe2c0cfea252f6b7ed7e9"],
  [128, "08df79f520370b525cfea347ea4bb687"],
  [129, "fc1d02037be48a62821740ece8839b64"],
  [240, "8406fbd017acdf4e687f00a7f64e46db"],
  [241, "d894c74b1b3ea28f44dbd3180a664e27"],
  [4_096, "a06ffa1b365e8adbf277e5ffd8719798"],
  [65_536, "61f8f3893e122034e84be5e1e6ba6253"],
];

function samples(): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(65_536);
  for (let i = 0; i < bytes.length; i++) bytes[i] = i * 131 + (i >> 8) * 17;
  return bytes;
}

function passesSelfTest(candidate: Library): boolean {
  const bytes = samples();
  const into = new Uint8Array(HASH_SIZE);
  return selfTest.every(([size, expected]) => {
    putHash(candidate, bytes.subarray(0, size), { into, at: 0 });
    return into.toHex() === expected;
  });
}
