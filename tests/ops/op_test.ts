/**
 * Ops as bytes: golden vectors in both directions, bytes that must be refused, and any op there and back.
 *
 * The vectors were written by another implementation from the drawing in docs/WIRE.md §5. In them data is hexadecimal,
 * a time a decimal string, and a stray byte of a path a lone surrogate.
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import * as fc from "fast-check";
import { ByteReader, ByteWriter, hex } from "../../src/base/bytes.ts";
import { ProtocolError } from "../../src/base/errors.ts";
import { pathFromBytes } from "../../src/base/path.ts";
import {
  decodeOp,
  encodeOp,
  fitsOp,
  type Op,
  OP_HEADER_SIZE,
  type OpKind,
  opKinds,
  opPaths,
} from "../../src/ops/op.ts";

interface Vectors {
  ops: { name: string; op: Record<string, unknown>; bytes: string }[];
  /** Bytes that are read so but never written. */
  accepted: Vectors["ops"];
  refused: { name: string; bytes: string; error: string }[];
}

const vectors: Vectors = JSON.parse(
  Deno.readTextFileSync(new URL("../vectors/ops.json", import.meta.url)),
);

/** An op from its form in a vector. */
function reviveOp(written: Record<string, unknown>): Op {
  const op = structuredClone(written);
  if (typeof op.data === "string") op.data = Uint8Array.fromHex(op.data);
  const attributes = op.attributes as { mtimeNs?: unknown; xattrs?: { value: unknown }[] } | undefined;
  if (typeof attributes?.mtimeNs === "string") attributes.mtimeNs = BigInt(attributes.mtimeNs);
  for (const xattr of attributes?.xattrs ?? []) xattr.value = Uint8Array.fromHex(xattr.value as string);
  return op as unknown as Op;
}

function encoded(op: Op): string {
  const writer = new ByteWriter(1);
  encodeOp(op, writer);
  return hex(writer.view());
}

function decoded(digits: string): Op {
  const reader = new ByteReader(Uint8Array.fromHex(digits));
  const op = decodeOp(reader);
  reader.end();
  return op;
}

for (const { name, op, bytes } of vectors.ops) {
  Deno.test(`an op as bytes and back: ${name}`, () => {
    assertEquals(encoded(reviveOp(op)), bytes);
    assertEquals(decoded(bytes), reviveOp(op));
  });
}

for (const { name, op, bytes } of vectors.accepted) {
  Deno.test(`decodeOp() takes ${name}`, () => assertEquals(decoded(bytes), reviveOp(op)));
}

for (const { name, bytes, error } of vectors.refused) {
  Deno.test(`decodeOp() refuses ${name}`, () =>
    void assertThrows(() => decoded(bytes), ProtocolError, error));
}

Deno.test("the vectors hold every kind of op", () => {
  const kinds = new Set(vectors.ops.map(({ op }) => op.kind as OpKind));
  assertEquals([...kinds].sort(), [...opKinds].sort());
});

Deno.test("decodeOp() refuses each op cut at each byte, also where its size was cut with it", () => {
  for (const { name, bytes } of vectors.ops) {
    const whole = Uint8Array.fromHex(bytes);
    for (let size = 0; size < whole.length; size++) {
      const cut = whole.slice(0, size);
      assertThrows(() => decodeOp(new ByteReader(cut)), ProtocolError, "bytes wanted", `${name} at ${size}`);
      if (size < OP_HEADER_SIZE) continue;
      new DataView(cut.buffer).setUint32(2, size - OP_HEADER_SIZE, true);
      assertThrows(() => decodeOp(new ByteReader(cut)), ProtocolError, "bytes wanted", `${name} at ${size}`);
    }
  }
});

Deno.test("decodeOp() leaves the reader behind its op, and data is a view of the reader's bytes", () => {
  const writer = new ByteWriter();
  const ops = vectors.ops.map(({ op }) => reviveOp(op));
  for (const op of ops) encodeOp(op, writer);
  const bytes = writer.take();
  const reader = new ByteReader(bytes);
  for (const op of ops) {
    const back = decodeOp(reader);
    assertEquals(back, op);
    if ("data" in back) assertEquals(back.data.buffer, bytes.buffer);
  }
  reader.end();
});

Deno.test("encodeOp() refuses a path that does not fit its size", () => {
  const unlink = (size: number): Op => ({ kind: "unlink", path: "a".repeat(size) });
  assertEquals(decoded(encoded(unlink(65_535))), unlink(65_535));
  assertEquals([fitsOp("a".repeat(65_535)), fitsOp("a".repeat(65_536))], [true, false]);
  assertEquals([fitsOp("€".repeat(21_845)), fitsOp("€".repeat(21_846))], [true, false]);
  assertEquals([fitsOp("\udc80".repeat(65_535)), fitsOp("\udc80".repeat(65_536))], [true, false]);
  assertThrows(() => encoded(unlink(65_536)), RangeError, "at most 65,535");
});

Deno.test("opPaths() names each path that an op changes", () => {
  const rows: [Op, string[]][] = [
    [{ kind: "rename", path: "a", to: "b", exchange: false }, ["a", "b"]],
    [{ kind: "block", transfer: 1, offset: 0, data: new Uint8Array() }, []],
    [{ kind: "abandon", transfer: 1 }, []],
    [{ kind: "open", transfer: 1, path: "a", base: "copy" }, ["a"]],
    [{ kind: "symlink", path: "a", target: "b", attributes: {} }, ["a"]],
    [{ kind: "attributes", path: "", attributes: {} }, [""]],
  ];
  for (const [op, paths] of rows) assertEquals(opPaths(op), paths);
});

const name = fc.uint8Array({ min: 1, max: 255, minLength: 1, maxLength: 6 })
  .map((bytes) => pathFromBytes(bytes.map((byte) => byte === 0x2f ? 0x5f : byte)))
  .filter((name) => name !== "." && name !== "..");
const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((names) => names.join("/"));
const u32 = fc.nat({ max: 0xffff_ffff });
const transfer = fc.integer({ min: 1, max: 0xffff_ffff });
const u53 = fc.maxSafeNat();
const data = fc.uint8Array({ maxLength: 40 });
const attributes = fc.record(
  {
    mode: fc.nat({ max: 0o7777 }),
    uid: u32,
    gid: u32,
    mtimeNs: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    xattrs: fc.array(
      fc.record({
        name: name.map((name) => `user.${name.replaceAll("\0", "0")}`),
        value: fc.uint8Array({ maxLength: 9 }),
      }),
      { maxLength: 3 },
    ),
  },
  { requiredKeys: [], noNullPrototype: true },
);
/** Any op of each kind; a missing one does not compile. */
const anyOp: Record<OpKind, fc.Arbitrary<unknown>> = {
  file: fc.record({ path, attributes, data }),
  open: fc.record({ transfer, path, base: fc.constantFrom("empty", "copy", "patch") }),
  block: fc.record({ transfer, offset: u53, data }),
  link: fc.record({ path, to: path }),
  hole: fc.record({ transfer, offset: u53, size: u53 }),
  close: fc.record({ transfer, path, size: u53, attributes }),
  abandon: fc.record({ transfer: u32 }),
  mkdir: fc.record({ path, attributes }),
  symlink: fc.record({ path, target: path, attributes }),
  node: fc.oneof(
    fc.record({ path, node: fc.constantFrom("fifo", "socket"), device: fc.constant(""), attributes }),
    fc.record({
      path,
      node: fc.constantFrom("block", "character"),
      device: fc.tuple(u32, u32).map(([major, minor]) => `${major}:${minor}`),
      attributes,
    }),
  ),
  rename: fc.record({ path, to: path, exchange: fc.boolean() }),
  unlink: fc.record({ path }),
  rmdir: fc.record({ path }),
  attributes: fc.record({ path: fc.oneof(path, fc.constant("")), attributes }),
};

for (const kind of opKinds) {
  Deno.test(`any ${kind} comes back as it was`, () => {
    const property = fc.property(anyOp[kind], (fields) => {
      const op = { kind, ...(fields as object) } as Op;
      assertEquals(decoded(encoded(op)), op);
    });
    fc.assert(property, { numRuns: 200 });
  });
}

Deno.test("decodeOp() makes an op of any bytes or refuses them, and what it makes is stable", () => {
  const mutated = fc.tuple(
    fc.constantFrom(...vectors.ops.map(({ bytes }) => bytes)),
    fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 3 }),
  );
  const property = fc.property(mutated, ([digits, changes]) => {
    const bytes = Uint8Array.fromHex(digits);
    for (const [at, value] of changes) bytes[at % bytes.length] = value;
    let op: Op;
    try {
      op = decodeOp(new ByteReader(bytes));
    } catch (error) {
      if (error instanceof ProtocolError) return;
      throw error;
    }
    assertEquals(decoded(encoded(op)), op);
  });
  fc.assert(property, { numRuns: 5000 });
});
