/**
 * libxxhash against hash-wasm: the same hashes, wherever the bytes lie.
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { createXXHash128 } from "hash-wasm";
import { hex } from "../../src/base/bytes.ts";
import { hasLibxxhash, xxh128 } from "../../src/sys/libxxhash.ts";

const ignore = !hasLibxxhash();
if (ignore) console.log("libxxhash not tested: it cannot be used here");

const wasm = await createXXHash128();

function random(size: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  return bytes;
}

function native(bytes: Uint8Array): string {
  const into = new Uint8Array(16);
  xxh128(bytes, { into, at: 0 });
  return hex(into);
}

Deno.test("xxh128() gives the published hashes", { ignore }, () => {
  const bytes = new TextEncoder().encode("abc");
  assertEquals(native(new Uint8Array()), "99aa06d3014798d86001c324468d497f");
  assertEquals(native(bytes), "06b05ab6733a618578af5f94892f3950");
  assertEquals(native(new Uint8Array(4096)), wasm.init().update(new Uint8Array(4096)).digest());
});

Deno.test("xxh128() hashes as wasm does: every size up to 1,100, in bytes of their own", { ignore }, () => {
  // Small arrays lie inside of the JavaScript heap, others outside of it.
  for (let size = 0; size <= 1_100; size++) {
    const bytes = random(size);
    assertEquals(native(bytes), wasm.init().update(bytes).digest(), `${size} bytes`);
  }
});

Deno.test("xxh128() hashes as wasm does: any part of a larger buffer", { ignore }, () => {
  const bytes = random(1_200_000);
  fc.assert(
    fc.property(fc.nat(100_000), fc.nat(1_048_576), (offset, size) => {
      const part = bytes.subarray(offset, offset + size);
      assertEquals(native(part), wasm.init().update(part).digest());
    }),
    { numRuns: 200 },
  );
});

Deno.test("xxh128() writes its 16 bytes where it is told and no others", { ignore }, () => {
  const into = new Uint8Array(40).fill(0xee);
  xxh128(new Uint8Array(), { into, at: 7 });
  assertEquals(hex(into), "ee".repeat(7) + "99aa06d3014798d86001c324468d497f" + "ee".repeat(17));
  assertThrows(() => xxh128(new Uint8Array(), { into, at: 25 }), Error, "the hash fits");
});

Deno.test("hasLibxxhash() says no where the process may not use foreign code, and wasm hashes", async () => {
  const source = new URL("../../src/mirror/signature.ts", import.meta.url);
  const code = `import { hashBytes, hashProvider, initHasher } from ${JSON.stringify(source)};
    await initHasher();
    console.log(hashProvider(), hashBytes(new Uint8Array()).toHex());`;
  const path = Deno.makeTempFileSync({ suffix: ".ts" });
  try {
    Deno.writeTextFileSync(path, code);
    const config = new URL("../../deno.json", import.meta.url).pathname;
    const args = [
      "run",
      "--no-prompt",
      "--no-check",
      "--config",
      config,
      "--allow-read",
      "--allow-env",
      path,
    ];
    const { stdout } = await new Deno.Command(Deno.execPath(), { args }).output();
    assertEquals(new TextDecoder().decode(stdout).trim(), "wasm 99aa06d3014798d86001c324468d497f");
  } finally {
    Deno.removeSync(path);
  }
});
