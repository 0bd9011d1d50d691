/**
 * Transfers of one file: what travels, and that the receiver ends with the source's bytes whatever happens meanwhile.
 *
 * Method: a real file is sent to a receiver in memory (transfer_rig.ts); changes are made from within the waiting for
 * room and for the receiver's answers, which is when a program on another core would make them.
 * @module
 */
import { assert, assertEquals, AssertionError, assertRejects } from "@std/assert";
import { SystemError, TransientError } from "../../src/base/errors.ts";
import { limits } from "../../src/base/limits.ts";
import type { Signature } from "../../src/ops/held.ts";
import { initHasher } from "../../src/mirror/signature.ts";
import { readSmallFile } from "../../src/mirror/small_file.ts";
import { coarseBlockSize, isLarge, type TransferResult } from "../../src/mirror/transfer.ts";
import { readingThrough, Rig, seededBytes, seededNumbers } from "./transfer_rig.ts";

const KiB = 1024;
const MiB = 1024 * KiB;

await initHasher();

/** The same bytes with those at each of `offsets` changed. */
function changedAt(bytes: Uint8Array, offsets: number[], size = 1): Uint8Array<ArrayBuffer> {
  const changed = new Uint8Array(bytes);
  for (const offset of offsets) for (let i = 0; i < size; i++) changed[offset + i] ^= 0x5a;
  return changed;
}

/** A file that was sent. */
function sent(result: TransferResult): Extract<TransferResult, { state: "sent" }> {
  if (result.state !== "sent") throw new AssertionError(`it is ${result.state}, not sent`);
  return result;
}

/** A file that was sent and did not move any more. */
function atRest(result: TransferResult): Extract<TransferResult, { state: "sent" }> {
  assert(!sent(result).restless, "it is restless");
  return sent(result);
}

function signatureOf(result: TransferResult): Signature | undefined {
  return result.state === "gone" ? undefined : result.signature;
}

Deno.test("transferFile() sends exactly blocks 2 and 5 of 4,096 bytes in blocks of 512", async () => {
  const ours = seededBytes(4096);
  const theirs = changedAt(ours, [512, 2048], 512);
  await using rig = await Rig.make({ ours, theirs, blockSize: 512, fastMirrorSizeMin: 4096 });
  const result = atRest(await rig.send());
  assertEquals(rig.blocks, [[512, 512], [2048, 512]]);
  assertEquals(rig.blockBytes, 1024);
  assertEquals(rig.kinds, "open copy, block, block, close");
  rig.assertEqual(result.signature);
});

Deno.test("transferFile() sends 20 changed blocks of 4 KiB in 64 MiB with at most three times their bytes", async () => {
  const ours = seededBytes(64 * MiB);
  const number = seededNumbers(20);
  const offsets = Array.from({ length: 20 }, () => number(ours.length - 4 * KiB));
  await using rig = await Rig.make({ ours, theirs: changedAt(ours, offsets, 4 * KiB) });
  const result = atRest(await rig.send());
  assert(rig.blockBytes <= 3 * 80 * KiB, `${rig.blockBytes} bytes`);
  assert(rig.kinds.startsWith("open patch, block"), rig.kinds);
  rig.assertEqual(result.signature);
});

Deno.test("transferFile() sends single blocks of a file that changed a little in most places", async () => {
  const ours = seededBytes(2 * MiB);
  const offsets = Array.from({ length: 24 }, (_, i) => i * 64 * KiB + 9 * KiB);
  await using rig = await Rig.make({ ours, theirs: changedAt(ours, offsets) });
  const result = atRest(await rig.send());
  assertEquals(rig.blocks, offsets.map((offset) => [offset - KiB, 4 * KiB]));
  rig.assertEqual(result.signature);
});

Deno.test("transferFile() asks nothing of the whole file if the signature is known, and sends the same", async () => {
  const ours = seededBytes(3 * MiB);
  await using rig = await Rig.make({ ours, theirs: changedAt(ours, [2 * MiB + 5]) });
  const result = sent(await rig.send({ known: rig.known() }));
  assertEquals(rig.blocks, [[2 * MiB, 4 * KiB]]);
  assertEquals(rig.bytesSigned, 64 * KiB);
  rig.assertEqual(result.signature);
});

Deno.test("transferFile() finds that nothing differs", async () => {
  const ours = seededBytes(MiB + 77);
  for (const isKnown of [false, true]) {
    await using rig = await Rig.make({ ours, theirs: ours });
    const result = await rig.send({ known: isKnown ? rig.known() : undefined });
    assertEquals([result.state, rig.ops], ["unchanged", []]);
    rig.assertEqual(signatureOf(result));
  }
});

Deno.test("transferFile() sends what was appended and no more than a block of what was there", async () => {
  const edges = [2 * MiB, 2 * MiB + 1, 2 * MiB - 1, 300_000, 64 * KiB];
  for (const size of edges) {
    for (const added of [1, 4 * KiB, 700_000]) {
      for (const isKnown of [false, true]) {
        const ours = seededBytes(size + added);
        await using rig = await Rig.make({ ours, theirs: ours.slice(0, size) });
        const result = atRest(await rig.send({ known: isKnown ? rig.known() : undefined }));
        if (added < size / 4) {
          assert(rig.blockBytes <= added + 4 * KiB, `${size} + ${added}: ${rig.blockBytes}`);
        }
        rig.assertEqual(result.signature, `${size} + ${added}`);
      }
    }
  }
});

// A database grows and changes its first page. Failed while a known last block let the rest pass unread.
Deno.test("transferFile() sees a change in front of what was appended", async () => {
  const before = seededBytes(2 * MiB);
  const ours = new Uint8Array(2 * MiB + 8 * KiB);
  ours.set(changedAt(before, [24]));
  ours.set(seededBytes(8 * KiB, 2), 2 * MiB);
  await using rig = await Rig.make({ ours, theirs: before });
  const result = sent(await rig.send({ known: rig.known() }));
  assertEquals(rig.blocks, [[0, 4 * KiB], [2 * MiB, 8 * KiB]]);
  rig.assertEqual(result.signature);
});

Deno.test("transferFile() shrinks the receiver's file without sending what stays", async () => {
  for (
    const [from, to] of [[2 * MiB, MiB], [2 * MiB, MiB + 3], [300_000, 65_536], [300_000, 1], [300_000, 0]]
  ) {
    for (const isKnown of [false, true]) {
      const theirs = seededBytes(from);
      await using rig = await Rig.make({ ours: theirs.slice(0, to), theirs });
      const result = sent(await rig.send({ known: isKnown ? rig.known() : undefined }));
      assertEquals(rig.blocks, [], `${from} to ${to}`);
      rig.assertEqual(result.signature);
    }
  }
});

Deno.test("transferFile() sends a file whole that the receiver does not have, or has quite another of", async () => {
  const ours = seededBytes(700_001);
  for (const theirs of [undefined, new Uint8Array(), seededBytes(700_001, 9), seededBytes(3 * MiB, 9)]) {
    await using rig = await Rig.make({ ours, theirs });
    const result = sent(await rig.send());
    assertEquals([rig.blockBytes, rig.ops[0].kind, rig.ops.at(-1)?.kind], [700_001, "open", "close"]);
    assert(rig.kinds.startsWith("open empty"), rig.kinds);
    rig.assertEqual(result.signature);
  }
});

Deno.test("transferFile() compares nothing below fastMirrorSizeMin or with full", async () => {
  const ours = seededBytes(300_000);
  for (const options of [{ fastMirrorSizeMin: 300_001 }, { full: true }]) {
    await using rig = await Rig.make({ ours, theirs: ours, ...options });
    const result = sent(await rig.send());
    assertEquals([rig.bytesSigned, rig.blockBytes], [0, 300_000]);
    rig.assertEqual(result.signature);
  }
  await using rig = await Rig.make({ ours, theirs: ours, fastMirrorSizeMin: 300_000 });
  assertEquals((await rig.send()).state, "unchanged");
});

Deno.test("transferFile() works with each block size that a user may choose", async () => {
  for (let blockSize = limits.blockSizeMin as number; blockSize <= limits.blockSizeMax; blockSize *= 2) {
    assert(coarseBlockSize(blockSize) <= limits.opDataSizeMax);
    const ours = seededBytes(2 * MiB + 12_345);
    for (const theirs of [undefined, changedAt(ours, [5, 1_500_000])]) {
      await using rig = await Rig.make({ ours, theirs, blockSize });
      const result = sent(await rig.send());
      if (theirs) assertEquals(rig.blockBytes, 2 * blockSize);
      rig.assertEqual(result.signature, `${blockSize}`);
    }
  }
});

Deno.test("transferFile() believes the receiver's answer where it has less or more than was believed", async () => {
  const ours = seededBytes(2 * MiB);
  for (
    const theirs of [undefined, ours.slice(0, MiB + 5), new Uint8Array([...ours, ...ours.subarray(0, 9)])]
  ) {
    await using rig = await Rig.make({ ours, theirs });
    const held = { ...rig.tree.stat("file")!, linkTarget: "", trusted: false };
    const result = sent(await rig.send({ held }));
    rig.assertEqual(result.signature);
  }
});

Deno.test("a file that changes during the first reading is read again and arrives as it is", async () => {
  for (const theirs of [undefined, seededBytes(3 * MiB, 5)]) {
    await using rig = await Rig.make({ ours: seededBytes(3 * MiB), theirs });
    let turn = 0;
    rig.onRoom = () => {
      if (++turn === 4) rig.writeAt(10, seededBytes(100_000, 8));
    };
    const result = atRest(await rig.send());
    assert(rig.blockBytes < 3 * MiB + 256 * KiB, `${rig.blockBytes}`);
    rig.assertEqual(result.signature);
  }
});

Deno.test("a file that changes while it is sent without keeping hashes goes whole once more, and is proven then", async () => {
  await using rig = await Rig.make({ ours: seededBytes(2 * MiB), keepsSignatures: false });
  let turn = 0;
  rig.onRoom = () => {
    if (++turn === 3) rig.writeAt(10, seededBytes(100, 8));
  };
  const result = atRest(await rig.send());
  assertEquals(rig.blockBytes, 4 * MiB);
  rig.assertEqual(result.signature);
  rig.assertEnded();
});

Deno.test("a file that changes during every reading is restless, with attributes from before the last one", async () => {
  await using rig = await Rig.make({ ours: seededBytes(2 * MiB) });
  const times: bigint[] = [];
  rig.onPush = () => {
    if (rig.ops.at(-1)?.kind === "close") return;
    rig.writeAt(0, seededBytes(100, times.length + 3));
    times.push(rig.tree.stat("file")!.mtimeNs);
  };
  const result = sent(await rig.send());
  assert(result.restless);
  assertEquals(result.signature, undefined);
  assert(result.stat.mtimeNs < times.at(-1)!, "it differs from the file, so that it is looked at again");
  assertEquals(rig.ops.filter((op) => op.kind === "open").length, 1);
  // Whole once, then only the block that changed, in each of the passes that are left.
  assertEquals(rig.blockBytes, 2 * MiB + (limits.readPassesMax - 1) * 64 * KiB);
  rig.assertEnded();
});

Deno.test("a file that grows and shrinks while it is sent arrives as it is when it rests", async () => {
  for (const theirs of [undefined, seededBytes(3 * MiB, 5), seededBytes(MiB, 6)]) {
    for (const [first, second] of [[4 * MiB + 5, 100], [MiB + 1, 3 * MiB + 7], [0, 2 * MiB]]) {
      await using rig = await Rig.make({ ours: seededBytes(2 * MiB), theirs });
      const sizes = [first, second];
      let turn = 0;
      rig.onRoom = () => {
        if (turn++ % 4 === 2 && sizes.length > 0) rig.cut(sizes.shift()!);
      };
      const result = sent(await rig.send());
      rig.onRoom = () => {};
      const last = result.restless ? await rig.send() : result;
      rig.assertEqual(signatureOf(last), `${first}, ${second}`);
    }
  }
});

// Failed while blocks that were not sent yet counted as sent: after a cut, only new bytes seemed to differ.
Deno.test("a file that is cut and written again with the same bytes while it is sent arrives whole", async () => {
  const ours = seededBytes(4 * MiB);
  const theirs = changedAt(ours, [100, 2 * MiB, 3 * MiB, 4 * MiB - 1]);
  await using rig = await Rig.make({ ours, theirs });
  let turn = 0;
  rig.onRoom = () => {
    turn++;
    if (turn === 3) rig.cut(0);
    // The next pass begins with the file as it was.
    if (turn === 3) queueMicrotask(() => queueMicrotask(() => queueMicrotask(() => rig.write(ours))));
  };
  const result = atRest(await rig.send());
  rig.assertEqual(result.signature);
});

// Failed while a block that was equal in its second hashing kept the hash of its first.
Deno.test("a block that changes to the receiver's contents and back while it is compared arrives", async () => {
  const ours = seededBytes(4 * MiB);
  const theirs = changedAt(ours, [100, 3 * MiB]);
  await using rig = await Rig.make({ ours, theirs });
  let answers = 0;
  rig.onSign = () => {
    if (++answers === 2) rig.writeAt(100, theirs.subarray(100, 101));
  };
  rig.onRoom = () => rig.ops.length === 1 ? rig.writeAt(100, ours.subarray(100, 101)) : undefined;
  const result = atRest(await rig.send());
  rig.assertEqual(result.signature);
});

Deno.test("a file that loses its name while it is sent is gone, and its transfer abandoned", async () => {
  const losses: Record<string, (path: string) => void> = {
    removed: (path) => Deno.removeSync(path),
    renamed: (path) => Deno.renameSync(path, `${path}2`),
    replaced: (path) => {
      Deno.writeFileSync(`${path}2`, new Uint8Array(9));
      Deno.renameSync(`${path}2`, path);
    },
    "replaced by a directory": (path) => {
      Deno.removeSync(path);
      Deno.mkdirSync(path);
    },
  };
  for (const [name, lose] of Object.entries(losses)) {
    for (const when of [1, 3]) {
      await using rig = await Rig.make({ ours: seededBytes(2 * MiB), theirs: seededBytes(2 * MiB, 2) });
      let turn = 0;
      rig.onRoom = () => {
        if (++turn === when) lose(rig.sourcePath);
      };
      assertEquals(await rig.send(), { state: "gone" }, name);
      assertEquals(rig.ops.at(-1)?.kind, "abandon");
      rig.assertEnded();
    }
  }
});

Deno.test("a file that cannot be read after its transfer began abandons it", async () => {
  await using rig = await Rig.make({ ours: seededBytes(2 * MiB) });
  let reads = 0;
  const tree = readingThrough(rig.tree, (file, buffer, offset) => {
    if (++reads === 3) throw new SystemError("EIO", 'Cannot read "file": input/output error');
    return file.read(buffer, offset);
  });
  const error = await assertRejects(() => rig.send({ tree }), SystemError);
  assertEquals(error.code, "EIO");
  assertEquals(rig.kinds, "open empty, block, block, abandon");
  rig.assertEnded();
});

Deno.test("a file that cannot be read while it is compared begins no transfer", async () => {
  const ours = seededBytes(2 * MiB);
  await using rig = await Rig.make({ ours, theirs: changedAt(ours, [5]) });
  const tree = readingThrough(rig.tree, () => {
    throw new SystemError("EIO", 'Cannot read "file": input/output error');
  });
  await assertRejects(() => rig.send({ tree }), SystemError);
  assertEquals(rig.ops, []);
});

Deno.test("a session that breaks while a file is sent or compared is told to the caller", async () => {
  const ours = seededBytes(2 * MiB);
  await using rig = await Rig.make({ ours, theirs: changedAt(ours, [5]) });
  rig.onSign = () => {
    throw new TransientError("Cannot ask the target: not connected");
  };
  await assertRejects(() => rig.send(), TransientError, "not connected");
  rig.onSign = () => {};
  rig.onRoom = () => {
    if (rig.ops.length === 1) throw new TransientError("Cannot push: the stream was started anew");
  };
  await assertRejects(() => rig.send(), TransientError, "started anew");
  rig.assertEnded();
});

/** A sparse file at the source: `size` bytes, all hole but `ranges`, which hold bytes that look random. */
function makeSparse(rig: Rig, size: number, ranges: [start: number, end: number][]): void {
  rig.cut(0);
  for (const [start, end] of ranges) rig.writeAt(start, seededBytes(end - start, start + 1));
  rig.cut(size);
}

Deno.test("transferFile() neither reads nor sends the holes of a file that the receiver does not have", async () => {
  for (const keepsSignatures of [true, false]) {
    await using rig = await Rig.make({ ours: new Uint8Array(), keepsSignatures });
    const ranges: [number, number][] = [[64 * KiB, 128 * KiB], [MiB + 12 * KiB, MiB + 16 * KiB], [
      3 * MiB,
      4 * MiB,
    ]];
    makeSparse(rig, 9 * MiB, ranges);
    const result = atRest(await rig.send());
    assertEquals([rig.kinds.startsWith("open empty, block"), rig.holes], [true, []]);
    const size = ranges.reduce((sum, [start, end]) => sum + end - start, 0);
    assertEquals([rig.blockBytes, rig.bytesRead], [size, size]);
    rig.assertEqual(result.signature);
  }
});

Deno.test("transferFile() sends a hole of 10 GiB at once", async () => {
  const size = 10 * 1024 * MiB;
  await using rig = await Rig.make({ ours: new Uint8Array(), countsOnly: true });
  makeSparse(rig, size, [[5 * 1024 * MiB, 5 * 1024 * MiB + MiB]]);
  const began = performance.now();
  const result = atRest(await rig.send());
  const ms = performance.now() - began;
  assertEquals([rig.blockBytes, rig.bytesRead], [MiB, MiB]);
  assertEquals(result.signature?.hashes.length, size / (64 * KiB) * 16);
  assert(ms < 2_000, `${ms} ms`);
});

Deno.test("transferFile() sends a hole where the receiver has data, whole and in parts", async () => {
  const ours = seededBytes(3 * MiB);
  await using rig = await Rig.make({ ours, theirs: ours });
  punch(rig, MiB, MiB);
  punch(rig, 20 * KiB, 8 * KiB);
  rig.touch();
  const result = atRest(await rig.send());
  assertEquals([rig.holes, rig.blocks], [[[20 * KiB, 8 * KiB], [MiB, MiB]], []]);
  assertEquals(rig.kinds, "open patch, hole, hole, close");
  rig.assertEqual(result.signature);
});

Deno.test("transferFile() sends a hole where the receiver has zeros that take room", async () => {
  const ours = seededBytes(3 * MiB).fill(0, MiB, 2 * MiB);
  for (const isKnown of [false, true]) {
    await using rig = await Rig.make({ ours, theirs: ours });
    assertEquals((await rig.send()).state, "unchanged");
    punch(rig, MiB, MiB / 2);
    const result = atRest(await rig.send({ known: isKnown ? rig.known() : undefined }));
    assertEquals([rig.holes, rig.blocks], [[[MiB, MiB / 2]], []]);
    rig.assertEqual(result.signature);
    assertEquals((await rig.send({ known: result.signature })).state, "unchanged");
  }
});

Deno.test("transferFile() patches a file of which most becomes a hole, and one that is extended by a hole", async () => {
  const ours = seededBytes(3 * MiB);
  await using rig = await Rig.make({ ours, theirs: ours });
  makeSparse(rig, 6 * MiB, [[3 * MiB, 3 * MiB + 4 * KiB]]);
  const result = atRest(await rig.send());
  assertEquals([rig.blocks, rig.kinds], [[[3 * MiB, 4 * KiB]], "open patch, hole, block, hole, hole, close"]);
  assertEquals(rig.bytesRead, 8 * KiB, "read for its hash, and to be sent");
  rig.assertEqual(result.signature);
});

Deno.test("a hole that is made while a file is sent arrives, and so does data written into one", async () => {
  for (const theirs of [undefined, seededBytes(4 * MiB, 5)]) {
    await using rig = await Rig.make({ ours: new Uint8Array(), theirs });
    makeSparse(rig, 4 * MiB, [[0, MiB], [2 * MiB, 4 * MiB]]);
    let turn = 0;
    rig.onRoom = () => {
      if (++turn !== 7) return;
      punch(rig, 512 * KiB, MiB / 4);
      punch(rig, 3 * MiB + 8 * KiB, 4 * KiB);
      rig.writeAt(MiB + 300, seededBytes(5000));
    };
    const result = atRest(await rig.send());
    assert(turn > 7, "it was disturbed");
    assert(rig.holes.some(([offset]) => offset <= 512 * KiB), "a hole in the place of what was sent");
    rig.assertEqual(result.signature);
  }
});

// Failed while the mark of a short last block did not tell its length: what the receiver had behind it stayed.
Deno.test("a file that ends in a hole, and in a longer one while it is sent, arrives", async () => {
  for (const size of [2 * MiB + 100, 2 * MiB + 70_000]) {
    await using rig = await Rig.make({ ours: new Uint8Array(), theirs: seededBytes(3 * MiB, 5) });
    makeSparse(rig, size, []);
    rig.onPush = () => rig.ops.at(-1)?.kind === "hole" && rig.ops.length === 2 && rig.cut(size + 5_000);
    const result = atRest(await rig.send());
    assertEquals(rig.kinds, "open patch, hole, hole, close");
    rig.assertEqual(result.signature);
  }
});

/** Makes a hole in the source's file. */
function punch(rig: Rig, offset: number, size: number): void {
  using file = rig.tree.open("file", { access: "write" });
  file.punch(offset, size);
  rig.touch();
}

Deno.test("isLarge() sends by blocks what has signatures, and what the receiver may have most of", async () => {
  await using rig = await Rig.make({ ours: new Uint8Array(9), theirs: new Uint8Array(9) });
  const policy = { ...rig.policy, fastMirrorSizeMin: 64 * KiB };
  const held = rig.held()!;
  const min = limits.signatureFileSizeMin;
  const rows: [number, typeof held | undefined, boolean][] = [
    [min, undefined, true],
    [min - 1, undefined, false],
    [64 * KiB, held, true],
    [64 * KiB - 1, held, false],
    [64 * KiB, { ...held, size: 0 }, false],
    [64 * KiB, { ...held, kind: "symlink" }, false],
  ];
  for (const [size, held, expected] of rows) assertEquals(isLarge(size, held, policy), expected, `${size}`);
});

Deno.test("readSmallFile() reads a resting file at once, a moving one up to its passes, a large one not", async () => {
  await using rig = await Rig.make({ ours: seededBytes(1000) });
  const rested = readSmallFile(rig.tree, "file")!;
  assertEquals([rested.data, rested.stat.size, rested.restless], [seededBytes(1000), 1000, false]);

  const movingUntil = (last: number) => {
    let reads = 0;
    const read = () => rig.write(seededBytes(1000 + ++reads));
    return readSmallFile(
      readingThrough(rig.tree, (file, buffer, offset) => {
        const count = file.read(buffer, offset);
        if (reads < last) read();
        return count;
      }),
      "file",
    )!;
  };
  const later = movingUntil(limits.readPassesMax - 1);
  assertEquals([later.restless, later.data], [false, rig.ours]);
  const restless = movingUntil(99);
  assert(restless.restless);
  assertEquals(restless.stat.size, restless.data.length);
  assert(restless.stat.mtimeNs < rig.tree.stat("file")!.mtimeNs);

  rig.write(new Uint8Array(limits.opDataSizeMax));
  assertEquals(readSmallFile(rig.tree, "file")?.data.length, limits.opDataSizeMax);
  rig.write(new Uint8Array(limits.opDataSizeMax + 1));
  assertEquals(readSmallFile(rig.tree, "file"), undefined);
});

const firstSeed = Number(Deno.env.get("SEED") ?? Date.now() % 1_000_000);
const seedCount = Deno.env.get("SEED") ? 1 : Number(Deno.env.get("SEEDS") ?? 40);

Deno.test(`random edits, also while a file is sent, arrive (seeds ${firstSeed} to ${firstSeed + seedCount - 1})`, async () => {
  for (let seed = firstSeed; seed < firstSeed + seedCount; seed++) await sendRandomly(seed);
});

/** A file and an older version of it, both random; edits while it is sent; and at last one sending in peace. */
async function sendRandomly(seed: number): Promise<void> {
  const number = seededNumbers(seed);
  const sizes = [0, 1, 511, 65_536, 65_537, 300_000, MiB, 2 * MiB + 1];
  const size = () => sizes[number(sizes.length)] + number(3) * number(100_000);
  const bytes = () => seededBytes(number(20_000), number(1000));
  const theirs = seededBytes(size(), seed);
  const blockSize = [512, 4096, 65_536][number(3)];
  const keepsSignatures = number(2) === 0;
  await using rig = await Rig.make({ ours: theirs, theirs, blockSize, keepsSignatures });
  const versions: Uint8Array[] = [theirs];
  const edit = () => {
    const choice = number(8);
    if (choice === 0) rig.cut(size());
    else if (choice === 6) punch(rig, number(rig.ours.length + 1), number(300_000));
    else if (choice === 7) rig.cut(rig.ours.length + number(400_000));
    else if (choice === 1) rig.writeAt(rig.ours.length, bytes());
    // Back to an earlier version: hashes seen before come again.
    else if (choice === 2) rig.write(versions[number(versions.length)]);
    else rig.writeAt(number(rig.ours.length + 1), bytes());
    if (versions.length < 6) versions.push(rig.ours);
  };
  for (let round = 0; round < 3; round++) {
    for (let edits = number(5); edits > 0; edits--) edit();
    const known = number(2) === 0 && rig.theirs!.length > 0 ? rig.known() : undefined;
    let budget = number(8);
    const disturb = () => {
      if (budget > 0 && number(3) === 0) {
        budget--;
        edit();
      }
    };
    [rig.onRoom, rig.onSign] = [disturb, disturb];
    const result = await rig.send({ known });
    if (result.state === "unchanged" || !sent(result).restless) {
      rig.assertEqual(signatureOf(result), `seed ${seed}, round ${round}`);
    }
    [rig.onRoom, rig.onSign] = [() => {}, () => {}];
    const last = await rig.send();
    rig.assertEqual(signatureOf(last), `seed ${seed}, round ${round}, in peace`);
    rig.assertEnded();
  }
}
