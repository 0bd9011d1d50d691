import { assert } from "@std/assert";
import type { Hint } from "../../src/intercept/interceptor.ts";
import { WatchfsInterceptor } from "../../src/intercept/watchfs.ts";
import { testInterceptor, watchfsCannot } from "../contract/interceptor_suite.ts";
import { lacks } from "../testing/needs.ts";
import { runProcess } from "../testing/process.ts";
import { tempDirectory } from "../testing/temp.ts";
import { waitFor } from "../testing/wait.ts";

testInterceptor({
  name: "watchfs",
  create: (options) => new WatchfsInterceptor({ ...options, verifyEveryMs: 1_000, probeEveryMs: 300 }),
  cannot: watchfsCannot,
});

Deno.test({
  name: "watchfs: a FIFO makes it deaf, which it finds out: it looks at everything until it hears again",
  ignore: lacks("linux", "command mkfifo"),
  async fn() {
    await using place = await tempDirectory();
    const fifo = `${place.path}/fifo`;
    const hints: Hint[] = [];
    const onHints = (more: Hint[]) => void hints.push(...more);
    const timing = { verifyEveryMs: 60_000, probeEveryMs: 300 };
    const interceptor = new WatchfsInterceptor({ root: place.path, onHints, ...timing });
    await interceptor.start();
    let writer: Deno.FsFile | undefined;
    try {
      await runProcess("mkfifo", [fifo], { expectCode: 0 });
      await waitFor(() => interceptor.stats.unwatched === 1, { what: "deafness to be found out" });
      assert(interceptor.stats.limitation.includes("FIFO"), interceptor.stats.limitation);
      hints.length = 0;
      await waitFor(() => hints.some(({ kind }) => kind === "look-below"), { what: "a look at everything" });
      writer = Deno.openSync(fifo, { read: true, write: true });
      await waitFor(() => interceptor.stats.limitation === "", { what: "it to hear again" });
      Deno.writeTextFileSync(`${place.path}/f`, "");
      await waitFor(() => hints.some((hint) => hint.kind === "look" && hint.path === "f"), {
        what: "a look",
      });
    } finally {
      writer ??= Deno.openSync(fifo, { read: true, write: true });
      await interceptor.stop();
      writer.close();
    }
  },
});

Deno.test("watchfs: looks at everything the more rarely the longer that takes", async () => {
  await using place = await tempDirectory();
  let takesMs = 0;
  const looks: number[] = [];
  const interceptor = new WatchfsInterceptor({
    root: place.path,
    verifyEveryMs: 50,
    everythingTakesMs: () => takesMs,
    onHints: (hints) => {
      if (hints.some((hint) => hint.kind === "look-below" && hint.path === "")) looks.push(performance.now());
    },
  });
  await interceptor.start();
  try {
    await waitFor(() => looks.length >= 3, { what: "three looks" });
    takesMs = 60_000;
    // The one that is due already still comes.
    const before = looks.length;
    await waitFor(() => performance.now() - (looks.at(-1) ?? 0) > 1_000, { what: "a rest" });
    assert(looks.length <= before + 1, `${looks.length - before} looks`);
  } finally {
    await interceptor.stop();
  }
});
