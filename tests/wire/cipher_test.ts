/**
 * The transport cipher: order, damage, rekeying, in all three kinds, by libcrypto and by the runtime.
 * @module
 */
import { assert, assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import { hex } from "../../src/base/bytes.ts";
import { ProtocolError } from "../../src/base/errors.ts";
import { type AeadName, type AeadProvider, aeadProvider } from "../../src/wire/aead.ts";
import { TransportCipher } from "../../src/wire/cipher.ts";
import { CipherState } from "../../src/wire/noise.ts";
import { hasLibcrypto } from "../../src/sys/libcrypto.ts";

const key = new Uint8Array(32).fill(7);
const header = Uint8Array.of(9, 0, 0, 0, 1, 0);
const shapes: { name: string; aead: AeadName; plain: boolean; provider: AeadProvider }[] = [
  { name: "chacha20-poly1305 by the runtime", aead: "ChaChaPoly", plain: false, provider: "node" },
  { name: "aes-256-gcm by the runtime", aead: "AESGCM", plain: false, provider: "node" },
  { name: "none", aead: "ChaChaPoly", plain: true, provider: "node" },
];
if (hasLibcrypto()) {
  shapes.push(
    { name: "chacha20-poly1305 by libcrypto", aead: "ChaChaPoly", plain: false, provider: "libcrypto" },
    { name: "aes-256-gcm by libcrypto", aead: "AESGCM", plain: false, provider: "libcrypto" },
  );
} else console.log("libcrypto not tested: it cannot be used here");
/** Below, at and above the size from which AES runs on another thread. */
const sizes = [0, 1, 4_096, 12 * 1024 - 1, 12 * 1024, 100_000];

function bodyOf(size: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: size }, (_, i) => i * 31 + size);
}

/** Seals a body into the middle of a larger buffer, as a sender does. */
async function sealed(cipher: TransportCipher, body: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  const batch = new Uint8Array(7 + body.length + cipher.overhead + 7).fill(0xee);
  await cipher.seal(body, { header, into: batch.subarray(7, -7) });
  assert(batch.subarray(0, 7).every((byte) => byte === 0xee), "nothing is written before its place");
  assert(batch.subarray(-7).every((byte) => byte === 0xee), "nothing is written behind its place");
  return batch.slice(7, -7);
}

for (const { name, aead, plain, provider } of shapes) {
  const cipher = (rekeyAfterFrames?: number) =>
    new TransportCipher(new CipherState(aead, key.slice()), { plain, rekeyAfterFrames, provider });
  const sealAll = async (sealer: TransportCipher, bodies: Uint8Array[]) => {
    const all: Uint8Array<ArrayBuffer>[] = [];
    for (const body of bodies) all.push(await sealed(sealer, body));
    return all;
  };
  const refuses = (opener: TransportCipher, bytes: Uint8Array<ArrayBuffer>, head = header) =>
    assertRejects(async () => await opener.open(bytes, { header: head }), ProtocolError);

  Deno.test(`TransportCipher ${name} opens what it sealed, at every size, over many rekeys`, async () => {
    const bodies = [...sizes, ...sizes, ...sizes].map(bodyOf);
    const opener = cipher(2);
    for (const [i, sealed] of (await sealAll(cipher(2), bodies)).entries()) {
      assertEquals(sealed.length, bodies[i].length + opener.overhead);
      const before = sealed.slice();
      assertEquals(await opener.open(sealed, { header, inPlace: i % 2 === 1 }), bodies[i]);
      if (i % 2 === 0) assertEquals(sealed, before, "the sealed bytes stay as they are");
    }
  });

  Deno.test(`TransportCipher ${name} refuses any flipped bit of body, tag and header`, async () => {
    for (const size of [5, 12 * 1024]) {
      const [sealed] = await sealAll(cipher(), [bodyOf(size)]);
      const step = size > 100 ? 1_237 : 1;
      for (let at = 0; at < sealed.length; at += step) {
        const damaged = sealed.slice();
        damaged[at] ^= 1 << at % 8;
        await refuses(cipher(), damaged);
      }
      for (let at = 0; at < header.length; at++) {
        const damaged = header.slice();
        damaged[at] ^= 0x20;
        await refuses(cipher(), sealed, damaged);
      }
      for (const cut of [0, 1, 3, 4, 8, sealed.length - 1]) {
        await refuses(cipher(), sealed.subarray(0, cut));
      }
    }
  });

  Deno.test(`TransportCipher ${name} refuses a frame replayed, left out or moved`, async () => {
    const [first, second] = await sealAll(cipher(), [bodyOf(20), bodyOf(20)]);
    const replayed = cipher();
    await replayed.open(first, { header });
    await refuses(replayed, first);
    await refuses(cipher(), second);
  });

  if (!plain) {
    Deno.test(`TransportCipher ${name} changes its key after the agreed count, neither before nor later`, async () => {
      const bodies = [1, 2, 3].map(() => bodyOf(20));
      const rekeying = (await sealAll(cipher(2), bodies)).map(hex);
      const steady = (await sealAll(cipher(), bodies)).map(hex);
      assertEquals(rekeying.slice(0, 2), steady.slice(0, 2));
      assertNotEquals(rekeying[2], steady[2]);
    });

    Deno.test(`TransportCipher ${name} never seals the same way twice`, async () => {
      const [first, second] = await sealAll(cipher(), [bodyOf(20), bodyOf(20)]);
      assertNotEquals(hex(first), hex(second));
    });
  }
}

for (const { name, aead, plain, provider } of shapes.filter(({ plain }) => !plain)) {
  Deno.test(`TransportCipher ${name} seals as Noise's cipher state does, at every size`, async () => {
    for (const size of sizes) {
      const reference = new CipherState(aead, key.slice());
      const cipher = new TransportCipher(new CipherState(aead, key.slice()), { plain, provider });
      assertEquals(
        hex(await sealed(cipher, bodyOf(size))),
        hex(reference.encryptWithAd(header, bodyOf(size))),
      );
    }
  });
}

Deno.test("TransportCipher goes on with the counter of the handshake", async () => {
  const state = new CipherState("ChaChaPoly", key.slice());
  state.encryptWithAd(new Uint8Array(), new Uint8Array());
  const frame = await sealed(new TransportCipher(state), bodyOf(9));
  assertEquals(hex(frame), hex(state.encryptWithAd(header, bodyOf(9))));
});

Deno.test("close() of a TransportCipher ends its use, twice is the same as once", async () => {
  for (const { aead, plain, provider } of shapes) {
    const cipher = new TransportCipher(new CipherState(aead, key.slice()), { plain, provider });
    await sealed(cipher, bodyOf(9));
    cipher.close();
    cipher.close();
    await assertRejects(() => sealed(cipher, bodyOf(9)), Error, "a closed cipher is not used");
  }
});

Deno.test("aeadProvider() is libcrypto where it can be had, and the runtime where that is asked for", async () => {
  const forced = Deno.env.get("UNDERSTUDY_AEAD") === "node";
  assertEquals(aeadProvider(), hasLibcrypto() && !forced ? "libcrypto" : "node");
  const source = new URL("../../src/wire/aead.ts", import.meta.url);
  const code = `import { aeadProvider } from ${JSON.stringify(source)}; console.log(aeadProvider());`;
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", code],
    env: { UNDERSTUDY_AEAD: "node" },
  }).output();
  assertEquals(new TextDecoder().decode(stdout).trim(), "node");
});
