/**
 * Decompresses bombs of 256 MiB; prints the error and the growth of the resident bytes of each, as JSON.
 * @module
 */
import { ByteWriter, concatBytes } from "../../src/base/bytes.ts";
import { limits } from "../../src/base/limits.ts";
import { decompress } from "../../src/wire/compress.ts";
import { brotliCompressSync, constants, deflateRawSync, zstdCompressSync } from "node:zlib";

/** What came of one bomb. */
export interface BombOutcome {
  name: string;
  /** Name of the error's class; none if it was decompressed. */
  error?: string;
  grownBytes: number;
}

if (import.meta.main) console.log(JSON.stringify(openBombs()));

function openBombs(): BombOutcome[] {
  const zeros = new Uint8Array(256 << 20);
  const quality = { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } };
  const bombs: [name: string, kind: number, bytes: Uint8Array][] = [
    ["zstd", 1, zstdCompressSync(zeros)],
    ["deflate", 2, deflateRawSync(zeros, { level: 1 })],
    ["brotli", 3, brotliCompressSync(zeros, quality)],
  ];
  const outcomes: BombOutcome[] = [];
  for (const [name, kind, bytes] of bombs) {
    for (const claimed of [zeros.length, limits.messageSizeMax]) {
      const body = concatBytes(new ByteWriter().u32(claimed).take(), bytes);
      const before = Deno.memoryUsage().rss;
      const error = errorOf(() => decompress({ kind, body }));
      outcomes.push({ name, error, grownBytes: Deno.memoryUsage().rss - before });
    }
  }
  return outcomes;
}

function errorOf(act: () => unknown): string | undefined {
  try {
    act();
  } catch (error) {
    return error instanceof Error ? error.name : String(error);
  }
}
