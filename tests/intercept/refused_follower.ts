/**
 * Watches a tree in which some directories cannot be watched, and prints what came of it. Run in a process that lacks
 * watches or rights: `refused_follower.ts ROOT REPAIR`, where REPAIR is a directory to be made readable again.
 * @module
 */
import { InotifyInterceptor } from "../../src/intercept/inotify.ts";
import type { Hint } from "../../src/intercept/interceptor.ts";
import { waitFor } from "../testing/wait.ts";

const [root, repair] = Deno.args;
const hints: Hint[] = [];
const interceptor = new InotifyInterceptor({ root, onHints: (more) => void hints.push(...more) });
await interceptor.start();
await interceptor.sync();
const atStart = interceptor.stats.unwatched;

Deno.writeTextFileSync(`${root}/seen`, "1");
await waitFor(() => hints.some((hint) => hint.kind === "look" && hint.path === "seen"), { what: "a look" });

let belowNew: string | undefined;
if (repair) {
  Deno.chmodSync(`${root}/${repair}`, 0o700);
  await waitFor(() => interceptor.stats.unwatched === 0, { what: "the directory to be watched" });
  Deno.writeTextFileSync(`${root}/${repair}/f`, "1");
  await waitFor(() => hints.some((hint) => hint.kind === "look" && hint.path === `${repair}/f`), {
    what: "f",
  });
} else {
  Deno.mkdirSync(`${root}/new`);
  const below = await waitFor(
    () => hints.find((hint) => hint.kind === "look-below" && hint.path === "new"),
    { what: "a look below the directory for which there is no watch" },
  );
  belowNew = below.kind === "look-below" ? below.reason : "";
}
const atEnd = interceptor.stats.unwatched;
await interceptor.stop();
console.log(JSON.stringify({ atStart, atEnd, belowNew }));
