/**
 * The transport cipher: order, damage, rekeying, in all three kinds.
 * @module
 */
import { assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import { concatBytes, hex } from "../../src/base/bytes.ts";
import { ProtocolError } from "../../src/base/errors.ts";
import type { AeadName } from "../../src/wire/aead.ts";
import { TransportCipher } from "../../src/wire/cipher.ts";
import { CipherState } from "../../src/wire/noise.ts";

const key = new Uint8Array(32).fill(7);
const header = Uint8Array.of(9, 0, 0, 0, 1, 0);
const shapes: { name: string; aead: AeadName; plain: boolean }[] = [
  { name: "chacha20-poly1305", aead: "ChaChaPoly", plain: false },
  { name: "aes-256-gcm", aead: "AESGCM", plain: false },
  { name: "none", aead: "ChaChaPoly", plain: true },
];
/** Below, at and above the size from which AES runs on another thread. */
const sizes = [0, 1, 4_096, 12 * 1024 - 1, 12 * 1024, 100_000];

function bodyOf(size: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: size }, (_, i) => i * 31 + size);
}

for (const { name, aead, plain } of shapes) {
  const cipher = (rekeyAfterFrames?: number) =>
    new TransportCipher(new CipherState(aead, key.slice()), { plain, rekeyAfterFrames });
  const sealAll = async (sealer: TransportCipher, bodies: Uint8Array[]) => {
    const sealed: Uint8Array<ArrayBuffer>[] = [];
    for (const body of bodies) sealed.push(concatBytes(...await sealer.seal(header, body)));
    return sealed;
  };
  const refuses = (opener: TransportCipher, sealed: Uint8Array, head = header) =>
    assertRejects(async () => await opener.open(head, sealed), ProtocolError);

  Deno.test(`TransportCipher ${name} opens what it sealed, at every size, over many rekeys`, async () => {
    const bodies = [...sizes, ...sizes, ...sizes].map(bodyOf);
    const opener = cipher(2);
    for (const [i, sealed] of (await sealAll(cipher(2), bodies)).entries()) {
      assertEquals(sealed.length, bodies[i].length + opener.overhead);
      assertEquals(await opener.open(header, sealed), bodies[i]);
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
    await replayed.open(header, first);
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

Deno.test("TransportCipher aes-256-gcm seals alike by either of its two ways", async () => {
  // A Noise cipher state knows the synchronous way only.
  for (const size of sizes) {
    const reference = new CipherState("AESGCM", key.slice());
    const sealed = await new TransportCipher(new CipherState("AESGCM", key.slice())).seal(
      header,
      bodyOf(size),
    );
    assertEquals(hex(concatBytes(...sealed)), hex(reference.encryptWithAd(header, bodyOf(size))));
  }
});

Deno.test("TransportCipher goes on with the counter of the handshake", async () => {
  const state = new CipherState("ChaChaPoly", key.slice());
  state.encryptWithAd(new Uint8Array(), new Uint8Array());
  const sealed = concatBytes(...await new TransportCipher(state).seal(header, bodyOf(9)));
  assertEquals(hex(sealed), hex(state.encryptWithAd(header, bodyOf(9))));
});
