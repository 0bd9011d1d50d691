import { testFileSystem } from "../contract/file_system_suite.ts";
import { portableFileSystem } from "../../src/sys/portable.ts";

testFileSystem("portable", portableFileSystem());
