/**
 * Appends commands to a transaction log, and commits after each batch: `log_writer.ts DIRECTORY COUNT BATCH_SIZE`. Prints
 * the sequence of the last one that is committed.
 * @module
 */
import { utf8 } from "../../src/base/bytes.ts";
import { TransactionLog } from "../../src/store/txn_log.ts";

/** Payload of a record, known by its sequence. */
export function payloadOf(sequence: number): Uint8Array<ArrayBuffer> {
  return utf8(`${sequence}:`.repeat(1 + sequence % 50));
}

if (import.meta.main) {
  const [directory, ...numbers] = Deno.args;
  const [count, batchSize] = numbers.map(Number);
  using log = TransactionLog.open(directory, { segmentBytes: 1_000 });
  for (let i = 1; i <= count; i++) {
    const sequence = log.append(payloadOf(log.nextSequence));
    if (i % batchSize !== 0) continue;
    await log.commit();
    Deno.stdout.writeSync(utf8(`${sequence}\n`));
    // As if a target had done all but the last few.
    log.release(sequence - 20 * batchSize);
  }
}
