/**
 * Key pairs and their text form. The constants come from an independent X25519 and SHA-256 (Python).
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { hex } from "../../src/base/bytes.ts";
import { ProtocolError, UsageError } from "../../src/base/errors.ts";
import { fingerprint, formatPublicKey, KeyPair, parsePublicKey } from "../../src/wire/keys.ts";

const PUBLIC_ONES = "a4e09292b651c278b9772c569f5fa9bb13d906b46ab68c9df9dc2b4409f8a209";
const SHARED_ONES_TWOS = "2ed76ab549b1e73c031eb49c9448f0798aea81b698279a0c3dc3e49fbfc4b953";
const TEXT_ONES = "usk1-pOCSkrZRwni5dyxWn1-puxPZBrRqtoyd-dwrRAn4ogkakvI4";

const ones = new KeyPair(new Uint8Array(32).fill(1));
const twos = new KeyPair(new Uint8Array(32).fill(2));

Deno.test("KeyPair computes X25519", () => {
  assertEquals(hex(ones.publicKey), PUBLIC_ONES);
  assertEquals(hex(ones.agree(twos.publicKey)), SHARED_ONES_TWOS);
  assertEquals(hex(twos.agree(ones.publicKey)), SHARED_ONES_TWOS);
  assertThrows(() => ones.agree(new Uint8Array(32)), ProtocolError);
  assertThrows(() => new KeyPair(new Uint8Array(31)), RangeError);
});

Deno.test("KeyPair keeps no reference to the private bytes and does not print them", () => {
  const privateKey = new Uint8Array(32).fill(1);
  const pair = new KeyPair(privateKey);
  privateKey.fill(0);
  assertEquals(hex(pair.exportPrivateKey()), "01".repeat(32));
  const shown = `${pair} ${Deno.inspect(pair, { depth: 9 })} ${JSON.stringify(pair)}`;
  const secret = new Uint8Array(32).fill(1);
  for (const form of [hex(secret), secret.toBase64(), "1,1,1,1", "1, 1, 1, 1"]) {
    assert(!shown.includes(form), `no private key in ${shown}`);
  }
});

Deno.test("generate() makes another pair each time", () => {
  assert(hex(KeyPair.generate().publicKey) !== hex(KeyPair.generate().publicKey));
});

Deno.test("formatPublicKey() and parsePublicKey() go both ways", () => {
  assertEquals(formatPublicKey(ones.publicKey), TEXT_ONES);
  assertEquals(hex(parsePublicKey(TEXT_ONES)), PUBLIC_ONES);
});

Deno.test("parsePublicKey() refuses every mistyped letter and every cut", () => {
  for (let at = 0; at < TEXT_ONES.length; at++) {
    const letter = TEXT_ONES[at] === "A" ? "B" : "A";
    const mistyped = TEXT_ONES.slice(0, at) + letter + TEXT_ONES.slice(at + 1);
    assertThrows(() => parsePublicKey(mistyped), UsageError, "Cannot read public key");
    assertThrows(() => parsePublicKey(TEXT_ONES.slice(0, at)), UsageError);
  }
  assertThrows(() => parsePublicKey(`${TEXT_ONES}A`), UsageError);
});

Deno.test("fingerprint() is the head of SHA-256 in five groups", () => {
  assertEquals(fingerprint(ones.publicKey), "1a92-f238-52dc-908d-9731");
});
