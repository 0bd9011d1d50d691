/**
 * Options that every command which moves files has in common, and their help.
 * @module
 */
import { limits } from "../base/limits.ts";
import { sizeOption } from "../base/units.ts";
import type { CipherName } from "../wire/cipher.ts";
import type { CompressionName } from "../wire/compress.ts";
import { limitRate, limitRateHelp } from "./rate_option.ts";
import { flag, nonEmpty, one, type OptionValues, setName, size, word } from "./options.ts";

// The words stand here too, so that help does not load what compresses and encrypts.
const compressions = ["zstd", "deflate", "brotli", "none"] as const satisfies readonly CompressionName[];
const ciphers = ["chacha20-poly1305", "aes-256-gcm", "none"] as const satisfies readonly CipherName[];

/** What {@linkcode transferTable} reads, with its defaults. */
export interface TransferOptions {
  /** State directory; `undefined` is the user's. */
  state: string | undefined;
  /** Name of the set; `undefined` is one made from the root. */
  name: string | undefined;
  /** @default {"zstd"} */
  compress: CompressionName;
  /** `none` only by explicit word. @default {"chacha20-poly1305"} */
  cipher: CipherName;
  /** Bytes of a signature's block, a power of two. @default {limits.blockSize} */
  blockSize: number;
  /** Bytes of the smallest file that is compared by signatures. @default {limits.fastMirrorSizeMin} */
  fastMirrorSizeMin: number;
  /** Bytes a second on the line; 0 is no limit, `undefined` as it was. */
  limitRate: number | undefined;
  json: boolean;
}

/** The largest `--fast-mirror-min`: no file is larger than it. */
const FAST_MIRROR_MIN_MAX = 1024 ** 5;

/** The table of {@linkcode TransferOptions}. */
export const transferTable = {
  state: one(nonEmpty, "s"),
  name: one(setName),
  compress: one(word(compressions)),
  cipher: one(word(ciphers)),
  "block-size": one(size({ min: limits.blockSizeMin, max: limits.blockSizeMax, powerOfTwo: true })),
  "fast-mirror-min": one(size({ min: 0, max: FAST_MIRROR_MIN_MAX })),
  "limit-rate": one(limitRate),
  json: flag("j"),
};

/** Fills in the defaults. */
export function transferOptions(values: OptionValues<typeof transferTable>): TransferOptions {
  return {
    state: values.state,
    name: values.name,
    compress: values.compress ?? "zstd",
    cipher: values.cipher ?? "chacha20-poly1305",
    blockSize: values["block-size"] ?? limits.blockSize,
    fastMirrorSizeMin: values["fast-mirror-min"] ?? limits.fastMirrorSizeMin,
    limitRate: values["limit-rate"],
    json: values.json,
  };
}

/** The part of a command's help that {@linkcode transferTable} makes. */
export const transferHelp = `\
  --compress METHOD        zstd, deflate, brotli or none (default zstd); skipped where it does not pay
  --cipher CIPHER          chacha20-poly1305, aes-256-gcm or none (default chacha20-poly1305)
  --block-size SIZE        block of a fast mirror: a power of two from ${
  sizeOption(limits.blockSizeMin)
} to ${sizeOption(limits.blockSizeMax)} (default ${sizeOption(limits.blockSize)})
  --fast-mirror-min SIZE   files of this size or more are compared by blocks (default ${
  sizeOption(limits.fastMirrorSizeMin)
})
${limitRateHelp}\
  -s, --state DIR          where keys and sets are kept (default: the user's state directory)
  --name SET               name of the set (default: made from the path of DIR)
`;

/** The part of a command's help that says what a target is. */
export const targetHelp = `\
A TARGET is one of
  /path, ./path, ../path, ~/path      a local directory
  HOST[:PORT]/NAME                    replica NAME on a target server (understudy://HOST[:PORT]/NAME too)
  us1-…                               join token from "understudy invite"; pairs once
`;
