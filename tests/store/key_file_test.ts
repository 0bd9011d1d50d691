/**
 * Private key files.
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import { join } from "node:path";
import { hex } from "../../src/base/bytes.ts";
import { CorruptionError, SystemError } from "../../src/base/errors.ts";
import { loadOrCreatePrivateKey, loadPrivateKey } from "../../src/store/key_file.ts";
import { createPrivateFile } from "../../src/store/private_file.ts";

function inTempDirectory(run: (directory: string) => void): void {
  const directory = Deno.makeTempDirSync();
  try {
    run(directory);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

Deno.test("loadOrCreatePrivateKey() makes a key once, 0600, and loads it ever after", () => {
  inTempDirectory((directory) => {
    const path = join(directory, "state", "key");
    assertEquals(loadPrivateKey(path), undefined);
    const key = loadOrCreatePrivateKey(path);
    assertEquals(key.length, 32);
    assertEquals(hex(loadOrCreatePrivateKey(path)), hex(key));
    assertEquals(Deno.statSync(path).mode! & 0o777, 0o600);
    assertEquals([...Deno.readDirSync(join(directory, "state"))].map(({ name }) => name), ["key"]);
  });
});

Deno.test("loadOrCreatePrivateKey() refuses a file that group or others may read", () => {
  inTempDirectory((directory) => {
    const path = join(directory, "key");
    loadOrCreatePrivateKey(path);
    for (const mode of [0o640, 0o604, 0o620, 0o666]) {
      Deno.chmodSync(path, mode);
      const error = assertThrows(() => loadOrCreatePrivateKey(path), SystemError, "make it 0600");
      assertEquals(error.code, "EPERM");
    }
  });
});

Deno.test("loadOrCreatePrivateKey() leaves a file without a key as it is", () => {
  inTempDirectory((directory) => {
    const path = join(directory, "key");
    for (const contents of ["", "understudy-key-1\n", "understudy-key-1\nAAAA\n", "understudy-key-2\n"]) {
      Deno.writeTextFileSync(path, contents, { mode: 0o600 });
      assertThrows(() => loadOrCreatePrivateKey(path), CorruptionError, "does not hold a key");
      assertEquals(Deno.readTextFileSync(path), contents);
    }
  });
});

Deno.test("createPrivateFile() leaves a taken name alone and no temporary file behind", () => {
  inTempDirectory((directory) => {
    const path = join(directory, "once");
    assertEquals(createPrivateFile(path, Uint8Array.of(1)), true);
    assertEquals(createPrivateFile(path, Uint8Array.of(2)), false);
    assertEquals(Deno.readFileSync(path), Uint8Array.of(1));
    assertEquals([...Deno.readDirSync(directory)].length, 1);
  });
});
