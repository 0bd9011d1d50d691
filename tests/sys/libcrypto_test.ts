/**
 * libcrypto's ciphers against the runtime's: same bytes, and nothing opens that was touched.
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { Buffer } from "node:buffer";
import { createCipheriv } from "node:crypto";
import { hasLibcrypto, LibcryptoAead, type LibcryptoCipher } from "../../src/sys/libcrypto.ts";

const ignore = !hasLibcrypto();
if (ignore) console.log("libcrypto not tested: it cannot be used here");

const ciphers: LibcryptoCipher[] = ["chacha20-poly1305", "aes-256-gcm"];
const TAG_SIZE = 16;

function random(size: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  return bytes;
}

function sealByRuntime(
  name: LibcryptoCipher,
  { key, nonce, associated, text }: Record<"key" | "nonce" | "associated" | "text", Uint8Array>,
): Uint8Array {
  const cipher = createCipheriv(name as "aes-256-gcm", key, nonce, { authTagLength: TAG_SIZE });
  cipher.setAAD(associated, { plaintextLength: text.length });
  const ciphertext = cipher.update(text);
  cipher.final();
  return new Uint8Array(Buffer.concat([ciphertext, cipher.getAuthTag()]));
}

for (const name of ciphers) {
  Deno.test(
    `LibcryptoAead ${name} seals as the runtime does: any size, with and without associated bytes, over keys`,
    { ignore },
    () => {
      let key = random(32);
      const sealer = new LibcryptoAead(name, { key, seals: true });
      const opener = new LibcryptoAead(name, { key, seals: false });
      for (const size of [0, 1, 15, 16, 17, 63, 64, 65, 1_000, 65_536, 1_048_576]) {
        for (const associated of [new Uint8Array(), random(6), random(300)]) {
          const [nonce, text] = [random(12), random(size)];
          const into = new Uint8Array(size + TAG_SIZE);
          sealer.seal(text, { nonce, associated, into });
          assertEquals(into, sealByRuntime(name, { key, nonce, associated, text }));
          const opened = new Uint8Array(size);
          assert(opener.open(into, { nonce, associated, into: opened }));
          assertEquals(opened, text);
          const inPlace = into.subarray(0, size);
          assert(opener.open(into, { nonce, associated, into: inPlace }), "in place too");
          assertEquals(inPlace, text);
        }
        key = random(32);
        sealer.setKey(key);
        opener.setKey(key);
      }
      sealer.close();
      opener.close();
    },
  );

  Deno.test(`LibcryptoAead ${name} opens nothing that was touched, and what was not right afterwards`, {
    ignore,
  }, () => {
    const [key, nonce, associated, text] = [random(32), random(12), random(6), random(40)];
    const sealed = sealByRuntime(name, { key, nonce, associated, text }) as Uint8Array<ArrayBuffer>;
    const opener = new LibcryptoAead(name, { key, seals: false });
    const into = new Uint8Array(text.length);
    const flipped = <T extends Uint8Array>(bytes: T, at: number): T => {
      const copy = bytes.slice() as T;
      copy[at] ^= 0x10;
      return copy;
    };
    for (let at = 0; at < sealed.length; at++) {
      assertEquals(opener.open(flipped(sealed, at), { nonce, associated, into }), false);
    }
    for (let at = 0; at < 6; at++) {
      assertEquals(opener.open(sealed, { nonce, associated: flipped(associated, at), into }), false);
    }
    assertEquals(opener.open(sealed, { nonce: flipped(nonce, 11), associated, into }), false);
    assert(opener.open(sealed, { nonce, associated, into }));
    assertEquals(into, text);
    opener.close();
    opener.close();
    assertThrows(
      () => opener.open(sealed, { nonce, associated, into }),
      Error,
      "a closed cipher is not used",
    );
  });
}

Deno.test("hasLibcrypto() says no where the process may not use foreign code", async () => {
  const source = new URL("../../src/wire/aead.ts", import.meta.url);
  const code = `import { aeadProvider } from ${JSON.stringify(source)}; console.log(aeadProvider());`;
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
    assertEquals(new TextDecoder().decode(stdout).trim(), "node");
  } finally {
    Deno.removeSync(path);
  }
});
