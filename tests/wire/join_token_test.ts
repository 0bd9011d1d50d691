/**
 * Join tokens.
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { ByteWriter, concatBytes, hex } from "../../src/base/bytes.ts";
import { UsageError } from "../../src/base/errors.ts";
import {
  decodeJoinToken,
  describeJoinToken,
  encodeJoinToken,
  isJoinToken,
} from "../../src/wire/join_token.ts";
import { createHash } from "node:crypto";

const fields = {
  targetPublicKey: new Uint8Array(32).fill(0x11),
  id: new Uint8Array(16).fill(0x22),
  secret: new Uint8Array(32).fill(0x33),
  expiresAtMs: 1_800_000_000_000,
  address: "backup.example:7420",
  name: "docs",
};
/** A token of the given body with a right checksum. */
function tokenOf(body: Uint8Array): string {
  const digest = createHash("sha256").update(body).digest().subarray(0, 4);
  return "us1-" + concatBytes(body, digest).toBase64({ alphabet: "base64url", omitPadding: true });
}

function bodyOf(version: number, ...more: Uint8Array[]): Uint8Array {
  const { targetPublicKey, id, secret, expiresAtMs, address, name } = fields;
  const writer = new ByteWriter().u8(version).raw(targetPublicKey).raw(id).raw(secret).u53(expiresAtMs);
  return concatBytes(writer.string16(address).string16(name).take(), ...more);
}

Deno.test("encodeJoinToken() and decodeJoinToken() go both ways, in the documented layout", () => {
  const token = encodeJoinToken(fields);
  assert(isJoinToken(token));
  assertEquals(token, tokenOf(bodyOf(1)));
  assert(/^us1-[A-Za-z0-9_-]+$/.test(token), "one word that a shell leaves alone");
  const decoded = decodeJoinToken(` ${token}\n`);
  assertEquals(hex(decoded.secret), "33".repeat(32));
  assertEquals([decoded.address, decoded.name, decoded.expiresAtMs], [
    "backup.example:7420",
    "docs",
    1_800_000_000_000,
  ]);
  assertEquals(hex(decoded.targetPublicKey), "11".repeat(32));
  assertEquals(hex(decoded.id), "22".repeat(16));
});

Deno.test("decodeJoinToken() tells every mistyped letter and every cut", () => {
  const token = encodeJoinToken(fields);
  for (let at = 0; at < token.length; at++) {
    const letter = token[at] === "A" ? "B" : "A";
    const mistyped = token.slice(0, at) + letter + token.slice(at + 1);
    assertThrows(() => decodeJoinToken(mistyped), UsageError, "Cannot read join token");
    assertThrows(() => decodeJoinToken(token.slice(0, at)), UsageError, "Cannot read join token");
  }
});

Deno.test("an expired join token decodes: it is told apart from a mistyped one", () => {
  const token = decodeJoinToken(encodeJoinToken({ ...fields, expiresAtMs: 1 }));
  assertEquals(token.isExpired(0), false);
  assertEquals(token.isExpired(1), true);
});

Deno.test("decodeJoinToken() skips optional fields and refuses required ones and newer versions", () => {
  assertEquals(decodeJoinToken(tokenOf(bodyOf(1, Uint8Array.of(7, 1, 0, 9)))).name, "docs");
  assertThrows(
    () => decodeJoinToken(tokenOf(bodyOf(1, Uint8Array.of(200, 0, 0)))),
    UsageError,
    "required field 200",
  );
  assertThrows(() => decodeJoinToken(tokenOf(bodyOf(2))), UsageError, "version 2");
  assertThrows(() => decodeJoinToken(tokenOf(bodyOf(1).subarray(0, 60))), UsageError, "wanted");
});

Deno.test("JoinToken never prints its secret", () => {
  const token = decodeJoinToken(encodeJoinToken(fields));
  const shown = `${token} ${Deno.inspect(token, { depth: 9 })} ${JSON.stringify(token)} ${
    describeJoinToken(token)
  }`;
  assert(shown.includes('replica "docs" at backup.example:7420'), shown);
  for (const form of ["3333", "51,51", "51, 51", "MzMz", '"0":51']) assert(!shown.includes(form), form);
});
