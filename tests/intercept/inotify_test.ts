import { InotifyInterceptor } from "../../src/intercept/inotify.ts";
import { testInterceptor } from "../contract/interceptor_suite.ts";
import { lacks } from "../testing/needs.ts";

if (!lacks("linux")) {
  testInterceptor({ name: "inotify", create: (options) => new InotifyInterceptor(options), cannot: {} });
}
