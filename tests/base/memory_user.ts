/**
 * Takes memory, lets it go, and has it given back; prints the resident bytes before, at the most, and afterwards.
 * @module
 */
import { MemoryKeeper } from "../../src/base/memory.ts";

const before = Deno.memoryUsage().rss;
const keeper = new MemoryKeeper();
const garbage = Array.from({ length: 128 }, () => new Uint8Array(1 << 20).fill(1));
const full = Deno.memoryUsage().rss;
garbage.length = 0;
keeper.check();
console.log(JSON.stringify([before, full, Deno.memoryUsage().rss]));
