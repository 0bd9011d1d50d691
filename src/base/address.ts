/**
 * Network addresses as a user writes them: `HOST:PORT`, `HOST`, `:PORT`, `[2001:db8::1]:PORT`.
 * @module
 */
import { UsageError } from "./errors.ts";

/** Where something listens. */
export interface Address {
  /** Host name or IP address, an IPv6 one without brackets. */
  hostname: string;
  port: number;
}

/** What stands in for a part that was left out. */
export interface AddressDefaults {
  /** Without it a host is required. */
  hostname?: string;
  /** Without it a port is required. */
  port?: number;
  /** Port 0, which means any free one, is allowed. @default {false} */
  anyPort?: boolean;
}

const HOST_NAME = /^(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*\.?$/;

/**
 * Reads an address.
 *
 * @throws {UsageError} If it is not one, or a part without a default is missing.
 */
export function parseAddress(text: string, defaults: AddressDefaults = {}): Address {
  const { host, port } = splitAddress(text);
  const hostname = host === "" ? defaults.hostname : host;
  if (hostname === undefined) throw notAnAddress(text, "the host is missing");
  if (!isHost(hostname)) throw notAnAddress(text, `"${hostname}" is not a host name or IP address`);
  if (port === "" && defaults.port === undefined) throw notAnAddress(text, "the port is missing");
  return { hostname, port: port === "" ? defaults.port! : parsePort(port, text, defaults.anyPort ?? false) };
}

/** An address as {@linkcode parseAddress} reads it, an IPv6 one in brackets. */
export function formatAddress(address: Address): string {
  const { hostname, port } = address;
  return hostname.includes(":") ? `[${hostname}]:${port}` : `${hostname}:${port}`;
}

/** Whether an address is reachable from this machine only. */
export function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "::1" || /^127\.\d+\.\d+\.\d+$/.test(hostname);
}

function splitAddress(text: string): { host: string; port: string } {
  const bracketed = /^\[([^\]]*)\](?::(.*))?$/s.exec(text);
  if (bracketed !== null) {
    if (!isIpv6(bracketed[1])) throw notAnAddress(text, `"${bracketed[1]}" is not an IPv6 address`);
    if (text.endsWith(":")) throw notAnAddress(text, "the port is missing");
    return { host: bracketed[1], port: bracketed[2] ?? "" };
  }
  const parts = text.split(":");
  if (parts.length > 2) throw notAnAddress(text, "an IPv6 address stands in brackets, as in [::1]:7420");
  if (parts.length === 2 && parts[1] === "") throw notAnAddress(text, "the port is missing");
  return { host: parts[0], port: parts[1] ?? "" };
}

function parsePort(port: string, text: string, anyPort: boolean): number {
  const number = /^\d{1,5}$/.test(port) ? Number(port) : NaN;
  const lowest = anyPort ? 0 : 1;
  if (!(number >= lowest && number <= 65_535)) {
    throw notAnAddress(text, `the port must be a number from ${lowest} to 65535`);
  }
  return number;
}

function isHost(host: string): boolean {
  return isIpv6(host) || HOST_NAME.test(host);
}

function isIpv6(host: string): boolean {
  // The URL parser of the platform knows every form; a zone ("%eth0") is not part of what it knows.
  const [address, zone] = host.split("%");
  return host.includes(":") && (zone === undefined || /^[\w.-]+$/.test(zone)) &&
    URL.canParse(`http://[${address}]/`);
}

function notAnAddress(text: string, reason: string): UsageError {
  return new UsageError(`Cannot read address "${text}": ${reason}`);
}
