/**
 * What keeps changes from being heard at once, as `status` tells it: the gaps of the interceptor, and those of any.
 * @module
 */
import { limits } from "../base/limits.ts";
import type { GapStatus } from "../base/status.ts";
import type { Interceptor } from "../intercept/interceptor.ts";
import type { Replicator } from "./replicator.ts";

/** The gaps that are open now. */
export function gapStatuses(
  interceptor: Pick<Interceptor, "gaps"> | undefined,
  replicators: Pick<Replicator, "outsideLinksCount" | "outsideLinksSinceMs">[],
): GapStatus[] {
  const gaps: GapStatus[] = (interceptor?.gaps() ?? []).map(({ sinceMs, ...gap }) => ({
    ...gap,
    since: new Date(sinceMs).toISOString(),
  }));
  const [most] = replicators.toSorted((a, b) => b.outsideLinksCount - a.outsideLinksCount);
  if (!most || most.outsideLinksCount === 0) return gaps;
  gaps.push({
    name: "outside-links",
    reason: "files have names outside the tree, through which they may be changed unheard: " +
      `their times are looked at every ${limits.pollEveryMs / 1_000} s, until those names are gone`,
    count: most.outsideLinksCount,
    paths: [],
    since: new Date(most.outsideLinksSinceMs).toISOString(),
  });
  return gaps;
}
