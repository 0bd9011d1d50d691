import { WatchfsInterceptor } from "../../src/intercept/watchfs.ts";
import { testInterceptor, watchfsCannot } from "../contract/interceptor_suite.ts";

testInterceptor({
  name: "watchfs",
  create: (options) => new WatchfsInterceptor({ ...options, verifyEveryMs: 1_000, probeEveryMs: 300 }),
  cannot: watchfsCannot,
});
