import { assertAlmostEquals, assertEquals } from "@std/assert";
import { CountTable, RateMeter } from "../../src/base/stats.ts";

Deno.test("CountTable counts by name, whatever the name", () => {
  const table = new CountTable();
  table.add("write");
  table.add("write", 2);
  table.add("constructor");
  assertEquals([table.get("write"), table.get("constructor"), table.get("unlink"), table.total], [
    3,
    1,
    0,
    4,
  ]);
  assertEquals(JSON.stringify(table), `{"write":3,"constructor":1}`);
});

Deno.test("RateMeter knows nothing before two samples", () => {
  const meter = new RateMeter(1_000);
  assertEquals(meter.perSecond, undefined);
  meter.sample(0, 5);
  assertEquals(meter.perSecond, undefined);
  meter.sample(0, 6);
  assertEquals(meter.perSecond, undefined);
});

Deno.test("RateMeter forgets what is older than its window", () => {
  const meter = new RateMeter(1_000);
  // 1,000 a second for 5 s, then 100 a second for 2 s.
  let value = 0;
  for (let ms = 0; ms <= 5_000; ms += 10) meter.sample(ms, value = ms);
  for (let ms = 5_010; ms <= 7_000; ms += 10) meter.sample(ms, value += 1);
  assertAlmostEquals(meter.perSecond!, 100, 5);
});
